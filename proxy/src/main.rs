//! Mainstay.

pub mod cli;
pub mod config;

fn main() {}
