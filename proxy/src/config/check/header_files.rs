//! Files that credentials come from, where the configuration is checked: not there, or of no use.

use std::path::Path;

use http::HeaderName;

use super::found::Found;
use crate::{
    config::model::{Config, HeaderSource},
    wire::field_source,
};

pub(super) fn find(config: &Config, found: &mut Found<'_>) {
    for upstream in &config.upstreams {
        let (whose, name) = (format!("upstream `{}`", upstream.name), &*upstream.name);
        look(&upstream.set, (&whose, &["upstreams", name, "headers", "set"]), found);
    }
    if let Some(otlp) = &config.telemetry.otlp {
        look(&otlp.headers, ("`telemetry.otlp`", &["telemetry", "otlp", "headers"]), found);
    }
}

/// A file that is missing may be so on this machine only; what is there and of no use is of none elsewhere.
fn look(fields: &[(HeaderName, HeaderSource)], (whose, path): (&str, &[&str]), found: &mut Found<'_>) {
    for (name, source) in fields {
        let Some(file) = source.file() else { continue };
        let field = [path, &[name.as_str()]].concat();
        if !is_there(file) {
            let message = format!("{whose}: {}, which `{name}` comes from, is not here", file.display());
            found.note("secret-file-missing", &field, message, "give it before the start: without it there is none");
        } else if let Err(error) = field_source::open(&[(name.clone(), source.clone())]) {
            let message = format!("{whose}: `{name}`: {error}");
            found.warn("secret-file-unusable", &field, message, "its first line is the value, and it must be readable");
        }
    }
}

fn is_there(file: &Path) -> bool {
    // One that may not be looked at is there.
    file.try_exists().unwrap_or(true)
}
