//! Mainstay: an HTTP proxy that never leaves a write in doubt.
//!
//! A library only so that fuzz targets and tests reach its parts; the program is `main.rs`.

pub mod config;
pub mod demo;
