//! What files hold, in force until they hold something else that can be used.
//!
//! ```text
//! files ──► digest: has anything changed? ──► read whole, key against chain ──► swapped; connections live on
//!                                                         └ cannot be used: what is in force stays
//! ```

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::{certificate::Validity, files::FileError};

/// What was read.
pub struct Read<T> {
    /// What handshakes are made with.
    pub(super) config: Arc<T>,
    /// When the certificates that are shown are valid, and where they are from.
    pub(super) shown: Vec<(PathBuf, Validity)>,
}

impl<T> Read<T> {
    /// What shows no certificate.
    pub(in crate::wire) fn of(config: T) -> Self {
        Self { config: Arc::new(config), shown: Vec::new() }
    }
}

type Reading<T> = Box<dyn Fn() -> Result<Read<T>, FileError> + Send + Sync>;

/// What files hold, in force until they hold something else that can be used.
pub struct Kept<T> {
    files: Vec<PathBuf>,
    read: Reading<T>,
    current: ArcSwap<Read<T>>,
    /// Of what was read last, whether or not it could be used.
    seen: Mutex<[u8; 32]>,
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("files", &self.files).finish_non_exhaustive()
    }
}

impl<T> Kept<T> {
    /// Reads `files` by `read`, now and whenever they change.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub(in crate::wire) fn open(
        files: Vec<PathBuf>,
        read: impl Fn() -> Result<Read<T>, FileError> + Send + Sync + 'static,
    ) -> Result<Self, FileError> {
        // Before what it is of: a change in between is seen later.
        let seen = Mutex::new(digest(&files));
        let first = read()?;
        Ok(Self { files, read: Box::new(read), current: ArcSwap::from_pointee(first), seen })
    }

    /// What is in force.
    pub fn config(&self) -> Arc<T> {
        Arc::clone(&self.current.load().config)
    }
}

/// What is read again when its files change.
pub trait Renewable: Send + Sync {
    /// When the certificates that are shown are valid, and where they are from.
    fn shown(&self) -> Vec<(PathBuf, Validity)>;

    /// The files.
    fn files(&self) -> &[PathBuf];

    /// Whether the files hold something else than when they were looked at last.
    fn has_changed(&self) -> bool;

    /// Takes what the files hold now.
    ///
    /// # Errors
    /// It cannot be used: what is in force stays.
    fn take(&self) -> Result<(), FileError>;
}

impl<T: Send + Sync> Renewable for Kept<T> {
    fn shown(&self) -> Vec<(PathBuf, Validity)> {
        self.current.load().shown.clone()
    }

    fn files(&self) -> &[PathBuf] {
        &self.files
    }

    fn has_changed(&self) -> bool {
        *self.seen.lock() != digest(&self.files)
    }

    fn take(&self) -> Result<(), FileError> {
        let now = digest(&self.files);
        let read = (self.read)();
        *self.seen.lock() = now;
        self.current.store(Arc::new(read?));
        Ok(())
    }
}

/// What tells two states of the files apart.
fn digest(files: &[PathBuf]) -> [u8; 32] {
    let mut all = Sha256::new();
    for file in files {
        // One that cannot be read is a state of its own.
        let bytes = std::fs::read(file).ok();
        all.update(Sha256::digest(bytes.as_deref().unwrap_or_default()));
        all.update([u8::from(bytes.is_some())]);
    }
    all.finalize().into()
}

/// The directories of `files`: a file may be replaced by another of its name, to which a watch on the first would be deaf.
pub fn directories<'a>(files: impl Iterator<Item = &'a Path>) -> Vec<PathBuf> {
    let parent = |file: &'a Path| file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut found: Vec<_> = files.map(|file| parent(file).unwrap_or(Path::new(".")).to_owned()).collect();
    found.sort();
    found.dedup();
    found
}
