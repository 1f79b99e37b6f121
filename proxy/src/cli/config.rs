//! `mainstay config show` and `mainstay config schema`.

use std::{path::Path, process::ExitCode};

use super::output::{fail, print};
use crate::config;

/// Prints the whole effective configuration, every default filled in.
pub fn show(path: &Path) -> ExitCode {
    match config::load(path) {
        Ok(loaded) => print(config::show(&loaded.config).trim_end()),
        Err(errors) => fail(errors),
    }
}

/// Prints the JSON Schema.
pub fn schema() -> ExitCode {
    print(format_args!("{:#}", config::schema()))
}
