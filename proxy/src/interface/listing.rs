//! Pages of operations, and the tags of single ones.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use mainstay_policies::operation::{Operation, OperationId, State};

use super::{Fault, query::Params};

/// Operations in one page of a listing: by default, and at most.
const PAGE: usize = 50;
const MAX_PAGE: usize = 200;

pub(crate) const NO_OPERATION: &str = "There is no such operation.";

/// One page: how many, and after which operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    pub(crate) limit: usize,
    pub(crate) after: Option<OperationId>,
}

impl Page {
    /// The page that `limit` and `cursor` ask for.
    pub(crate) fn read(params: &Params<'_>) -> Result<Self, Fault> {
        let limit = params.number("limit", PAGE, MAX_PAGE)?;
        let after = params.of("cursor").map(|cursor| read_cursor(cursor).ok_or_else(bad_cursor)).transpose()?;
        Ok(Self { limit, after })
    }

    /// Cuts `found`, of which one more than `limit` was asked for, to the page; the cursor of the next one, if there is one.
    pub(crate) fn cut(&self, found: &mut Vec<Operation>) -> Option<String> {
        let has_more = found.len() > self.limit;
        found.truncate(self.limit);
        found.last().filter(|_| has_more).map(|last| cursor(last.id))
    }
}

/// The state that the parameter `state` names, if it is there.
pub(crate) fn state(params: &Params<'_>) -> Result<Option<State>, Fault> {
    params.of("state").map(|label| state_of(label).ok_or_else(bad_state)).transpose()
}

/// The `ETag` of an operation: it changes with each change of the record.
pub(crate) fn etag(operation: &Operation) -> String {
    format!("\"{}\"", operation.revision)
}

fn state_of(label: &str) -> Option<State> {
    let all = [State::Pending, State::Succeeded, State::Failed, State::NotExecuted, State::Unknown];
    all.into_iter().find(|state| state.label() == label)
}

fn bad_state() -> Fault {
    Fault::bad("The parameter state is one of pending, succeeded, failed, not_executed, unknown.")
}

fn cursor(id: OperationId) -> String {
    URL_SAFE_NO_PAD.encode([id.seq.to_be_bytes(), id.tag.to_be_bytes()].concat())
}

fn read_cursor(text: &str) -> Option<OperationId> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (seq, tag) = bytes.split_first_chunk::<8>()?;
    Some(OperationId { seq: u64::from_be_bytes(*seq), tag: u64::from_be_bytes(tag.try_into().ok()?) })
}

fn bad_cursor() -> Fault {
    Fault::bad("The parameter cursor is the next_cursor of an earlier page, unchanged.")
}
