//! Whether an endpoint can be connected to, as far as attempts tell.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use mainstay_policies::evidence::{AttemptError, Cause};
use parking_lot::Mutex;

use super::connect::{ABSENT, DNS, NO_PERMISSION, REFUSED, TIMED_OUT};

/// What attempts tell of an endpoint. Where all is well, it costs each of them a look at one flag.
#[derive(Debug, Default)]
pub(super) struct Reach {
    is_lost: AtomicBool,
    /// Somebody may find out whether it still is.
    is_due: AtomicBool,
    failures: AtomicU64,
    why: Mutex<&'static str>,
    /// What TLS says, at more length than a word.
    reason: Mutex<Option<String>>,
    /// Failures by cause, of which there are few.
    causes: Mutex<Vec<(&'static str, u64)>>,
}

/// How it stands with an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Why the last attempt found no connection; `None` if it found one.
    pub(crate) lost: Option<String>,
    /// Attempts that found none, since the start.
    pub(crate) failures: u64,
}

impl Reach {
    /// An attempt ended.
    pub(super) fn note<T>(&self, result: &Result<T, AttemptError>) {
        match result {
            Err(error) if matches!(error.cause, Cause::Connect | Cause::Tls) => self.fail(error),
            _ if self.is_lost.load(Relaxed) => self.is_lost.store(false, Relaxed),
            _ => {}
        }
    }

    /// An attempt found no connection.
    pub(super) fn fail(&self, error: &AttemptError) {
        *self.why.lock() = error.word();
        *self.reason.lock() = match (error.cause, &error.source) {
            (Cause::Tls, Some(source)) => Some(source.to_string()),
            _ => None,
        };
        self.count(error.word());
        self.failures.fetch_add(1, Relaxed);
        self.is_lost.store(true, Relaxed);
    }

    fn count(&self, cause: &'static str) {
        let mut causes = self.causes.lock();
        match causes.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, count)) => *count += 1,
            None => causes.push((cause, 1)),
        }
    }

    /// Whether the last attempt found no connection.
    pub(super) fn is_lost(&self) -> bool {
        self.is_lost.load(Relaxed)
    }

    /// Whether requests go elsewhere, if they can, until one of them may find out whether it still is lost.
    pub(super) fn is_out(&self) -> bool {
        self.is_lost() && !self.is_due.load(Relaxed)
    }

    /// Whether requests go elsewhere, if they can: one that was lost is tried by one of them now and then.
    pub(super) fn is_shunned(&self) -> bool {
        self.is_lost() && !self.is_due.swap(false, Relaxed)
    }

    /// If it is lost, the next request may find out whether it still is.
    pub(super) fn try_again(&self) {
        if self.is_lost() {
            self.is_due.store(true, Relaxed);
        }
    }

    /// Attempts that found no connection, by cause.
    pub(super) fn causes(&self) -> Vec<(&'static str, u64)> {
        self.causes.lock().clone()
    }

    /// How it stands with the endpoint at `host`.
    pub(super) fn look(&self, host: &str) -> Reached {
        let lost = self.is_lost.load(Relaxed).then(|| match *self.why.lock() {
            DNS => format!("cannot resolve {host}"),
            REFUSED => "connection refused".to_owned(),
            TIMED_OUT => "timed out".to_owned(),
            ABSENT => "there is no such socket".to_owned(),
            NO_PERMISSION => "the socket may not be used by this user".to_owned(),
            other => match &*self.reason.lock() {
                Some(reason) => format!("{other}: {reason}"),
                None => other.to_owned(),
            },
        });
        Reached { lost, failures: self.failures.load(Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use mainstay_policies::evidence::Sent;

    use super::*;

    #[test]
    fn an_endpoint_is_lost_from_the_first_failed_connection_to_the_next_that_is_made() {
        let reach = Reach::default();
        assert_eq!(reach.look("a"), Reached { lost: None, failures: 0 });
        for (word, said) in [(DNS, "cannot resolve a"), (REFUSED, "connection refused"), (TIMED_OUT, "timed out")] {
            reach.note::<()>(&Err(AttemptError::new(Cause::Connect, Sent::No).named(word)));
            assert_eq!(reach.look("a").lost.as_deref(), Some(said));
        }
        reach.note::<()>(&Err(AttemptError::new(Cause::Reset, Sent::Maybe)));
        assert_eq!(reach.look("a"), Reached { lost: None, failures: 3 }, "a connection that breaks was made");
    }
}
