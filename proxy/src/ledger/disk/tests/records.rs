//! Records as they are written down.

use http::StatusCode;
use mainstay_policies::{
    evidence::Evidence,
    operation::{Attention, AttentionReason, Contradiction, Retained, Source},
};

use super::*;
use crate::ledger::record;

#[test]
fn a_record_that_was_cut_anywhere_is_no_record() {
    let operation = answered(draft(1), b"body");
    let bytes = record::encode(&operation);
    let Retained::Stored(response) = &operation.retained else { panic!("it is stored") };
    let response = record::encode_response(response);
    let read = |bytes: &[u8], response: &[u8]| record::decode(operation.id, operation.state, bytes, Some(response));
    assert_eq!(read(&bytes, &response).as_ref(), Ok(&operation));
    for cut in 0..bytes.len() {
        assert!(read(&bytes[..cut], &response).is_err(), "{cut}");
    }
    for cut in 0..response.len() {
        assert!(read(&bytes, &response[..cut]).is_err(), "{cut}");
    }
    let mut other_version = bytes;
    other_version[0] = 7;
    assert!(read(&other_version, &response).is_err());
}

#[test]
fn what_contradicts_a_settled_operation_is_read_as_it_was_written() {
    for status in [None, Some(StatusCode::CREATED)] {
        let heard = Some(Contradiction { evidence: Evidence::Succeeded, source: Source::LateResponse, status });
        let flag = Attention { heard, ..Attention::new(NOW, AttentionReason::Conflict) };
        let operation = Operation { state: State::Failed, settled_at: Some(NOW), attention: Some(flag), ..draft(1) };
        let bytes = record::encode(&operation);
        assert_eq!(record::decode(operation.id, operation.state, &bytes, None), Ok(operation));
    }
}

#[test]
fn a_record_of_an_earlier_version_is_read() {
    const HISTORY: usize = 1 + 4 + 4 + 1 + 4 + 4 + 1;
    let operation = Operation { fingerprint_version: FingerprintVersion::WithoutHost, ..draft(1) };
    let bytes = record::encode(&operation);
    // Whether a request is kept, redispatches, no origin; no window; no contradiction; what the fingerprint was made of, no
    // credentials; nothing of how it came in, and no history.
    for (version, later) in [(1, 1 + 4 + 1 + 1 + 1 + 2), (2, 1 + 1 + 2), (3, 1 + 2), (4, 2), (5, 0)] {
        let mut bytes = bytes[..bytes.len() - later - HISTORY].to_vec();
        bytes[0] = version;
        let read = record::decode(operation.id, operation.state, &bytes, None);
        assert_eq!(read.as_ref(), Ok(&operation), "{version}");
    }
}
