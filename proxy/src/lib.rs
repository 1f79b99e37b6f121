//! Mainstay: a resilience sidecar proxy that never leaves a write in doubt.

pub mod cli;
pub mod config;
pub mod control;
pub mod problem_doc;
