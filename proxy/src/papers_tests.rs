//! The completions and manual pages of `deploy/` are what the program says of itself.

use std::{collections::BTreeMap, env, fs, path::Path};

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Arguments;

/// Has the files written rather than compared.
const WRITE: &str = "MAINSTAY_WRITE";
const SHELLS: [Shell; 4] = [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell];

/// The files of a directory, by name.
fn held(directory: &Path) -> BTreeMap<String, String> {
    let files = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.expect("it can be listed"));
    let read = |entry: fs::DirEntry| {
        let text = fs::read_to_string(entry.path()).expect("it is text");
        (entry.file_name().into_string().expect("a name in UTF-8"), text)
    };
    files.map(read).collect()
}

/// What one of the makers writes into a directory. The commit of a build is none of it.
fn made(make: impl FnOnce(clap::Command, &Path)) -> BTreeMap<String, String> {
    let directory = env::temp_dir().join(format!("mainstay-papers-{}", uuid::Uuid::new_v4()));
    fs::create_dir_all(&directory).expect("a directory");
    make(Arguments::command().version(env!("CARGO_PKG_VERSION")), &directory);
    let files = held(&directory);
    fs::remove_dir_all(&directory).ok();
    files
}

#[test]
fn completions_and_manual_pages_are_what_the_program_says_of_itself() {
    let completions = made(|mut program, directory| {
        for shell in SHELLS {
            clap_complete::generate_to(shell, &mut program, "mainstay", directory).expect("a completion");
        }
    });
    let pages = made(|program, directory| clap_mangen::generate_to(program, directory).expect("pages"));
    assert!(completions.len() == SHELLS.len() && pages.len() > 35, "{} {}", completions.len(), pages.len());
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy");
    let mut wrong = Vec::new();
    for (folder, made) in [("completions", completions), ("man", pages)] {
        let folder = deploy.join(folder);
        let held = held(&folder);
        if env::var_os(WRITE).is_some() {
            for gone in held.keys().filter(|name| !made.contains_key(*name)) {
                fs::remove_file(folder.join(gone)).expect("it is no more");
            }
            for (name, text) in &made {
                fs::write(folder.join(name), text).expect("it is written");
            }
            continue;
        }
        let names = made.keys().chain(held.keys());
        let differing = names.filter(|name| made.get(*name) != held.get(*name));
        wrong.extend(differing.map(|name| folder.join(name).display().to_string()));
    }
    wrong.sort_unstable();
    wrong.dedup();
    assert!(
        wrong.is_empty(),
        "these are not what the program says: {wrong:#?}\nwrite them anew: {WRITE}=1 cargo test -p mainstay --bin mainstay papers"
    );
}
