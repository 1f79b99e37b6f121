//! The beginning of an operation's id, as a person types it: the first digits of all thirty-two, or without the zeros that they
//! begin with, or short as tables show it, the number without its zeros and some digits of the tag: `d4-aab7`.

use mainstay_policies::operation::{
    Operation, OperationId,
    ledger::{Filter, Ledger, LedgerError, Order},
};

/// Digits of each half of an id.
const HALF: usize = 16;

/// What an id begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IdPrefix(Vec<Part>);

/// Ids that begin so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    /// The first number and the last one.
    numbers: (u64, u64),
    /// What the tag begins with, of one number.
    tag: String,
}

impl IdPrefix {
    /// `None` if no id begins so.
    pub(super) fn read(text: &str) -> Option<Self> {
        let is_hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let text = text.to_ascii_lowercase();
        if let Some((number, tag)) = text.split_once('-') {
            let is_short = !number.is_empty() && number.len() <= HALF && tag.len() <= HALF;
            return (is_short && is_hex(number) && is_hex(tag))
                .then(|| exact(number, tag))
                .flatten()
                .map(|part| Self(vec![part]));
        }
        if text.is_empty() || text.len() > 2 * HALF || !is_hex(&text) {
            return None;
        }
        if text.starts_with('0') {
            let part = if text.len() > HALF {
                exact(&text[..HALF], &text[HALF..])?
            } else {
                longer(&text, HALF - text.len())?
            };
            return Some(Self(vec![part]));
        }
        // Fewer digits of the number mean a smaller one, so the parts stand in the order of their ids.
        let split = (1..text.len().min(HALF + 1)).filter_map(|at| exact(&text[..at], &text[at..]));
        let whole = (text.len() <= HALF).then(|| (0..=HALF - text.len()).filter_map(|more| longer(&text, more)));
        Some(Self(split.filter(|part| part.tag.len() <= HALF).chain(whole.into_iter().flatten()).collect()))
    }

    /// Operations that match `filter` and whose ids begin so, in the filter's order, after `after`; at most `limit`.
    ///
    /// # Errors
    /// The ledger cannot be read.
    pub(super) async fn list(
        &self,
        ledger: &dyn Ledger,
        filter: &Filter,
        after: Option<OperationId>,
        limit: usize,
    ) -> Result<Vec<Operation>, LedgerError> {
        let mut parts: Vec<&Part> = self.0.iter().collect();
        if filter.order == Order::Newest {
            parts.reverse();
        }
        let mut found = Vec::new();
        for part in parts {
            let filter = Filter { numbers: Some(part.numbers), ..filter.clone() };
            if found.len() < limit && filter.left(after.map(|id| id.seq)).is_some() {
                let more = ledger.list(filter, after, limit - found.len()).await?;
                found.extend(more.into_iter().filter(|one| format!("{:016x}", one.id.tag).starts_with(&part.tag)));
            }
        }
        Ok(found)
    }
}

/// That number, and what its tag begins with.
fn exact(number: &str, tag: &str) -> Option<Part> {
    let number = u64::from_str_radix(number, 16).ok()?;
    Some(Part { numbers: (number, number), tag: tag.to_owned() })
}

/// The numbers that begin so and have so many digits more.
fn longer(number: &str, more: usize) -> Option<Part> {
    let number = u64::from_str_radix(number, 16).ok()?;
    let bits = u32::try_from(4 * more).ok()?;
    let first = if bits == u64::BITS { 0 } else { number << bits };
    let rest = u64::MAX.checked_shr(u64::BITS - bits).unwrap_or(0);
    Some(Part { numbers: (first, first | rest), tag: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the id begins so.
    fn leads_to(text: &str, id: OperationId) -> bool {
        IdPrefix::read(text).is_some_and(|prefix| {
            prefix.0.iter().any(|part| {
                (part.numbers.0..=part.numbers.1).contains(&id.seq) && format!("{:016x}", id.tag).starts_with(&part.tag)
            })
        })
    }

    #[test]
    fn an_id_is_found_by_whatever_it_begins_with() {
        let id = OperationId { seq: 0xd4, tag: 0xaab7_0000_0000_0001 };
        for text in ["d4-aab7", "d4", "D4-AAB7", "d4aab7", "d", "0", "00000000000000d4", "00000000000000d4aab7", "d4-"]
        {
            assert!(leads_to(text, id), "{text}");
        }
        assert!(leads_to(&id.to_string(), id));
        for text in ["d5", "d4-aab8", "4", "d4b", "00000000000000d4b", "0d4", "d-4aab7", "4-aab7"] {
            assert!(!leads_to(text, id), "{text}");
        }
        let long = OperationId { seq: u64::MAX, tag: u64::MAX };
        for text in ["f", "ffffffffffffffff", &long.to_string(), "ffffffffffffffff-ffff"] {
            assert!(leads_to(text, long), "{text}");
        }
        for text in ["", "-", "xyz", "d4-xyz", &"0".repeat(33), "d4-aab70000000000012"] {
            assert_eq!(IdPrefix::read(text), None, "{text}");
        }
    }

    #[test]
    fn its_parts_stand_in_the_order_of_ids_and_apart() {
        for text in ["d", "d4", "d4aab7", "ffffffffffffffff", "10"] {
            let IdPrefix(parts) = IdPrefix::read(text).expect("it is one");
            assert!(parts.windows(2).all(|two| two[0].numbers.1 < two[1].numbers.0), "{text}: {parts:?}");
        }
    }
}
