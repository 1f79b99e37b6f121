//! Mainstay.

pub mod admin;
pub mod config;
pub mod telemetry;

fn main() {}
