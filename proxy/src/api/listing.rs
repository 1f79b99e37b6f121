//! Pages of operations, and the tags of single ones.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mainstay_policies::operation::{Operation, OperationId, State};
use sha2::{Digest, Sha256};

use super::{Fault, query::Params};

/// Operations in one page of a listing: by default, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 200;

pub(crate) const NO_OPERATION: &str = "There is no such operation.";

/// One page: how many, and after which operation.
#[derive(Clone, Copy)]
pub(crate) struct Page<'s> {
    pub(crate) limit: usize,
    pub(crate) after: Option<OperationId>,
    /// Seals the cursors, so that only ours are followed.
    secret: &'s [u8; 32],
}

impl<'s> Page<'s> {
    /// The page that `limit` and `cursor` ask for. `secret` is the ledger's.
    pub(crate) fn read(params: &Params<'_>, secret: &'s [u8; 32]) -> Result<Self, Fault> {
        let limit = params.number("limit", PAGE, MAX_PAGE)?;
        let after = params.of("cursor").map(|cursor| read_cursor(cursor, secret).ok_or_else(bad_cursor)).transpose()?;
        Ok(Self { limit, after, secret })
    }

    /// Cuts `found`, of which one more than `limit` was asked for, to the page; the cursor of the next one, if there is one.
    pub(crate) fn cut(&self, found: &mut Vec<Operation>) -> Option<String> {
        let has_more = found.len() > self.limit;
        found.truncate(self.limit);
        found.last().filter(|_| has_more).map(|last| cursor(last.id, self.secret))
    }
}

/// The state that the parameter `state` names, if it is there.
pub(crate) fn state(params: &Params<'_>) -> Result<Option<State>, Fault> {
    params.of("state").map(|label| state_of(label).ok_or_else(bad_state)).transpose()
}

/// The `ETag` of an operation: it changes with each change of the record. Which operation it is counts, for under its key
/// another one may be found later; and so does the epoch, for a crash may lose the last revisions and give their numbers
/// out again. That an attempt was sent grows no revision, and is told by the number of attempts.
pub(crate) fn etag(operation: &Operation) -> String {
    let Operation { id, epoch, revision, attempts, .. } = operation;
    format!("\"{:x}-{epoch}-{revision}-{attempts}\"", id.seq)
}

fn state_of(label: &str) -> Option<State> {
    let all = [State::Pending, State::Succeeded, State::Failed, State::NotExecuted, State::Unknown];
    all.into_iter().find(|state| state.label() == label)
}

fn bad_state() -> Fault {
    Fault::bad("The parameter state is one of pending, succeeded, failed, not_executed, unknown.")
}

fn cursor(id: OperationId, secret: &[u8; 32]) -> String {
    URL_SAFE_NO_PAD.encode([id.seq.to_be_bytes(), id.tag.to_be_bytes(), seal(id, secret)].concat())
}

fn read_cursor(text: &str, secret: &[u8; 32]) -> Option<OperationId> {
    let bytes: [u8; 24] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
    let (words, []) = bytes.as_chunks::<8>() else { return None };
    let [seq, tag, sealed] = words else { return None };
    let id = OperationId { seq: u64::from_be_bytes(*seq), tag: u64::from_be_bytes(*tag) };
    (seal(id, secret) == *sealed).then_some(id)
}

/// Every part has a fixed length, and most of the hash is kept back: nothing can be appended.
fn seal(id: OperationId, secret: &[u8; 32]) -> [u8; 8] {
    let mut hash = Sha256::new();
    hash.update(secret);
    hash.update(b"cursor");
    hash.update(id.seq.to_be_bytes());
    hash.update(id.tag.to_be_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    *hash.first_chunk().expect("a hash has 32 bytes")
}

fn bad_cursor() -> Fault {
    Fault::bad("The parameter cursor is the next_cursor of an earlier page, unchanged.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_cursor_of_ours_is_followed() {
        let (id, secret) = (OperationId { seq: 7, tag: 9 }, [3; 32]);
        let text = cursor(id, &secret);
        assert_eq!(read_cursor(&text, &secret), Some(id));
        assert_eq!(read_cursor(&text, &[4; 32]), None, "another ledger's");
        for at in 0..text.len() {
            let mut tampered = text.clone().into_bytes();
            tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(read_cursor(std::str::from_utf8(&tampered).unwrap(), &secret), None, "{at}");
            assert_eq!(read_cursor(&text[..at], &secret), None, "{at}");
        }
        assert_eq!(read_cursor(&format!("{text}AAAA"), &secret), None);
    }
}
