//! Which way the calls of a listener go: to the service behind, or from it to others.

/// Which way the calls of a listener go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// From callers to the service: what a listener is for unless it says otherwise.
    #[default]
    Inbound,
    /// From the service to others.
    Outbound,
}

impl Direction {
    /// As configurations and logs have it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}
