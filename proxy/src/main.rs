//! Mainstay.

pub mod config;

fn main() {}
