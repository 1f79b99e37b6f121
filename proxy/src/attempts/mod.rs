//! From a request to the attempt that stands: time, retry, breaker, endpoint.

pub(crate) mod affinity;
pub(crate) mod alarm;
pub(crate) mod attempt;
pub(crate) mod decide;
pub(crate) mod first_frame;
pub(crate) mod head;
pub(crate) mod hedge;
mod judged;
pub(crate) mod run;
pub(crate) mod sending;
pub(crate) mod upload;
