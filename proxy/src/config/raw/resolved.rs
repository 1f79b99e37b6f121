//! `idempotency.resolved_response`: what repeats get where a write was settled and its own response was never seen.

use http::StatusCode;
use mainstay_policies::idempotency::{ResolvedResponse, ResolvedResponses};
use serde_json::Value;

use super::idempotency::JsonText;
use crate::config::{
    decode::{Cx, Setting, any_of, or, section, words},
    definitions::Definitions,
    node::{At, Node},
};

section! {
    /// What repeats get where a write was settled and its own response was never seen.
    RawResolvedResponses {
        /// Of a write that was done.
        succeeded: RawSucceeded,
        /// Of a write that the service decided against. Default: 422 `write-failed`.
        failed: RawFailed,
    }
}

section! {
    /// What repeats of a write get that was done. Default: the operation's document.
    RawSucceeded {
        /// The status, 200 to 299.
        status: StatusCode,
        /// The body, sent as `application/json`: a text, or a value that becomes JSON. Default: empty.
        body: JsonText,
        /// `status`: the status endpoint's own answer, where one was kept, comes first. `none`: it does not. Default status.
        from: From,
    }
}

section! {
    /// What repeats of a write get that the service decided against.
    RawFailed {
        /// The status, 400 or above.
        status: StatusCode = required,
        /// The body, sent as `application/json`: a text, or a value that becomes JSON. Default: empty.
        body: JsonText,
    }
}

impl Setting for ResolvedResponses {
    /// The short form is that of a write that was done.
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        if node.lookup("status").is_some() || node.lookup("body").is_some() {
            return RawSucceeded::decode(node, cx)?.build(node, cx);
        }
        let raw = RawResolvedResponses::decode(node, cx)?;
        let done = raw.succeeded.map_or_else(
            || Some(Self::default()),
            |done| done.value.build(node.lookup("succeeded").unwrap_or(node), cx),
        )?;
        let failed = match raw.failed {
            Some(failed) => Some(failed.value.build(cx)?),
            None => None,
        };
        Some(Self { failed, ..done })
    }

    fn schema(definitions: &mut Definitions) -> Value {
        any_of([RawResolvedResponses::schema(definitions), RawSucceeded::schema(definitions)])
    }
}

impl RawSucceeded {
    fn build(self, node: &Node, cx: &mut Cx) -> Option<ResolvedResponses> {
        let from_status = or(self.from, From(true)).0;
        let succeeded = match (self.status, self.body) {
            (Some(status), body) => {
                let is_success = (200..300).contains(&status.value.as_u16());
                if !is_success {
                    let message =
                        format!("`{}` would tell of a write that was done as if it were not", status.value.as_u16());
                    return cx.error(status.at, message, "give a status from 200 to 299; `redirect: true` answers 303");
                }
                Some(response(status, body))
            }
            (None, Some(body)) => return cx.error(body.at, "`body` needs a `status`", "write status: 200"),
            (None, None) if from_status && node.lookup("from").is_none() => {
                return cx.error(node.at, "this says nothing", "give a `status`, or `from`, or remove it");
            }
            (None, None) => None,
        };
        Some(ResolvedResponses { from_status, succeeded, failed: None })
    }
}

impl RawFailed {
    fn build(self, cx: &mut Cx) -> Option<ResolvedResponse> {
        let status = self.status?;
        if status.value.as_u16() < 400 {
            let message = format!("`{}` would tell of a write that failed as if it had not", status.value.as_u16());
            return cx.error(status.at, message, "give a status of 400 or above: clients take any other for a success");
        }
        Some(response(status, self.body))
    }
}

fn response(status: At<StatusCode>, body: Option<At<JsonText>>) -> ResolvedResponse {
    ResolvedResponse { status: status.value, body: body.map(|body| body.value.0).unwrap_or_default() }
}

/// `status` or `none`.
pub(crate) struct From(bool);

impl Setting for From {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        cx.choice(node, &[("status", true), ("none", false)]).map(Self)
    }

    fn schema(_: &mut Definitions) -> Value {
        words(&["status", "none"])
    }
}
