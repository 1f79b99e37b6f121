//! Which build this is, as `--version`, the log's first line and the operators' interface tell it.

/// The version of the sources.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The commit that it was built from, the first digits of it, where that is known: debug builds do not look.
pub const COMMIT: Option<&str> = option_env!("MAINSTAY_BUILT_FROM");
/// Cargo's profile: `dist` for what is published.
pub const PROFILE: &str = env!("MAINSTAY_PROFILE");
/// The machine that it is for: `x86_64-unknown-linux-musl`.
pub const TARGET: &str = env!("MAINSTAY_TARGET");
/// Whether it can be broken on purpose, which nobody shall take for a release.
pub const HAS_FAULTS: bool = cfg!(feature = "faults");
