//! How the first request came in and what has happened since, which version 6 has added:
//!
//! ```text
//! trace_id(16)? policy listener method? dispatches(4) folded(4) entries(1) (at(8) event(1) http_status(2) evidence(1) by(1)
//! cause(1))*
//! ```
//!
//! What an entry has not is zero.

use http::{Method, StatusCode};
use mainstay_policies::operation::{
    Operation, Provenance,
    history::{Entry, EventKind, History, cause_number, cause_of},
};

use super::{In, Out, Unreadable, evidence_number, evidence_of, source_number, source_of};

pub(super) fn write(out: &mut Out, operation: &Operation) {
    let Provenance { trace_id, policy, listener, method } = &operation.provenance;
    out.option(trace_id.as_ref(), |out, id| out.0.extend_from_slice(id));
    out.text(policy.as_bytes());
    out.text(listener.as_bytes());
    out.option(method.as_ref(), |out, method| out.text(method.as_str().as_bytes()));
    let history = &operation.history;
    out.u32(history.dispatches());
    out.u32(history.folded());
    out.u8(u8::try_from(history.entries().len()).expect("a history has few entries"));
    for Entry { at, kind, http_status, evidence, by, cause } in history.entries() {
        out.u64(*at);
        out.u8(kind_number(*kind));
        out.u16(http_status.map_or(0, |status| status.as_u16()));
        out.u8(evidence.map_or(0, evidence_number));
        out.u8(by.map_or(0, source_number));
        out.u8(cause.and_then(cause_number).unwrap_or(0));
    }
}

pub(super) fn read(operation: &mut Operation, input: &mut In<'_>) -> Result<(), Unreadable> {
    operation.provenance = Provenance {
        trace_id: input.option(In::array)?,
        policy: input.text()?,
        listener: input.text()?,
        method: input.option(|input| Method::from_bytes(input.bytes()?).map_err(|_| Unreadable))?,
    };
    let (dispatches, folded) = (input.u32()?, input.u32()?);
    let entries = (0..input.u8()?).map(|_| entry(input)).collect::<Result<Vec<_>, _>>()?;
    operation.history = History::of(&entries, folded, dispatches);
    Ok(())
}

fn entry(input: &mut In<'_>) -> Result<Entry, Unreadable> {
    Ok(Entry {
        at: input.u64()?,
        kind: kind_of(input.u8()?)?,
        http_status: match u16::from_be_bytes(input.array()?) {
            0 => None,
            status => Some(StatusCode::from_u16(status).map_err(|_| Unreadable)?),
        },
        evidence: match input.u8()? {
            0 => None,
            number => Some(evidence_of(number)?),
        },
        by: match input.u8()? {
            0 => None,
            number => Some(source_of(number)?),
        },
        // A phrase that only a later version knows is none.
        cause: cause_of(input.u8()?),
    })
}

fn kind_number(kind: EventKind) -> u8 {
    EventKind::ALL
        .iter()
        .zip(1..)
        .find_map(|(known, number)| (*known == kind).then_some(number))
        .expect("all are there")
}

fn kind_of(number: u8) -> Result<EventKind, Unreadable> {
    let at = usize::from(number).checked_sub(1).ok_or(Unreadable)?;
    EventKind::ALL.get(at).copied().ok_or(Unreadable)
}
