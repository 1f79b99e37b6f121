//! Mainstay: a resilience sidecar proxy that never leaves a write in doubt.

pub mod admin;
pub mod body;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod listener;
pub mod problem_doc;
pub mod router;
pub mod telemetry;
pub mod upstream;
