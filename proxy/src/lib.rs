//! Mainstay: a resilience sidecar proxy that never leaves a write in doubt.

pub mod admin;
pub mod cli;
pub mod config;
pub mod control;
pub mod demo;
pub mod telemetry;
pub mod problem_doc;
