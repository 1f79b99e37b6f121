//! After a timeout: the attempt is kept open for `late_response`, so that a late answer settles the operation.

use std::{future::Future, pin::Pin};

use http::Response;
use mainstay_policies::{evidence::AttemptError, operation::Source};
use tokio::time::timeout;

use super::{collect, execute::Execution, settle};
use crate::upstream::UpstreamBody;

/// Waits for the attempt that was not waited for any more.
pub(super) async fn wait<F>(execution: &mut Execution, sending: Pin<Box<F>>)
where
    F: Future<Output = Result<Response<UpstreamBody>, AttemptError>>,
{
    let late = execution.protection.params().late_response;
    let max = execution.protection.params().max_response;
    let whole = async {
        let (head, body) = sending.await.ok()?.into_parts();
        match collect::up_to(body, max).await.ok()? {
            collect::Collected::Whole { body, trailers } => {
                let kept = trailers.is_none().then_some(body);
                Some((head, kept, trailers))
            }
            collect::Collected::TooLarge { rest, .. } => Some((head, None, collect::discard(rest).await.ok()?)),
        }
    };
    let Ok(Some((head, body, trailers))) = timeout(late, whole).await else { return };
    let settlement = settle::settlement(execution, head.status, &head.headers, body, trailers.as_ref());
    // A ledger that does not take it has said so in the log; the operation stays unknown.
    execution.settle(settlement, Source::LateResponse).await;
}
