//! From files to a checked configuration.

use std::{
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use super::{
    FromEnvironment,
    build::build,
    check,
    decode::Cx,
    env::{self, Lookup},
    finding::{Finding, Severity},
    model::Config,
    node::{At, Kind, Node, Pos},
    otel::Standard,
    places,
    report::{ConfigErrors, Issue, Origin, Sources},
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
    /// What is allowed and should be known: warnings and notes, in the order of the files.
    pub findings: Vec<Finding>,
    /// Where it came from.
    pub origin: Origin,
    written: Written,
}

/// What was written, for the places of what is found later.
#[derive(Clone, Debug)]
struct Written {
    root: Node,
    sources: Sources,
}

impl Loaded {
    /// What differs from the configuration that the process was started with, and takes effect only at the next start.
    pub fn restarts(&self, running: &Config) -> Vec<Finding> {
        let Written { root, sources } = &self.written;
        sources.findings(check::restarts(running, &self.config, root)).0
    }
}

/// Reads a file, or a directory as its `*.yaml` in name order.
pub fn load(path: &Path) -> Result<Loaded, ConfigErrors> {
    load_with(path, &|name| std::env::var(name).ok())
}

/// Reads a text as if it were a file of that name. Any text gives an answer in bounded time and memory.
pub fn parse(name: &str, text: &str) -> Result<Loaded, ConfigErrors> {
    parse_with(name, text, &|name| std::env::var(name).ok())
}

/// Reads what a reader gives, to its end, as if it were a file of that name.
pub fn read(name: &str, from: impl io::Read) -> Result<Loaded, ConfigErrors> {
    parse(name, &text_of(Path::new(name), from)?)
}

pub(crate) fn load_with(path: &Path, lookup: Lookup<'_>) -> Result<Loaded, ConfigErrors> {
    read_files(path)?.assemble(lookup)
}

pub(crate) fn parse_with(name: &str, text: &str, lookup: Lookup<'_>) -> Result<Loaded, ConfigErrors> {
    if text.len() as u64 > MAX_FILE {
        return Err(too_large(Path::new(name)));
    }
    Files { files: vec![(PathBuf::from(name), text.to_owned())], ignored: Vec::new() }.assemble(lookup)
}

/// The digest of what [`load`] would read now.
pub(crate) fn digest(path: &Path) -> Result<[u8; 32], ConfigErrors> {
    Ok(read_files(path)?.digest())
}

/// What is written where, without what it means; `None` if it is no longer what had that digest.
pub(crate) fn written(path: &Path, with: [u8; 32]) -> Option<(Node, Sources)> {
    let files = read_files(path).ok().filter(|files| files.digest() == with)?;
    let (mut sources, mut roots) = (Sources::default(), Vec::new());
    for (path, text) in files.files {
        let text = text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned);
        let file = sources.add(path.display().to_string(), text);
        roots.push(yaml::read(file, sources.text(file)).ok()?);
    }
    let root = merge(roots, &sources, &mut Vec::new());
    Some((root, sources))
}

struct Files {
    files: Vec<(PathBuf, String)>,
    /// Files beside them that look meant and are not read.
    ignored: Vec<PathBuf>,
}

fn read_files(path: &Path) -> Result<Files, ConfigErrors> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
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
    let unreadable = |error: io::Error| unreadable(directory, &error);
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
            let problem = "the directory holds more than 256 *.yaml files";
            return Err(ConfigErrors::unreadable(directory, problem, "put more than one section into a file"));
        }
    }
    if paths.is_empty() {
        let cure = "put one there, or name the file itself";
        return Err(ConfigErrors::unreadable(directory, "the directory holds no *.yaml file", cure));
    }
    paths.sort();
    ignored.sort();
    Ok((paths, ignored))
}

fn read_text(path: &Path) -> Result<String, ConfigErrors> {
    text_of(path, fs::File::open(path).map_err(|error| unreadable(path, &error))?)
}

fn text_of(path: &Path, from: impl io::Read) -> Result<String, ConfigErrors> {
    let mut bytes = Vec::new();
    from.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(too_large(path));
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.split(|byte| *byte == b'\n').count();
        ConfigErrors::unreadable(path, format!("line {line} is not UTF-8"), "save the file as UTF-8")
    })
}

fn unreadable(path: &Path, error: &io::Error) -> ConfigErrors {
    let cure = match error.kind() {
        io::ErrorKind::NotFound => "give the configuration's file or directory",
        io::ErrorKind::PermissionDenied => "let the user who runs Mainstay read it",
        _ => "",
    };
    ConfigErrors::unreadable(path, error, cure)
}

fn too_large(path: &Path) -> ConfigErrors {
    ConfigErrors::unreadable(path, "the file is larger than 4MiB", "split it into the files of a directory")
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
        let mut given = Vec::new();
        for (path, text) in self.files {
            // A byte order mark is no part of the document.
            let text = text.strip_prefix('\u{feff}').map_or(text.clone(), str::to_owned);
            let file = sources.add(path.display().to_string(), text);
            paths.push(path);
            match yaml::read(file, sources.text(file)) {
                Ok(mut root) => {
                    env::substitute(&mut root, lookup, &mut given, &mut issues);
                    roots.push(root);
                }
                Err(issue) => issues.push(*issue),
            }
        }
        if !issues.is_empty() {
            return Err(ConfigErrors::new(&sources, issues));
        }
        let mut root = merge(roots, &sources, &mut issues);
        let standard = Standard { lookup, sources: &mut sources, given: &mut given, issues: &mut issues };
        let resource = standard.fill(&mut root);
        let environment = FromEnvironment::new(given);
        let mut cx = Cx::with(issues, places::belongs);
        let built = build(&root, &mut cx).map(|mut config| {
            config.telemetry.resource = resource;
            Config { environment: environment.clone(), ..config }
        });
        match built {
            Some(config) if cx.issues.is_empty() => Ok(Loaded {
                findings: findings(&config, &root, &mut sources, &self.ignored),
                config: Arc::new(config),
                origin: Origin { files: paths, digest },
                written: Written { root, sources },
            }),
            _ => {
                let issues = cx.issues.into_iter().map(|issue| issue.hiding(&environment));
                Err(ConfigErrors::new(&sources, issues.collect()))
            }
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
            (_, _) => issues.push(
                Issue::new(root.at, "each file of a directory is a map of top-level keys")
                    .help("begin it with one of them, such as `policies:`"),
            ),
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

fn findings(config: &Config, root: &Node, sources: &mut Sources, ignored: &[PathBuf]) -> Vec<Finding> {
    let mut issues: Vec<Issue> = Vec::new();
    for path in ignored {
        let file = sources.add(path.display().to_string(), "");
        let issue = Issue::new(Pos::file(file), "this file is not read: only *.yaml is");
        let issue = issue.code("not-read").help("rename it, or move it elsewhere");
        issues.push(Issue { severity: Severity::Warning, ..issue });
    }
    issues.extend(check::find(config, root).into_iter().map(|issue| issue.hiding(&config.environment)));
    sources.findings(issues).0
}
