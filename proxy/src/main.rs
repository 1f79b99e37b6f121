//! Mainstay.

fn main() {}
