//! Reload on real files: plain writes, renames, and Kubernetes' symlink swap.

use std::{fs, os::unix::fs::symlink, path::Path, time::Duration};

use tokio::time::timeout;

use super::{directory::Directory, good::EXAMPLE};
use crate::config::{
    Loaded, load,
    watch::{Reader, Reloads, Watcher, orders},
};

/// Longer than any machine needs; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(20);
/// A poll that never comes, so that only events can be what was noticed.
const NEVER: Duration = Duration::from_hours(1);

/// The example with the read policy's retries as a mark of its version.
fn version(retries: u32) -> String {
    EXAMPLE.replace("retry: 3", &format!("retry: {retries}"))
}

fn retries(loaded: &Loaded) -> Option<u32> {
    loaded.config.policies.first()?.retry.as_ref().map(|retry| retry.max_retries)
}

fn watch(path: &Path, poll: Duration) -> (Watcher, Reloads) {
    let digest = load(path).expect("the first version is valid").origin.digest;
    Watcher::start_with(path.to_owned(), digest, orders(), poll)
}

async fn next(reloads: &mut Reloads) -> Result<Loaded, String> {
    let result = timeout(PATIENCE, reloads.recv()).await.expect("a change is noticed").expect("the watcher runs");
    result.read.map_err(|errors| errors.to_string())
}

/// Takes results until a valid one: a plain write is seen half done at times.
async fn next_valid(reloads: &mut Reloads) -> Loaded {
    loop {
        if let Ok(loaded) = next(reloads).await {
            return loaded;
        }
    }
}

#[tokio::test]
async fn a_plain_write_is_noticed() {
    let directory = Directory::new();
    let path = directory.write("mainstay.yaml", version(1));
    let (_watcher, mut reloads) = watch(&path, NEVER);
    directory.write("mainstay.yaml", version(2));
    assert_eq!(retries(&next_valid(&mut reloads).await), Some(2));
}

#[tokio::test]
async fn renames_are_noticed_again_and_again() {
    let directory = Directory::new();
    let path = directory.write("mainstay.yaml", version(0));
    let (_watcher, mut reloads) = watch(&path, NEVER);
    for round in 1..=3 {
        let fresh = directory.write("mainstay.yaml.new", version(round));
        fs::rename(fresh, &path).expect("the file can be renamed");
        assert_eq!(retries(&next(&mut reloads).await.expect("a rename is atomic")), Some(round));
    }
}

/// A `ConfigMap` volume: `mainstay.yaml -> ..data/mainstay.yaml`, `..data -> ..<time>`, swapped by renaming a symlink.
#[tokio::test]
async fn a_config_map_update_is_noticed_again_and_again() {
    let directory = Directory::new();
    let publish = |round: u32| {
        let version_directory = directory.0.join(format!("..2026_{round}"));
        fs::create_dir(&version_directory).expect("a directory can be made");
        fs::write(version_directory.join("mainstay.yaml"), version(round)).expect("the file can be written");
        let fresh = directory.0.join("..data_tmp");
        symlink(format!("..2026_{round}"), &fresh).expect("a link can be made");
        fs::rename(fresh, directory.0.join("..data")).expect("the link can be renamed");
    };
    publish(0);
    symlink("..data/mainstay.yaml", directory.0.join("mainstay.yaml")).expect("a link can be made");
    // Mounted as a directory and named as one, or as the file in it.
    for path in [directory.0.clone(), directory.0.join("mainstay.yaml")] {
        let first = if path.is_dir() { 1 } else { 4 };
        let (_watcher, mut reloads) = watch(&path, NEVER);
        for round in first..first + 3 {
            publish(round);
            assert_eq!(retries(&next(&mut reloads).await.expect("a swap is atomic")), Some(round));
        }
    }
}

#[tokio::test]
async fn the_poll_finds_what_no_event_told() {
    let directory = Directory::new();
    let path = directory.write("mainstay.yaml", version(1));
    let elsewhere = Directory::new();
    let target = elsewhere.write("real.yaml", version(1));
    fs::remove_file(&path).expect("the file can be removed");
    symlink(&target, &path).expect("a link can be made");
    let (_watcher, mut reloads) = watch(&path, Duration::from_millis(20));
    // The watched directory does not change.
    let fresh = elsewhere.write("fresh.yaml", version(2));
    fs::rename(fresh, target).expect("the file can be renamed");
    assert_eq!(retries(&next(&mut reloads).await.expect("it is valid")), Some(2));
}

#[tokio::test]
async fn a_bad_file_is_reported_and_its_cure_is_noticed() {
    let directory = Directory::new();
    let path = directory.write("mainstay.yaml", version(1));
    let (_watcher, mut reloads) = watch(&path, NEVER);
    let swap = |text: &str| {
        let fresh = directory.write("fresh", text);
        fs::rename(fresh, &path).expect("the file can be renamed");
    };
    swap("listenrs: {}\n");
    let error = next(&mut reloads).await.expect_err("it is bad");
    assert!(error.contains("did you mean `listeners`?"), "{error}");
    swap(&version(5));
    assert_eq!(retries(&next(&mut reloads).await.expect("the cure comes next")), Some(5));
}

#[tokio::test]
async fn each_state_is_reported_once() {
    let directory = Directory::new();
    let path = directory.write("mainstay.yaml", version(1));
    let digest = load(&path).expect("the first version is valid").origin.digest;
    let mut reader = Reader::new(path.clone(), digest);
    assert!(reader.look(false).await.is_none(), "nothing changed");
    directory.write("mainstay.yaml", "listenrs: {}\n");
    assert!(reader.look(false).await.is_some_and(|result| result.is_err()));
    assert!(reader.look(false).await.is_none(), "the same bad file again");
    fs::remove_file(&path).expect("the file can be removed");
    assert!(reader.look(false).await.is_some_and(|result| result.is_err()));
    assert!(reader.look(false).await.is_none(), "still not there");
    directory.write("mainstay.yaml", version(1));
    assert!(reader.look(false).await.is_some_and(|result| result.is_ok()));
    assert!(reader.look(false).await.is_none(), "known");
    assert!(reader.look(true).await.is_some_and(|result| result.is_ok()), "asked for");
}

#[tokio::test]
async fn a_vanished_file_is_reported() {
    let directory = Directory::new();
    let path = directory.write("mainstay.yaml", version(1));
    let (_watcher, mut reloads) = watch(&path, NEVER);
    fs::remove_file(&path).expect("the file can be removed");
    let error = next(&mut reloads).await.expect_err("it is gone");
    assert!(error.contains("No such file"), "{error}");
}

#[tokio::test]
async fn an_explicit_reload_reads_even_what_did_not_change() {
    let directory = Directory::new();
    let path = directory.write("mainstay.yaml", version(1));
    let (watcher, mut reloads) = watch(&path, NEVER);
    for _ in 0..1000 {
        watcher.reload();
        assert_eq!(retries(&next(&mut reloads).await.expect("it is valid")), Some(1));
    }
    watcher.stop().await;
    assert!(reloads.recv().await.is_none(), "a stopped watcher sends nothing");
}

#[tokio::test]
async fn dropping_the_watcher_ends_its_task() {
    let directory = Directory::new();
    let path = directory.write("mainstay.yaml", version(1));
    let (watcher, mut reloads) = watch(&path, NEVER);
    drop(watcher);
    assert!(timeout(PATIENCE, reloads.recv()).await.expect("the channel closes").is_none());
}
