//! Mainstay: a resilience sidecar proxy that never leaves a write in doubt.
//!
//! A library only so that fuzz targets and tests reach its parts; the program is `main.rs`. A request's life is in `stack`,
//! the program's in [`app`].

pub mod admin;
mod alarm;
pub mod app;
mod asker;
mod attempt;
pub mod body;
mod cached;
pub mod cli;
mod client_body;
pub mod config;
pub mod control;
pub mod cpu;
pub mod demo;
mod exchange;
mod fallback;
pub mod faults;
mod first_frame;
mod forward;
mod gauges;
mod hedge;
pub mod http1;
mod http2;
mod interface;
pub mod interim;
mod keyed;
pub mod ledger;
pub mod listener;
pub mod problem_doc;
mod refused;
mod resolver;
mod respond;
pub mod router;
mod snapshot;
mod stack;
mod supervise;
pub mod telemetry;
mod tunnel;
mod unambiguous;
mod unkeyed;
pub mod upstream;
mod worker;
