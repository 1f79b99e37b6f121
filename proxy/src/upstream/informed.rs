//! Who hears of what an upstream says before its answer.

use http::{HeaderMap, StatusCode, Version};

use crate::wire::{forward, gate::Gate, interim::Interim};

/// Who hears of interim responses.
#[derive(Clone, Copy, Default)]
pub struct Informed<'a> {
    /// Opened by `100 Continue`.
    pub(crate) gate: Option<&'a Gate>,
    /// Gets all others.
    pub(crate) interim: Option<&'a Interim>,
}

impl Informed<'_> {
    pub(super) fn hear(&self, status: StatusCode, version: Version, mut headers: HeaderMap) {
        if status == StatusCode::CONTINUE {
            if let Some(gate) = self.gate {
                gate.open();
            }
        } else if let Some(interim) = self.interim {
            forward::response(&mut headers, version, status);
            interim.send(status, headers);
        }
    }
}

/// Interim responses to one request. A server reports progress this way, but nobody needs more of it.
pub(super) const MAX_INTERIM: usize = 64;
