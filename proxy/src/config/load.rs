//! From files to a checked configuration.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use super::{
    build::build,
    decode::Cx,
    env::{self, Lookup},
    model::{Config, Store},
    node::{At, Kind, Node, Pos},
    report::{ConfigErrors, Issue, Origin, Sources, Warning},
    yaml,
};

/// Bytes of one file: 5 000 routes written at length take about 1 MiB.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Files of a directory.
const MAX_FILES: usize = 256;

/// A configuration and what is to be said about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Arc<Config>,
    /// What is allowed and should be known.
    pub warnings: Vec<Warning>,
    /// Where it came from.
    pub origin: Origin,
}

/// Reads a file, or a directory as its `*.yaml` in name order.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    load_with(path, &|name| std::env::var(name).ok())
}

/// Reads a text as if it were a file of that name. Any text gives an answer in bounded time and memory.
pub fn parse(name: &str, text: &str) -> Result<Loaded, ConfigErrors> {
    parse_with(name, text, &|name| std::env::var(name).ok())
}

pub(crate) fn load_with(path: &Path, lookup: Lookup<'_>) -> Result<Loaded, ConfigErrors> {
    read_files(path)?.assemble(lookup)
}

pub(crate) fn parse_with(name: &str, text: &str, lookup: Lookup<'_>) -> Result<Loaded, ConfigErrors> {
    if text.len() as u64 > MAX_FILE {
        return Err(ConfigErrors::unreadable(Path::new(name), "the file is larger than 4MiB"));
    }
    Files { files: vec![(PathBuf::from(name), text.to_owned())], ignored: Vec::new() }.assemble(lookup)
}

/// The digest of what [`load`] would read now.
pub(crate) fn digest(path: &Path) -> Result<[u8; 32], ConfigErrors> {
    Ok(read_files(path)?.digest())
}

struct Files {
    files: Vec<(PathBuf, String)>,
    /// Files beside them that look meant and are not read.
    ignored: Vec<PathBuf>,
}

fn read_files(path: &Path) -> Result<Files, ConfigErrors> {
    let metadata = fs::metadata(path).map_err(|error| ConfigErrors::unreadable(path, error))?;
    let (paths, ignored) = if metadata.is_dir() { list(path)? } else { (vec![path.to_owned()], Vec::new()) };
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let text = read_text(&path)?;
        files.push((path, text));
    }
    Ok(Files { files, ignored })
}

/// The `*.yaml` of a directory in name order. Hidden names are left out: Kubernetes keeps its `..data` there.
fn list(directory: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>), ConfigErrors> {
    let unreadable = |error: std::io::Error| ConfigErrors::unreadable(directory, error);
    let (mut paths, mut ignored) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if hidden || !path.is_file() {
            continue;
        }
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml") => paths.push(path),
            Some("yml") if ignored.len() < MAX_FILES => ignored.push(path),
            _ => {}
        }
        if paths.len() > MAX_FILES {
            return Err(ConfigErrors::unreadable(directory, "the directory holds more than 256 *.yaml files"));
        }
    }
    if paths.is_empty() {
        return Err(ConfigErrors::unreadable(directory, "the directory holds no *.yaml file"));
    }
    paths.sort();
    ignored.sort();
    Ok((paths, ignored))
}

fn read_text(path: &Path) -> Result<String, ConfigErrors> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| ConfigErrors::unreadable(path, error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(ConfigErrors::unreadable(path, "the file is larger than 4MiB"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        ConfigErrors::unreadable(path, format!("line {line} is not UTF-8"))
    })
}

impl Files {
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for (path, text) in &self.files {
            let name = path.as_os_str().as_encoded_bytes();
            hash.update((name.len() as u64).to_be_bytes());
            hash.update(name);
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        }
        hash.finalize().into()
    }

    fn assemble(self, lookup: Lookup<'_>) -> Result<Loaded, ConfigErrors> {
        let digest = self.digest();
        let mut sources = Sources::default();
        let mut roots = Vec::with_capacity(self.files.len());
        let mut issues = Vec::new();
        let mut paths = Vec::with_capacity(self.files.len());
        for (path, text) in self.files {
            // A byte order mark is no part of the document.
            let text = text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned);
            let file = sources.add(path.display().to_string(), text);
            paths.push(path);
            match yaml::read(file, sources.text(file)) {
                Ok(mut root) => {
                    env::substitute(&mut root, lookup, &mut issues);
                    roots.push(root);
                }
                Err(issue) => issues.push(issue),
            }
        }
        if !issues.is_empty() {
            return Err(ConfigErrors::new(&sources, issues));
        }
        let root = merge(roots, &sources, &mut issues);
        let mut cx = Cx::with(issues);
        match build(&root, &mut cx) {
            Some(config) if cx.issues.is_empty() => Ok(Loaded {
                warnings: warnings(&config, &self.ignored),
                config: Arc::new(config),
                origin: Origin { files: paths, digest },
            }),
            _ => Err(ConfigErrors::new(&sources, cx.issues)),
        }
    }
}

/// One document of many: named maps are merged by name, routes follow each other, anything else may stand once.
fn merge(roots: Vec<Node>, sources: &Sources, issues: &mut Vec<Issue>) -> Node {
    let mut roots = roots.into_iter();
    let Some(first) = roots.next() else {
        return Node { at: Pos::file(0), kind: Kind::Null };
    };
    let mut merged = first;
    for root in roots {
        match (&mut merged.kind, root.kind) {
            (_, Kind::Null) => {}
            (Kind::Null, kind) => merged = Node { at: root.at, kind },
            (Kind::Map(into), Kind::Map(entries)) => {
                for entry in entries {
                    merge_entry(into, entry, sources, issues);
                }
            }
            (_, _) => issues.push(Issue::new(root.at, "each file of a directory is a map of top-level keys")),
        }
    }
    merged
}

fn merge_entry(
    into: &mut Vec<(At<String>, Node)>,
    (key, node): (At<String>, Node),
    sources: &Sources,
    issues: &mut Vec<Issue>,
) {
    let Some((first, existing)) = into.iter_mut().find(|(name, _)| name.value == key.value) else {
        into.push((key, node));
        return;
    };
    match (key.value.as_str(), &mut existing.kind, node.kind) {
        ("routes", Kind::List(into), Kind::List(items)) => into.extend(items),
        ("listeners" | "upstreams" | "policies", Kind::Map(into), Kind::Map(entries)) => {
            for (name, node) in entries {
                if let Some((other, _)) = into.iter().find(|(other, _)| other.value == name.value) {
                    let message = format!("`{}` is already defined at {}", name.value, sources.place(other.at));
                    issues.push(Issue::new(name.at, message).help("names are unique across the files of a directory"));
                } else {
                    into.push((name, node));
                }
            }
        }
        (name, _, _) => {
            let message = format!("`{name}` is already given at {}", sources.place(first.at));
            issues.push(Issue::new(key.at, message).help("it may stand in one file of a directory only"));
        }
    }
}

fn warnings(config: &Config, ignored: &[PathBuf]) -> Vec<Warning> {
    let not_read = |path: &PathBuf| Warning::new(format!("{} is not read: only *.yaml is", path.display()));
    let mut warnings: Vec<Warning> = ignored.iter().map(not_read).collect();
    let protects = config.policies.iter().any(|policy| policy.idempotency.is_some());
    if protects && config.ledger.store == Store::Memory {
        warnings.push(Warning::new(
            "ledger: operations are kept in memory and are lost on exit; after a restart a repeated write executes again",
        ));
    }
    warnings
}
