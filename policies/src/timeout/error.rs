//! What running out of time is called.

/// A body that was silent for too long. Its sender is at fault; what was already sent may have had its effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no data for longer than the idle timeout")]
pub struct IdleTimeout;
