//! What the program says of itself: from which commit it was built, in which profile, and for which target; and which manual pages
//! it has.
//!
//! The commit is `MAINSTAY_COMMIT` where that is set (an image or an archive has no history), else the one that is checked out,
//! else it is not known. A debug build does not look: it would be compiled anew at each commit.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

/// Digits of a commit that are shown.
const DIGITS: usize = 7;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=MAINSTAY_COMMIT");
    let [profile, target] = [profile(), env::var("TARGET").unwrap_or_default()];
    let commit = given().or_else(|| if profile == "debug" { None } else { checked_out() });
    if let Some(commit) = &commit {
        println!("cargo::rustc-env=MAINSTAY_BUILT_FROM={commit}");
    }
    println!("cargo::rustc-env=MAINSTAY_PROFILE={profile}");
    println!("cargo::rustc-env=MAINSTAY_TARGET={target}");
    let commit = commit.as_deref().unwrap_or("unknown");
    println!("cargo::rustc-env=MAINSTAY_BUILD={commit}, {profile}, {target}");
    if let Err(error) = pages() {
        println!("cargo::error=the manual pages of deploy/man cannot be listed: {error}");
    }
}

/// Writes down the manual pages as the program embeds them: pairs of a name and a text, by name.
fn pages() -> io::Result<()> {
    let [package, out] = ["CARGO_MANIFEST_DIR", "OUT_DIR"].map(|name| env::var_os(name).unwrap_or_default());
    let folder = PathBuf::from(package).with_file_name("deploy").join("man");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut files = fs::read_dir(&folder)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
    // Without its ending the program's own name is the shortest of those that begin with it.
    files.sort_by_key(|file| file.with_extension(""));
    let pairs = files.iter().filter_map(|file| Some((file.file_name()?.to_str()?, file.to_str()?)));
    let lines: Vec<String> = pairs.map(|(name, file)| format!("    ({name:?}, include_str!({file:?})),")).collect();
    fs::write(Path::new(&out).join("pages.rs"), format!("&[\n{}\n]\n", lines.join("\n")))
}

/// What whoever builds says.
fn given() -> Option<String> {
    let commit: String = env::var("MAINSTAY_COMMIT").ok()?.trim().chars().take(DIGITS).collect();
    (!commit.is_empty() && commit.chars().all(|digit| digit.is_ascii_hexdigit())).then_some(commit)
}

/// The commit of the checkout that this package lies in; this script runs again when another one is checked out.
fn checked_out() -> Option<String> {
    let package = env::var("CARGO_MANIFEST_DIR").ok()?;
    let top = git(&package, &["rev-parse", "--show-toplevel"])?;
    // An archive that was unpacked in somebody's repository is not of that repository's commit.
    let is_ours = Path::new(&top).canonicalize().ok()? == Path::new(&package).parent()?.canonicalize().ok()?;
    if !is_ours {
        return None;
    }
    for name in ["HEAD", "logs/HEAD"] {
        let path = git(&package, &["rev-parse", "--path-format=absolute", "--git-path", name])?;
        // What is not there would have this script run each time.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    git(&package, &["rev-parse", &format!("--short={DIGITS}"), "HEAD"])
}

fn git(directory: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(directory).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}

/// The profile by its own name; Cargo tells scripts only which of its two kinds it is of.
fn profile() -> String {
    // target/<profile>/build/<package>/out
    let directory = env::var("OUT_DIR").unwrap_or_default();
    let named = Path::new(&directory).ancestors().nth(3).and_then(Path::file_name);
    named.map_or_else(|| env::var("PROFILE").unwrap_or_default(), |name| name.to_string_lossy().into_owned())
}
