//! What a service is asked about a write.

use sha2::{Digest, Sha256};

use super::Operation;

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
    /// What its service is asked about it; `None` if nothing is. A ledger files it, so that no answer is taken for that to
    /// another question.
    pub fn question(&self) -> Option<Question> {
        let target = self.status_target.as_deref()?;
        Some(Question::new(&self.upstream, target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_told_apart() {
        let questions = [("app", "/x"), ("ap", "p/x"), ("app", "/y"), ("", "app/x")];
        let questions = questions.map(|(upstream, target)| Question::new(upstream, target));
        assert_eq!(std::collections::BTreeSet::from(questions).len(), questions.len());
    }
}
