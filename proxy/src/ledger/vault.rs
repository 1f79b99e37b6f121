//! What is sealed, and with which key.
//!
//! ```text
//! response, request, secret = 0xE1 key_id(8) nonce(24) ciphertext
//! record                    = 0xE1 key(32) key_id(8) nonce(24) ciphertext
//! ```
//!
//! XChaCha20-Poly1305 under the newest key of the key file. The associated data is the kind of the row, its number and, for
//! a record, its key hash, so that nothing can be moved to another row. The nonce is random: 24 bytes with 180 random bits,
//! of which two are equal only after some 2^90 rows, so no counter has to survive a crash. What was written before sealing was
//! switched on begins with its version instead, and stays as it is until it expires.
//!
//! A key file holds one key, or several with the newest first: 32 raw bytes, or a line of hex or base64 for each. To change
//! the key, put the new one before the old and restart; when everything that was sealed with the old one has expired, it may
//! be taken out.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305,
    aead::{Aead, Payload},
};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::record::Unreadable;

const SEALED: u8 = 0xe1;
const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 8;
const NONCE_BYTES: usize = 24;
/// A key file is a few lines; more is the wrong file.
const KEY_FILE_BYTES: u64 = 64 << 10;

/// Why the keys cannot be had. The operator's to cure.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such file, or it cannot be read.
    #[error("the ledger's key file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Anybody may read or change it.
    #[error(
        "the ledger's key file {} is open to everybody (mode {mode:03o}): take the last three permissions away, chmod o-rwx",
        path.display()
    )]
    OpenToAll {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It holds something else.
    #[error(
        "the ledger's key file {} holds no key: it needs 32 raw bytes, or lines of 64 hex digits or base64 of 32 bytes, the \
         newest key first",
        .0.display()
    )]
    NoKey(PathBuf),
}

/// What a sealed thing is. The number is part of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Record = 1,
    Response = 2,
    Request = 3,
    Secret = 4,
}

/// Names a key without giving it away.
pub(super) type KeyId = [u8; ID_BYTES];

/// The keys, the newest first; with none, nothing is sealed.
#[derive(Default)]
pub(super) struct Vault {
    keys: Vec<(KeyId, XChaCha20Poly1305)>,
}

impl Vault {
    /// The keys of a file.
    pub(super) fn from_file(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |source| KeyError::Unreadable { path: path.to_owned(), source };
        let about = fs::metadata(path).map_err(unreadable)?;
        let mode = about.permissions().mode() & 0o777;
        if mode & 0o007 != 0 {
            return Err(KeyError::OpenToAll { path: path.to_owned(), mode });
        }
        if about.len() > KEY_FILE_BYTES {
            return Err(KeyError::NoKey(path.to_owned()));
        }
        let keys = keys_in(&fs::read(path).map_err(unreadable)?).ok_or_else(|| KeyError::NoKey(path.to_owned()))?;
        Ok(Self { keys: keys.iter().map(|key| (id_of(key), XChaCha20Poly1305::new(key.into()))).collect() })
    }

    /// The key that seals from now on.
    pub(super) fn newest(&self) -> Option<KeyId> {
        self.keys.first().map(|(id, _)| *id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys.iter().map(|(id, _)| *id)
    }

    pub(super) fn has(&self, id: KeyId) -> bool {
        self.ids().any(|known| known == id)
    }

    /// What is written for `plain` in row `number`.
    pub(super) fn seal(&self, kind: Kind, number: u64, plain: Vec<u8>) -> Vec<u8> {
        let Some((id, cipher)) = self.keys.first() else { return plain };
        // A record's key hash stays in sight: it is looked for.
        let (version, rest) = plain.split_first().expect("everything that is written begins with its version");
        let (head, rest) = rest.split_at(head_bytes(kind));
        let nonce = random_nonce();
        let inside = [&[*version], rest].concat();
        let aad = associated(kind, number, head);
        let payload = Payload { msg: &inside, aad: &aad };
        let sealed = cipher.encrypt(&nonce.into(), payload).expect("a row is shorter than 256 GiB");
        [&[SEALED], head, id, &nonce[..], &sealed].concat()
    }

    /// What was written, whether it was sealed or not. `None`: it was not, and is returned as it was given.
    pub(super) fn open(&self, kind: Kind, number: u64, written: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
        let Some(id) = key_id(kind, written)? else { return Ok(None) };
        let (head, rest) = written[1..].split_at(head_bytes(kind));
        let (nonce, sealed) = rest[ID_BYTES..].split_first_chunk::<NONCE_BYTES>().ok_or(Unreadable)?;
        let (_, cipher) = self.keys.iter().find(|(known, _)| *known == id).ok_or(Unreadable)?;
        let aad = associated(kind, number, head);
        let inside = cipher.decrypt(&(*nonce).into(), Payload { msg: sealed, aad: &aad }).map_err(|_| Unreadable)?;
        let (version, rest) = inside.split_first().ok_or(Unreadable)?;
        Ok(Some([&[*version], head, rest].concat()))
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("keys", &self.keys.len()).finish()
    }
}

/// With which key something is sealed; `None` if it is not.
pub(super) fn key_id(kind: Kind, written: &[u8]) -> Result<Option<KeyId>, Unreadable> {
    if written.first() != Some(&SEALED) {
        return Ok(None);
    }
    let id = written.get(1 + head_bytes(kind)..).and_then(|rest| rest.first_chunk());
    id.copied().map(Some).ok_or(Unreadable)
}

/// Where a sealed row of this kind names its key, for SQL: counted from 1.
pub(super) const fn key_id_at(kind: Kind) -> usize {
    2 + head_bytes(kind)
}

/// How a key is named to people.
pub(super) fn shown(id: KeyId) -> String {
    format!("{:016x}", u64::from_be_bytes(id))
}

const fn head_bytes(kind: Kind) -> usize {
    if matches!(kind, Kind::Record) { 32 } else { 0 }
}

fn associated(kind: Kind, number: u64, head: &[u8]) -> Vec<u8> {
    [&[kind as u8][..], &number.to_be_bytes(), head].concat()
}

fn random_nonce() -> [u8; NONCE_BYTES] {
    let (first, second) = (Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes());
    let mut nonce = [0; NONCE_BYTES];
    nonce[..16].copy_from_slice(&first);
    nonce[16..].copy_from_slice(&second[8..]);
    nonce
}

fn id_of(key: &[u8; KEY_BYTES]) -> KeyId {
    let hash = Sha256::new().chain_update(b"mainstay ledger key\0").chain_update(key).finalize();
    *hash.first_chunk().expect("a hash has 32 bytes")
}

fn keys_in(content: &[u8]) -> Option<Vec<[u8; KEY_BYTES]>> {
    if let Ok(raw) = content.try_into() {
        return Some(vec![raw]);
    }
    let text = std::str::from_utf8(content).ok()?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let keys: Vec<_> = lines.map(|line| from_hex(line).or_else(|| from_base64(line))).collect::<Option<_>>()?;
    (!keys.is_empty()).then_some(keys)
}

fn from_hex(line: &str) -> Option<[u8; KEY_BYTES]> {
    let digits = line.as_bytes();
    if digits.len() != 2 * KEY_BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).ok();
    let bytes: Vec<_> = (0..KEY_BYTES).map(byte).collect::<Option<_>>()?;
    bytes.try_into().ok()
}

fn from_base64(line: &str) -> Option<[u8; KEY_BYTES]> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let decode = |alphabet| GeneralPurpose::new(alphabet, config).decode(line).ok()?.try_into().ok();
    decode(&alphabet::STANDARD).or_else(|| decode(&alphabet::URL_SAFE))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(keys: &[u8]) -> Vault {
        Vault {
            keys: keys.iter().map(|key| (id_of(&[*key; 32]), XChaCha20Poly1305::new(&[*key; 32].into()))).collect(),
        }
    }

    fn record() -> Vec<u8> {
        [&[2][..], &[7; 32], b"the rest of it"].concat()
    }

    #[test]
    fn what_is_sealed_opens_with_its_key_in_its_row_only() {
        let old = vault(&[1]);
        let both = vault(&[2, 1]);
        for kind in [Kind::Record, Kind::Response, Kind::Request, Kind::Secret] {
            let sealed = old.seal(kind, 5, record());
            assert!(!sealed.windows(8).any(|window| window == b"the rest"), "{kind:?}");
            assert_eq!(both.open(kind, 5, &sealed), Ok(Some(record())));
            assert_eq!(vault(&[2]).open(kind, 5, &sealed), Err(Unreadable));
            assert_eq!(vault(&[]).open(kind, 5, &sealed), Err(Unreadable));
            assert_eq!(old.open(kind, 6, &sealed), Err(Unreadable), "another row");
            let other = if kind == Kind::Response { Kind::Request } else { Kind::Response };
            assert_eq!(old.open(other, 5, &sealed), Err(Unreadable), "another kind");
            for at in 1..sealed.len() {
                let mut forged = sealed.clone();
                forged[at] ^= 1;
                assert_eq!(old.open(kind, 5, &forged), Err(Unreadable), "{kind:?} {at}");
                assert_eq!(old.open(kind, 5, &sealed[..at]), Err(Unreadable), "cut: {kind:?} {at}");
            }
        }
        assert_eq!(old.seal(Kind::Record, 5, record())[1..33], [7; 32], "the key hash is looked for");
    }

    #[test]
    fn the_newest_key_seals_and_two_of_a_kind_differ() {
        let both = vault(&[2, 1]);
        let (one, two) = (both.seal(Kind::Response, 1, record()), both.seal(Kind::Response, 1, record()));
        assert_ne!(one, two);
        assert_eq!(key_id(Kind::Response, &one), Ok(both.newest()));
    }

    #[test]
    fn without_a_key_nothing_is_sealed_and_what_was_not_sealed_stays_readable() {
        assert_eq!(vault(&[]).seal(Kind::Response, 1, record()), record());
        assert_eq!(vault(&[1]).open(Kind::Response, 1, &record()), Ok(None));
    }

    #[test]
    fn keys_are_raw_or_lines_of_hex_or_base64() {
        let hex = "0707070707070707070707070707070707070707070707070707070707070707";
        let base64 = "CAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAg=";
        let text = |text: &str| text.as_bytes().to_vec();
        for (content, keys) in [
            (vec![9; 32], Some(vec![[9; 32]])),
            (text(hex), Some(vec![[7; 32]])),
            (text(&format!("{hex}\n")), Some(vec![[7; 32]])),
            (text(&format!("\n{base64}\r\n{hex}\n")), Some(vec![[8; 32], [7; 32]])),
            (text(base64.trim_end_matches('=')), Some(vec![[8; 32]])),
            (text(""), None),
            (text("secret"), None),
            (vec![9; 33], None),
            (text(&hex[..63]), None),
            (text(&format!("{hex}\nsecret\n")), None),
        ] {
            assert_eq!(keys_in(&content), keys, "{}", String::from_utf8_lossy(&content));
        }
    }
}
