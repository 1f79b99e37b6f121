//! A directory is read as its `*.yaml` in name order.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering},
};

use super::{good::EXAMPLE, parse};
use crate::config::{Loaded, load};

/// A directory of its own, removed at the end.
pub(super) struct Directory(pub(super) PathBuf);

impl Directory {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mainstay-config-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("the temporary directory can be written");
        Self(path)
    }

    pub(super) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("the file can be written");
        path
    }

    /// What loading says, with the directory's own path left out.
    fn load(&self) -> Result<Loaded, String> {
        load(&self.0).map_err(|errors| errors.to_string().replace(&format!("{}/", self.0.display()), ""))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The parts of the example.
fn split() -> (String, String) {
    let at = EXAMPLE.find("policies:").expect("the example has policies");
    (EXAMPLE[..at].to_owned(), EXAMPLE[at..].to_owned())
}

#[test]
fn files_are_merged_by_top_level_key() {
    let directory = Directory::new();
    let (first, second) = split();
    directory.write("10-policies.yaml", second);
    directory.write("20-routes.yaml", first);
    assert_eq!(directory.load().expect("it is valid").config, parse(EXAMPLE));
}

#[test]
fn names_add_up_and_routes_follow_the_order_of_file_names() {
    let directory = Directory::new();
    directory.write("b.yaml", EXAMPLE);
    directory.write(
        "a.yaml",
        "routes: [{ match: /first, upstream: other }]\nupstreams: { other: { endpoints: [http://127.0.0.1:1] } }\n",
    );
    directory.write("c.yaml", "# nothing yet\n");
    let config = directory.load().expect("it is valid").config;
    let routes: Vec<&str> = config.routes.iter().map(|route| &*route.name).collect();
    assert_eq!(routes, ["/first", "/payments/**", "/**"]);
    assert_eq!(config.upstreams.len(), 2);
}

#[test]
fn a_name_defined_twice_names_both_places() {
    let directory = Directory::new();
    directory.write("a.yaml", EXAMPLE);
    directory.write("b.yaml", "policies:\n  fresh: { retry: 1 }\n  read: { retry: 1 }\n");
    assert_eq!(
        directory.load().expect_err("read is defined twice"),
        "b.yaml:3:3: `read` is already defined at a.yaml:16:3
   |
 3 |   read: { retry: 1 }
   |   ^^^^ names are unique across the files of a directory"
    );
}

#[test]
fn another_key_given_twice_names_both_places() {
    let directory = Directory::new();
    directory.write("a.yaml", format!("drain: {{ delay: 1s }}\n{EXAMPLE}"));
    directory.write("b.yaml", "drain: { timeout: 1s }\n");
    assert_eq!(
        directory.load().expect_err("drain is given twice"),
        "b.yaml:1:1: `drain` is already given at a.yaml:1:1
   |
 1 | drain: { timeout: 1s }
   | ^^^^^ it may stand in one file of a directory only"
    );
}

#[test]
fn errors_in_several_files_are_told_at_once() {
    let directory = Directory::new();
    directory.write("a.yaml", EXAMPLE.replace("retry: 3", "retry: x"));
    directory.write("b.yaml", "drain: { delay: 5 }\n");
    let errors = directory.load().expect_err("both are wrong");
    assert!(errors.contains("a.yaml:16:") && errors.contains("b.yaml:1:17: `5` has no unit"), "{errors}");
}

#[test]
fn hidden_and_other_files_are_left_out() {
    let directory = Directory::new();
    directory.write("mainstay.yaml", EXAMPLE);
    directory.write(".hidden.yaml", "nonsense");
    directory.write("notes.txt", "nonsense");
    directory.write("more.yml", "nonsense");
    let loaded = directory.load().expect("it is valid");
    assert_eq!(loaded.origin.files.len(), 1);
    let warning = loaded.findings.iter().find(|finding| finding.code == "not-read").expect("it is said").to_string();
    assert!(warning.contains("more.yml: warning: this file is not read: only *.yaml is [not-read]"), "{warning}");
}

#[test]
fn a_directory_without_yaml_and_a_missing_file_say_so() {
    let directory = Directory::new();
    let error = directory.load().expect_err("it is empty");
    assert!(error.contains("the directory holds no *.yaml file\n   = put one there"), "{error}");
    let error = load(&directory.0.join("absent.yaml")).expect_err("it is absent").to_string();
    assert!(error.contains("absent.yaml: No such file or directory"), "{error}");
}

#[test]
fn the_digest_follows_the_content() {
    let directory = Directory::new();
    directory.write("mainstay.yaml", EXAMPLE);
    let digest = || directory.load().expect("it is valid").origin.digest;
    let first = digest();
    assert_eq!(digest(), first);
    directory.write("mainstay.yaml", format!("{EXAMPLE}# a comment\n"));
    assert_ne!(digest(), first);
}
