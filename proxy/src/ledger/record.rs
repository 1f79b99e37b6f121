//! How an operation is written down: field by field, in an order that only a new version may change.
//!
//! ```text
//! record    = version(1) key(32) principal(32) fingerprint(32) route upstream reason source? http_status? attempts(4)
//!             created_at(8) dispatched_at? settled_at? next_check_at? checks(4) attention? last_evidence? retained(1)
//!             status_target? retention_ms(8) tombstone_ms(8) owner(16) epoch(8) revision(8)
//!             has_request(1) redispatches(4) (trace_id(16) span_id(8))? window_ms? (evidence(1) source(1) http_status?)?
//!             fingerprint_version(1) credentials(32)? (what `later` describes)
//! response  = version(1) status(2) headers(4) (name value)* body
//! request   = version(1) method target headers(4) (name value)* body
//! ```
//!
//! Integers are big-endian, texts have a length before them (4), and `?` has a byte before it that is 1 if the value is
//! there. Version 1 of a record ends with its revision, version 2 with the origin, version 3 with the window, version 4 with the
//! contradiction, version 5 with the credentials. The id and the state have columns of their own; a kept response or request is a row of its own.

mod later;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use mainstay_policies::{
    evidence::Evidence,
    operation::{
        Attention, AttentionReason, Contradiction, FingerprintVersion, InstanceId, KeptRequest, KeyHash, Operation,
        OperationId, Provenance, Retained, Source, State, StoredRequest, StoredResponse, TraceOrigin, history::History,
    },
};

/// Of responses and requests.
const VERSION: u8 = 1;
/// Of records. Version 1 had no request, no redispatches and no origin, version 2 no window, version 3 no contradiction,
/// version 4 neither credentials nor a host in its fingerprint, version 5 no history.
const RECORD_VERSION: u8 = 6;
/// The oldest in which a store with several replicas was ever written: none that lives reads less.
pub(super) const FIRST_SHARED: u8 = 5;

/// The newest version that this process reads.
pub(super) fn newest() -> u8 {
    RECORD_VERSION + crate::faults::versions_ahead()
}

/// What a version has more that is not there yet: for the test of a rolling upgrade.
const AHEAD: u8 = 0xa6;

/// Bytes that say something else than this version writes: the file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record cannot be read")]
pub(super) struct Unreadable;

/// The record of an operation, without its id, state and response.
pub(super) fn encode(operation: &Operation) -> Vec<u8> {
    encode_as(operation, RECORD_VERSION)
}

/// The same in a version that older replicas of a rolling upgrade read, too.
pub(super) fn encode_as(operation: &Operation, version: u8) -> Vec<u8> {
    let mut out = Out(Vec::with_capacity(320));
    out.u8(version);
    for hash in [&operation.key_hash.0, &operation.principal, &operation.fingerprint] {
        out.0.extend_from_slice(hash);
    }
    out.text(operation.route.as_bytes());
    out.text(operation.upstream.as_bytes());
    out.text(operation.reason.as_bytes());
    out.option(operation.source, |out, source| out.u8(source_number(source)));
    out.option(operation.http_status, |out, status| out.u16(status.as_u16()));
    out.u32(operation.attempts);
    out.u64(operation.created_at);
    for time in [operation.dispatched_at, operation.settled_at, operation.next_check_at] {
        out.option(time, Out::u64);
    }
    out.u32(operation.checks);
    out.option(operation.attention, |out, attention| {
        out.u64(attention.since);
        out.u8(attention_number(attention.reason));
    });
    out.option(operation.last_evidence, |out, evidence| out.u8(evidence_number(evidence)));
    out.u8(match operation.retained {
        Retained::None => 0,
        Retained::Stored(_) => 1,
        Retained::StatusOnly => 2,
    });
    out.option(operation.status_target.as_ref(), |out, target| out.text(target.as_bytes()));
    out.u64(operation.retention_ms);
    out.u64(operation.tombstone_ms);
    out.0.extend_from_slice(&operation.owner.0.to_be_bytes());
    out.u64(operation.epoch);
    out.u64(operation.revision);
    out.u8(u8::from(operation.request != KeptRequest::None));
    out.u32(operation.redispatches);
    out.option(operation.origin, |out, origin| {
        out.0.extend_from_slice(&origin.trace_id);
        out.0.extend_from_slice(&origin.span_id);
    });
    out.option(operation.window_ms, Out::u64);
    out.option(operation.attention.and_then(|attention| attention.heard), |out, heard| {
        out.u8(evidence_number(heard.evidence));
        out.u8(source_number(heard.source));
        out.option(heard.status, |out, status| out.u16(status.as_u16()));
    });
    out.u8(fingerprint_version_number(operation.fingerprint_version));
    out.option(operation.credentials, |out, credentials| out.0.extend_from_slice(&credentials));
    if version >= 6 {
        later::write(&mut out, operation);
    }
    if version > RECORD_VERSION {
        out.u8(AHEAD);
    }
    out.0
}

/// The operation of a record.
pub(super) fn decode(
    id: OperationId,
    state: State,
    record: &[u8],
    response: Option<&[u8]>,
) -> Result<Operation, Unreadable> {
    let mut input = In(record);
    let version = input.u8()?;
    if !(1..=newest()).contains(&version) {
        return Err(Unreadable);
    }
    let mut operation = Operation {
        id,
        state,
        key_hash: KeyHash(input.array()?),
        principal: input.array()?,
        fingerprint: input.array()?,
        fingerprint_version: FingerprintVersion::WithoutHost,
        credentials: None,
        route: input.text()?,
        upstream: input.text()?,
        reason: input.text()?,
        source: input.option(|input| source_of(input.u8()?))?,
        http_status: input.option(In::status)?,
        attempts: input.u32()?,
        created_at: input.u64()?,
        dispatched_at: input.option(In::u64)?,
        settled_at: input.option(In::u64)?,
        next_check_at: input.option(In::u64)?,
        checks: input.u32()?,
        attention: input.option(|input| Ok(Attention::new(input.u64()?, attention_of(input.u8()?)?)))?,
        last_evidence: input.option(|input| evidence_of(input.u8()?))?,
        retained: match input.u8()? {
            0 => Retained::None,
            1 => Retained::Stored(Arc::new(decode_response(response.ok_or(Unreadable)?)?)),
            2 => Retained::StatusOnly,
            _ => return Err(Unreadable),
        },
        status_target: input.option(In::text)?,
        request: KeptRequest::None,
        redispatches: 0,
        origin: None,
        provenance: Provenance::default(),
        history: History::default(),
        retention_ms: input.u64()?,
        tombstone_ms: input.u64()?,
        owner: InstanceId(u128::from_be_bytes(input.array()?)),
        epoch: input.u64()?,
        revision: input.u64()?,
        window_ms: None,
    };
    decode_later(&mut operation, version, &mut input)?;
    input.end()?;
    Ok(operation)
}

/// What versions after the first have added.
fn decode_later(operation: &mut Operation, version: u8, input: &mut In<'_>) -> Result<(), Unreadable> {
    if version >= 2 {
        operation.request = match input.u8()? {
            0 => KeptRequest::None,
            1 => KeptRequest::Kept,
            _ => return Err(Unreadable),
        };
        operation.redispatches = input.u32()?;
        operation.origin =
            input.option(|input| Ok(TraceOrigin { trace_id: input.array()?, span_id: input.array()? }))?;
    }
    if version >= 3 {
        operation.window_ms = input.option(In::u64)?;
    }
    if version >= 4 {
        let heard = input.option(|input| {
            let (evidence, source) = (evidence_of(input.u8()?)?, source_of(input.u8()?)?);
            Ok(Contradiction { evidence, source, status: input.option(In::status)? })
        })?;
        match &mut operation.attention {
            Some(attention) => attention.heard = heard,
            None if heard.is_some() => return Err(Unreadable),
            None => {}
        }
    }
    if version >= 5 {
        operation.fingerprint_version = fingerprint_version_of(input.u8()?)?;
        operation.credentials = input.option(In::array)?;
    }
    if version >= 6 {
        later::read(operation, input)?;
    }
    if version > RECORD_VERSION && input.u8()? != AHEAD {
        return Err(Unreadable);
    }
    Ok(())
}

/// Whether a record is of that key: the column holds only its beginning.
pub(super) fn is_of_key(record: &[u8], key: KeyHash) -> bool {
    record.get(1..33) == Some(&key.0[..])
}

/// A response that is kept for replay.
pub(super) fn encode_response(response: &StoredResponse) -> Vec<u8> {
    let mut out = Out(Vec::with_capacity(256 + response.body.len()));
    out.u8(VERSION);
    out.u16(response.status.as_u16());
    out.headers(&response.headers);
    out.text(&response.body);
    out.0
}

/// A request that is kept for a redispatch.
pub(super) fn encode_request(request: &StoredRequest) -> Vec<u8> {
    let mut out = Out(Vec::with_capacity(512 + request.body.len()));
    out.u8(VERSION);
    out.text(request.method.as_str().as_bytes());
    out.text(request.target.as_bytes());
    out.headers(&request.headers);
    out.text(&request.body);
    out.0
}

pub(super) fn decode_request(bytes: &[u8]) -> Result<StoredRequest, Unreadable> {
    let mut input = In(bytes);
    input.version()?;
    let request = StoredRequest {
        method: Method::from_bytes(input.bytes()?).map_err(|_| Unreadable)?,
        target: input.text()?,
        headers: input.headers()?,
        body: Bytes::copy_from_slice(input.bytes()?),
    };
    input.end()?;
    Ok(request)
}

fn decode_response(bytes: &[u8]) -> Result<StoredResponse, Unreadable> {
    let mut input = In(bytes);
    input.version()?;
    let status = input.status()?;
    let headers = input.headers()?;
    let body = Bytes::copy_from_slice(input.bytes()?);
    input.end()?;
    Ok(StoredResponse { status, headers, body })
}

pub(super) const fn state_number(state: State) -> u8 {
    match state {
        State::Pending => 0,
        State::Succeeded => 1,
        State::Failed => 2,
        State::NotExecuted => 3,
        State::Unknown => 4,
    }
}

pub(super) const fn state_of(number: u8) -> Result<State, Unreadable> {
    Ok(match number {
        0 => State::Pending,
        1 => State::Succeeded,
        2 => State::Failed,
        3 => State::NotExecuted,
        4 => State::Unknown,
        _ => return Err(Unreadable),
    })
}

const fn source_number(source: Source) -> u8 {
    match source {
        Source::Response => 1,
        Source::LateResponse => 2,
        Source::StatusQuery => 3,
        Source::Redispatch => 4,
        Source::Operator => 5,
    }
}

const fn source_of(number: u8) -> Result<Source, Unreadable> {
    Ok(match number {
        1 => Source::Response,
        2 => Source::LateResponse,
        3 => Source::StatusQuery,
        4 => Source::Redispatch,
        5 => Source::Operator,
        _ => return Err(Unreadable),
    })
}

const fn attention_number(reason: AttentionReason) -> u8 {
    match reason {
        AttentionReason::Conflict => 1,
        AttentionReason::ResolveExhausted => 2,
    }
}

const fn attention_of(number: u8) -> Result<AttentionReason, Unreadable> {
    Ok(match number {
        1 => AttentionReason::Conflict,
        2 => AttentionReason::ResolveExhausted,
        _ => return Err(Unreadable),
    })
}

const fn evidence_number(evidence: Evidence) -> u8 {
    match evidence {
        Evidence::NotExecuted => 1,
        Evidence::Succeeded => 2,
        Evidence::Failed => 3,
        Evidence::Ongoing => 4,
        Evidence::Ambiguous => 5,
    }
}

const fn evidence_of(number: u8) -> Result<Evidence, Unreadable> {
    Ok(match number {
        1 => Evidence::NotExecuted,
        2 => Evidence::Succeeded,
        3 => Evidence::Failed,
        4 => Evidence::Ongoing,
        5 => Evidence::Ambiguous,
        _ => return Err(Unreadable),
    })
}

const fn fingerprint_version_number(version: FingerprintVersion) -> u8 {
    match version {
        FingerprintVersion::WithoutHost => 1,
        FingerprintVersion::WithHost => 2,
    }
}

const fn fingerprint_version_of(number: u8) -> Result<FingerprintVersion, Unreadable> {
    Ok(match number {
        1 => FingerprintVersion::WithoutHost,
        2 => FingerprintVersion::WithHost,
        _ => return Err(Unreadable),
    })
}

struct Out(Vec<u8>);

impl Out {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn text(&mut self, text: &[u8]) {
        self.u32(text.len() as u32);
        self.0.extend_from_slice(text);
    }

    fn headers(&mut self, headers: &HeaderMap) {
        self.u32(headers.len() as u32);
        for (name, value) in headers {
            self.text(name.as_str().as_bytes());
            self.text(value.as_bytes());
        }
    }

    fn option<T>(&mut self, value: Option<T>, write: impl FnOnce(&mut Self, T)) {
        self.u8(u8::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

struct In<'a>(&'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.take(N)?.try_into().map_err(|_| Unreadable)
    }

    fn version(&mut self) -> Result<(), Unreadable> {
        if self.u8()? == VERSION { Ok(()) } else { Err(Unreadable) }
    }

    fn u8(&mut self) -> Result<u8, Unreadable> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Unreadable> {
        self.array().map(u64::from_be_bytes)
    }

    fn status(&mut self) -> Result<StatusCode, Unreadable> {
        StatusCode::from_u16(u16::from_be_bytes(self.array()?)).map_err(|_| Unreadable)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.u32()?;
        self.take(length as usize)
    }

    fn text(&mut self) -> Result<Arc<str>, Unreadable> {
        std::str::from_utf8(self.bytes()?).map(Arc::from).map_err(|_| Unreadable)
    }

    fn headers(&mut self) -> Result<HeaderMap, Unreadable> {
        let mut headers = HeaderMap::new();
        for _ in 0..self.u32()? {
            let name = HeaderName::from_bytes(self.bytes()?).map_err(|_| Unreadable)?;
            headers.append(name, HeaderValue::from_bytes(self.bytes()?).map_err(|_| Unreadable)?);
        }
        Ok(headers)
    }

    fn option<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Unreadable>) -> Result<Option<T>, Unreadable> {
        match self.u8()? {
            0 => Ok(None),
            1 => read(self).map(Some),
            _ => Err(Unreadable),
        }
    }

    fn end(&self) -> Result<(), Unreadable> {
        if self.0.is_empty() { Ok(()) } else { Err(Unreadable) }
    }
}
