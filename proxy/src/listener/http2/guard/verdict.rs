//! Whether a section may reach `h2`: each field is looked at once, and only sums and flags are kept.

use super::{
    Bounds,
    hpack::{
        ENTRY_BYTES,
        field::{Field, Kind},
    },
};
use crate::wire::http1::head::Refused;

/// What becomes of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// An error of its stream (RFC 9113 section 8.1.1).
    Malformed,
    /// A request that is understood, and answered without a service.
    Refused(Refused),
}

/// What was seen of a section so far.
#[allow(clippy::struct_excessive_bools, reason = "each is a fact of its own, and no two exclude each other")]
#[derive(Default)]
pub(super) struct Judge {
    is_trailers: bool,
    /// One bit for each pseudo-field.
    pseudo: u8,
    /// A field that is none has been.
    past_pseudo: bool,
    malformed: bool,
    has_fragment: bool,
    target_bytes: usize,
    /// By the sum of RFC 9113 section 6.5.2.
    pub(super) list_bytes: usize,
    fields: usize,
    pub(super) is_head: bool,
    pub(super) is_grpc: bool,
}

impl Judge {
    pub(super) fn new(is_trailers: bool) -> Self {
        Self { is_trailers, ..Self::default() }
    }

    pub(super) fn see(&mut self, field: &Field<'_>) {
        self.list_bytes = self.list_bytes.saturating_add(field.name.len() + field.value.len() + ENTRY_BYTES);
        self.fields += 1;
        if self.malformed {
            return;
        }
        if field.kind.is_pseudo() {
            let bit = 1 << field.kind as u8;
            self.malformed = self.is_trailers || self.past_pseudo || self.pseudo & bit != 0;
            self.pseudo |= bit;
            match field.kind {
                // Once, since a second one is malformed.
                Kind::Path => {
                    self.target_bytes = field.value.len();
                    self.has_fragment = field.value.contains(&b'#');
                }
                Kind::Method => self.is_head = field.value == b"HEAD",
                _ => {}
            }
            return;
        }
        self.past_pseudo = true;
        match field.kind {
            Kind::Malformed => self.malformed = true,
            Kind::ContentType => self.is_grpc |= field.value.starts_with(b"application/grpc"),
            _ => {}
        }
    }

    pub(super) fn verdict(&self, bounds: &Bounds) -> Verdict {
        let is_too_large = self.list_bytes >= bounds.list_bytes || self.fields > bounds.fields;
        if self.malformed || (self.is_trailers && is_too_large) {
            // `h2` would hand over the beginning of trailers that are too large as if it were the whole.
            return Verdict::Malformed;
        }
        if self.target_bytes > bounds.target_bytes || (is_too_large && self.target_bytes > bounds.head_bytes) {
            return Verdict::Refused(Refused::TargetTooLong);
        }
        if is_too_large {
            return Verdict::Refused(Refused::TooLarge);
        }
        if self.has_fragment { Verdict::Refused(Refused::Fragment) } else { Verdict::Fine }
    }
}
