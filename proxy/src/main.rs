//! Mainstay.

pub mod config;
pub mod control;
pub mod problem_doc;

fn main() {}
