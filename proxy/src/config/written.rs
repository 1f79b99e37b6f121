//! Where each setting was written, for people who look at what is in force.

use std::path::Path;

use super::{
    load::written,
    node::{Kind, Node},
    report::Sources,
};

/// Places that are told of one configuration: 5 000 routes written at length have more, and nobody looks at all of them.
const MOST: usize = 20_000;

/// Where a setting was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The setting, from the top: `policies.write.timeout.total`, `routes[0].match.path`.
    pub(crate) setting: String,
    /// The file, as it was named.
    pub(crate) file: String,
    /// The line, from 1.
    pub(crate) line: usize,
}

/// Where every single value of the files was written, in their order; what is not among them is a default. `None` if the files
/// are no longer what had that digest.
pub(crate) fn places(path: &Path, digest: [u8; 32]) -> Option<Vec<Place>> {
    let (root, sources) = written(path, digest)?;
    let mut found = Vec::new();
    walk(&root, &sources, "", &mut found);
    Some(found)
}

fn walk(node: &Node, sources: &Sources, setting: &str, found: &mut Vec<Place>) {
    match &node.kind {
        Kind::Map(entries) => {
            let dot = if setting.is_empty() { "" } else { "." };
            for (key, value) in entries {
                walk(value, sources, &format!("{setting}{dot}{}", key.value), found);
            }
        }
        Kind::List(items) => {
            for (number, item) in items.iter().enumerate() {
                walk(item, sources, &format!("{setting}[{number}]"), found);
            }
        }
        Kind::Scalar(_) | Kind::Null if found.len() < MOST => {
            let (file, line) = (sources.name(node.at.file).to_owned(), node.at.line);
            found.push(Place { setting: setting.to_owned(), file, line });
        }
        Kind::Scalar(_) | Kind::Null => {}
    }
}
