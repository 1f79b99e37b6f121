//! `mainstay config show` and `mainstay config schema`.

use std::{path::PathBuf, process::ExitCode};

use super::{
    named::{NO_CONFIGURATION, configuration},
    output::{fail, print},
};
use crate::config;

/// Prints the whole effective configuration, every default filled in.
pub fn show(named: Option<PathBuf>) -> ExitCode {
    let Some(path) = configuration(named) else {
        return fail(NO_CONFIGURATION);
    };
    match config::load(&path) {
        Ok(loaded) => print(config::show(&loaded.config).trim_end()),
        Err(errors) => fail(errors),
    }
}

/// Prints the JSON Schema.
pub fn schema() -> ExitCode {
    print(format_args!("{:#}", config::schema()))
}
