//! Black-box tests of the `mainstay` binary: one behaviour each, against scripted upstreams over loopback.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod admin;
mod breaker;
mod cli;
mod client_bodies;
mod forwarding;
mod forwarding_streams;
mod framing;
mod h2_streams;
mod hedging;
mod hostile;
mod http2;
mod idempotency;
mod idempotency_death;
mod idempotency_keys;
mod idempotency_settling;
mod identity;
mod ledger_disk;
mod ledger_eventual;
mod ledger_faults;
mod limits;
mod operate;
mod probes;
mod problems;
mod reload;
mod retry;
mod retry_evidence;
mod retry_safety;
mod routing;
mod self_test;
mod timeout;
mod traces;
mod traffic;
mod upstream_framing;
