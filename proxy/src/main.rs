//! Mainstay.

pub mod config;
pub mod problem_doc;

fn main() {}
