//! Mainstay: a resilience sidecar proxy that never leaves a write in doubt.
//!
//! A library only so that fuzz targets and tests reach its parts; the program is `main.rs`. A request's life is in
//! `request/stack.rs`, the program's in [`app`]. Rooms stand on floors and import downwards only: `.ci/rooms`.

pub mod admin;
mod api;
pub mod app;
mod attempts;
pub mod background;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod faults;
pub mod ledger;
pub mod listener;
mod operation;
mod request;
pub mod respond;
pub mod router;
pub mod runtime;
pub mod telemetry;
pub mod upstream;
pub mod wire;
