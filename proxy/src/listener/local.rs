//! Listening on a Unix socket, the same one for every worker.
//!
//! Its file is where its callers find it. One that a dead process has left is taken over; where somebody answers, that is an error,
//! and so is a file that is no socket. Whoever looks and binds holds a lock on the directory, so that of two that start at once
//! one finds the other.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
        net::UnixListener,
    },
    path::Path,
    sync::Arc,
};

use socket2::{Domain, SockAddr, Socket, Type};

use super::socket::BACKLOG;

/// Owner and group may call: containers of one pod have different users, and one group by `fsGroup`.
const MODE: u32 = 0o660;

/// Opens a file to know it by, whatever it is. The same number wherever Linux runs on what this program is built for.
const O_PATH: i32 = 0o10_000_000;

/// The file of a socket that is listened on; taken away when dropped, unless it is somebody else's by now.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: Arc<Path>,
    identity: (u64, u64),
    /// While it is held, no other file is given the same number.
    _held: Option<File>,
}

impl SocketFile {
    fn of(path: &Arc<Path>) -> io::Result<Self> {
        let held = OpenOptions::new().read(true).custom_flags(O_PATH).open(path).ok();
        Ok(Self { path: path.clone(), identity: identity(path)?, _held: held })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|now| now == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the file of a socket stays; the next start takes it over");
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Opens the socket at `path`, for `count` workers.
///
/// # Errors
/// Somebody listens there, or it cannot be made there.
pub(crate) fn listen(path: &Arc<Path>, count: usize) -> io::Result<(Vec<UnixListener>, SocketFile)> {
    let directory = path.parent().and_then(|directory| File::open(directory).ok());
    // A directory that may be written and not read is rare, and so is a second start at the same moment.
    if let Some(directory) = &directory {
        directory.lock()?;
    }
    clear_away(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::of(path)?;
    // Before anybody can call: that takes `listen`.
    fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
    socket.listen(BACKLOG)?;
    let own = UnixListener::from(socket);
    let sockets = (0..count).map(|_| own.try_clone()).collect::<io::Result<_>>()?;
    Ok((sockets, file))
}

/// Removes what a dead process has left.
fn clear_away(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if !found.file_type().is_socket() => {
            let why = "a file of that name is there, and is no socket: remove it, or name another";
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, why));
        }
        Ok(_) => {}
    }
    let caller = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A process that stands still answers nobody, and is not waited for.
    caller.set_nonblocking(true)?;
    match caller.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        Ok(()) | Err(_) => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens there")),
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream, path::PathBuf};

    use super::*;

    /// A directory of this test's own; removed by the last of its sockets' owners, for it is empty then.
    fn directory() -> PathBuf {
        let path = std::env::temp_dir().join(format!("mainstay-local-{}", uuid::Uuid::new_v4()));
        fs::create_dir(&path).unwrap();
        path
    }

    #[test]
    fn who_is_dead_is_followed_and_who_lives_is_not() {
        let directory = directory();
        let path: Arc<Path> = directory.join("a.sock").into();
        let (sockets, file) = listen(&path, 2).unwrap();
        assert_eq!((sockets.len(), fs::metadata(&path).unwrap().permissions().mode() & 0o777), (2, MODE));
        assert_eq!(listen(&path, 1).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        UnixStream::connect(&path).unwrap();
        // Dead, and its file stays.
        drop(sockets);
        let (next, later) = listen(&path, 1).unwrap();
        drop(file);
        assert!(path.exists(), "it is the next one's by now");
        UnixStream::connect(&path).unwrap();
        drop((next, later));
        assert!(!path.exists());
        fs::write(&path, "mine").unwrap();
        assert_eq!(listen(&path, 1).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        fs::remove_file(&path).unwrap();
        fs::remove_dir(&directory).unwrap();
    }
}
