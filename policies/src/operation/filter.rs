//! Which operations a listing shows, and in which order.

use super::{Operation, State, UnixMillis};

/// The order of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// As they arrived.
    #[default]
    Oldest,
    /// The other way round.
    Newest,
}

/// Which operations a listing shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    /// Only this principal's (by hash).
    pub principal: Option<[u8; 32]>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only of this route.
    pub route: Option<String>,
    /// Only of this upstream.
    pub upstream: Option<String>,
    /// Only under this policy.
    pub policy: Option<String>,
    /// Only with this reason, of the state or of the flag.
    pub reason: Option<String>,
    /// Only of this trace.
    pub trace_id: Option<[u8; 16]>,
    /// Only created at this time or later.
    pub created_since: Option<UnixMillis>,
    /// Only created before this time.
    pub created_before: Option<UnixMillis>,
    /// Only flagged for a person, or only not.
    pub attention: Option<bool>,
    /// Only those that are not settled, or that are flagged.
    pub open: bool,
    /// Only those whose number is between these, both included.
    pub numbers: Option<(u64, u64)>,
    /// In which order.
    pub order: Order,
}

impl Filter {
    /// Whether `operation` is shown.
    pub fn matches(&self, operation: &Operation) -> bool {
        let is = |wanted: &Option<String>, text: &str| wanted.as_deref().is_none_or(|wanted| wanted == text);
        let is_why = |reason: &str| {
            *operation.reason == *reason || operation.attention.is_some_and(|flag| flag.reason.label() == reason)
        };
        self.principal.is_none_or(|principal| principal == operation.principal)
            && self.state.is_none_or(|state| state == operation.state)
            && is(&self.route, &operation.route)
            && is(&self.upstream, &operation.upstream)
            && is(&self.policy, &operation.provenance.policy)
            && self.reason.as_deref().is_none_or(is_why)
            && self.trace_id.is_none_or(|trace| operation.provenance.trace_id == Some(trace))
            && self.attention.is_none_or(|attention| attention == operation.attention.is_some())
            && (!self.open || !operation.state.is_terminal() || operation.attention.is_some())
            && self.created_since.is_none_or(|since| operation.created_at >= since)
            && self.created_before.is_none_or(|before| operation.created_at < before)
            && self.numbers.is_none_or(|(first, last)| (first..=last).contains(&operation.id.seq))
    }

    /// The numbers that are left to look at after this one, the first and the last; `None` if none is.
    pub fn left(&self, after: Option<u64>) -> Option<(u64, u64)> {
        let (mut first, mut last) = self.numbers.unwrap_or((0, u64::MAX));
        if let Some(after) = after {
            match self.order {
                Order::Oldest => first = first.max(after.checked_add(1)?),
                Order::Newest => last = last.min(after.checked_sub(1)?),
            }
        }
        (first <= last).then_some((first, last))
    }

    /// Whether only open and flagged operations are shown, which a ledger may find sooner than all.
    pub fn is_of_what_is_owed(&self) -> bool {
        self.open || self.attention == Some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_the_order_and_stays_between_its_numbers() {
        let filter = |order, numbers| Filter { numbers, order, ..Filter::default() };
        for (order, numbers, after, expected) in [
            (Order::Oldest, None, None, Some((0, u64::MAX))),
            (Order::Oldest, None, Some(7), Some((8, u64::MAX))),
            (Order::Newest, None, Some(7), Some((0, 6))),
            (Order::Newest, None, Some(0), None),
            (Order::Oldest, None, Some(u64::MAX), None),
            (Order::Oldest, Some((5, 9)), Some(1), Some((5, 9))),
            (Order::Oldest, Some((5, 9)), Some(9), None),
            (Order::Newest, Some((5, 9)), Some(8), Some((5, 7))),
            (Order::Newest, Some((5, 9)), Some(5), None),
        ] {
            assert_eq!(filter(order, numbers).left(after), expected, "{order:?} {numbers:?} {after:?}");
        }
    }
}
