//! Which configuration a command is about.

use std::path::PathBuf;

/// What is said where no configuration is named and none lies where it is looked for.
pub const NO_CONFIGURATION: &str = "mainstay: no configuration: name one with -c FILE, or have `mainstay init` write mainstay.yaml here; --help tells more";

/// The configuration: the one that was named, else `mainstay.yaml` in the working directory, if it is there.
pub fn configuration(named: Option<PathBuf>) -> Option<PathBuf> {
    let here = || Some(PathBuf::from("mainstay.yaml")).filter(|path| path.exists());
    named.or_else(here)
}
