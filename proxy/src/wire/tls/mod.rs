//! TLS as every connection of Mainstay has it: rustls with aws-lc-rs, TLS 1.2 and 1.3, and no way to switch verification off.
//!
//! ```text
//!  files (PEM) ──► credentials: a key and its chain ─┐
//!              └─► roots: whom a peer may be from ───┴─► ClientTls ──► a configuration for one handshake or many
//! ```
//!
//! A failure of a file names the file and the cause ([`FileError`]); one of a handshake says what the peer's certificate lacks, or
//! what the peer lacks in ours ([`explain`]).

mod certificate;
mod client;
mod credentials;
mod files;
mod kept;
mod listener;
mod reason;
mod roots;
mod upstream;

pub use certificate::{Invalid, Names, Validity};
pub use client::{ClientTls, MinVersion};
pub use credentials::{Credentials, settled};
pub(super) use files::read as read_file;
pub use files::{Cause, FileError};
pub use kept::{Kept, Read, Renewable, directories};
pub use listener::{Acceptor, Caller, ClientAuth, ListenerTls, take_refused};
pub use reason::{explain, is_about_ours, of_io, word};
pub use upstream::{Connector, EVERY_HTTP, H2, HTTP11, ONLY_HTTP11, UpstreamTls};

/// Installs the one provider of cryptography of this process; to be called once, before the first connection.
pub fn install_provider() {
    // Somebody else's is an error of the build: there is only one in it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
