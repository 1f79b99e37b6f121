//! What a service is asked about a write.

use sha2::{Digest, Sha256};

use super::Operation;

/// The hash of the principal of callers whom no listener tells apart: SHA-256 of nothing.
pub const ANONYMOUS: [u8; 32] = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27, 0xae, 0x41,
    0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// Operations under one question of which it is looked whose they are. A question that names the key has as many as the key
/// was used again; one that does not is about no write in particular.
pub const QUESTION_LOOKS: usize = 64;

/// What a service is asked about a write: the first eight bytes of SHA-256 over length-prefixed (upstream, request target).
/// The key is in the target and the principal is not, so writes of several principals may be under one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question(pub u64);

impl Question {
    /// The question that is asked of `upstream` by `target`.
    pub fn new(upstream: &str, target: &str) -> Self {
        let mut hash = Sha256::new();
        for part in [upstream, target] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut head = [0; 8];
        head.copy_from_slice(&hash.finalize()[..8]);
        Self(u64::from_be_bytes(head))
    }
}

impl Operation {
    /// The question under which a ledger files it, so that nobody else learns the answer; `None` if nothing is asked about it,
    /// or nobody in particular wrote it: that one is found by its key.
    pub fn question(&self) -> Option<Question> {
        let target = self.status_target.as_deref().filter(|_| self.principal != ANONYMOUS)?;
        Some(Question::new(&self.upstream, target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idempotency::principal_hash;

    #[test]
    fn nobody_is_the_empty_principal() {
        assert_eq!(ANONYMOUS, principal_hash(None));
    }

    #[test]
    fn parts_are_told_apart() {
        let questions = [("app", "/x"), ("ap", "p/x"), ("app", "/y"), ("", "app/x")];
        let questions = questions.map(|(upstream, target)| Question::new(upstream, target));
        assert_eq!(std::collections::BTreeSet::from(questions).len(), questions.len());
    }
}
