//! Judges what clients saw against what the upstream did.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::{client::Reply, upstream::Upstream};

/// Every answer that was given for a key, in order.
#[derive(Debug, Default)]
pub struct Oracle {
    answers: Mutex<BTreeMap<String, Vec<Reply>>>,
}

impl Oracle {
    /// An oracle that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes an answer.
    pub fn saw(&self, key: &str, reply: &Reply) {
        self.answers.lock().entry(key.to_owned()).or_default().push(reply.clone());
    }

    /// Every breach of a promise: more than one effect under a key; a 2xx that was answered otherwise later; a problem that
    /// claims that nothing happened where something did.
    pub fn breaches(&self, effects: impl Fn(&str) -> usize) -> Vec<String> {
        let mut found = Vec::new();
        for (key, answers) in self.answers.lock().iter() {
            let count = effects(key);
            if count > 1 {
                found.push(format!("{key}: {count} effects"));
            }
            let mut successes = answers.iter().filter(|a| (200..300).contains(&a.status));
            if let Some(first) = successes.next() {
                if count == 0 {
                    found.push(format!("{key}: answered {} without an effect", first.status));
                }
                for other in successes {
                    if (other.status, &other.body.data) != (first.status, &first.body.data) {
                        found.push(format!(
                            "{key}: {} {:?}, later {} {:?}",
                            first.status,
                            first.text(),
                            other.status,
                            other.text()
                        ));
                    }
                }
            }
            let denied = answers.iter().rev().take(1).any(|a| a.slug().is_some() && a.json()["effect"] == "none");
            if denied && count > 0 && answers.len() == 1 {
                found.push(format!("{key}: the answer says that nothing happened, but it did"));
            }
        }
        found
    }

    /// Fails on any breach.
    #[track_caller]
    pub fn judge(&self, upstream: &Upstream) {
        let breaches = self.breaches(|key| upstream.effects(key));
        assert!(breaches.is_empty(), "{breaches:#?}");
    }
}
