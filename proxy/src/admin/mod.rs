//! Listeners for those who run the proxy, apart from those for traffic: [probes] and metrics, read only, and the
//! operators' interface.
//!
//! ```text
//! GET  /operations                  ?state= &route= &upstream= &policy= &reason= &trace_id= &id_prefix= &older=10m &newer=10m
//!                                   &since= &until= &attention=true &open=true &order=newest &limit= &cursor=
//!                                   &group_by=route,reason: counts instead of operations
//! POST /operations:find             {"key", "principal"?, "upstream"?, "actor"?}: by the key that a caller sent
//! GET  /operations/{id}             the operation, its audit trail, and what may be done about it
//! POST /operations/{id}:resolve     {"state": "succeeded|failed|not_executed", "actor", "reason"}
//! POST /operations/{id}:query       {"actor", "reason"}: asks the service now
//! POST /operations/{id}:redispatch  {"actor", "reason"}: sends it again, to a service that honours its key
//! POST /operations/{id}:reveal      {"actor", "reason"}: which payment it is, where `admin.reveal` allows it
//! POST /operations:batch            {"action", "as"?, "filter" | "ids", "dry_run" | "expect", "actor", "reason"}: many at once
//! GET  /jobs /jobs/{id}             how far such an order has come
//! POST /jobs/{id}:cancel            {"actor", "reason"}
//! GET  /audit                       who did what: the latest first; ?operation= &actor= &action= &newer=10m &limit= &cursor=
//! GET  /breakers
//! POST /breakers/{name}:force       {"state": "open|closed|disabled", "actor", "reason"}
//! POST /breakers/{name}:release     {"actor", "reason"}
//! GET  /                            the console, for browsers, with /console.css, /console.js, /help/{page}; else an index of all this
//! GET  /status                      how it goes; ?series=true: the last quarter of an hour, too
//! GET  /events                      what happens, as it happens (server-sent events); ?kind=request,operation,breaker,config,ledger
//! GET  /routes /limits /upstreams /config /metrics /openapi.json
//! GET  /log-level
//! PUT  /log-level                   {"level": "debug", "for": "10m"}; until the next reload, or so long
//! POST /reload                      {"actor", "reason"}: reads the files again, and says what became of it
//! POST /drain                       {"scope": "inbound|all"}: readiness fails, clients are told to go elsewhere, traffic is
//!                                   still served; SIGTERM does the rest
//! DELETE /drain                     takes that back, unless the process ends
//! ```
//!
//! JSON is indented for `?pretty`, and for curl. What changes an operation needs `If-Match` with the `ETag` that was read: of two
//! operators who race, one gets 412 and looks again. Every act is written to the audit trail with who and why, refused ones too.
//!
//! Who may ask is decided in `guard`: a token or a certificate off loopback, and on loopback nothing that a web page could send.

mod accept;
mod act;
mod ask;
mod audit;
mod batch;
pub(crate) mod breakers;
mod configuration;
mod console;
mod documents;
mod events;
mod filters;
mod find;
pub(crate) mod guard;
mod id_prefix;
mod index;
mod jobs;
mod operations;
pub(crate) mod operators;
mod pretty;
pub mod probes;
mod resolve;
mod reveal;
pub(crate) mod routes;
mod secure;
mod served;
mod status;
mod switches;
#[cfg(test)]
mod tests;
mod traffic;
mod upstreams;
pub(crate) mod views;
