//! The kinds of service and policy that are tried.

use std::{net::SocketAddr, path::Path};

use mainstay_tests::config::Config;

use crate::{behaviour::mixed, service::Character};

/// A service and the policy for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum World {
    /// Nobody can be asked: what is unknown stays so.
    Mute,
    /// The service can be asked what became of a write.
    Asked,
    /// The service knows a key again, so a write may be sent again.
    Honouring,
    /// Answers run ahead of the disk (`ledger.settle: eventual`): a crash may forget an outcome, never repeat a write.
    Hasty,
}

impl World {
    /// One after the other.
    pub(crate) fn nth(number: usize) -> Self {
        [Self::Mute, Self::Asked, Self::Honouring, Self::Hasty][number % 4]
    }

    /// Keys begin with the seed of the round that sent them, so the seed of a later round does not decide otherwise about them.
    pub(crate) fn character(self) -> Character {
        Character::new(|key, nth| mixed(0, key, nth)).honouring_keys(self == Self::Honouring)
    }

    /// Whether a crash may forget how a write ended.
    pub(crate) fn forgets(self) -> bool {
        self == Self::Hasty
    }

    fn settle(self) -> &'static str {
        if self.forgets() { "eventual" } else { "durable" }
    }

    pub(crate) fn config(self, service: SocketAddr, ledger: &Path) -> Config {
        let (upstream, more) = match self {
            Self::Mute | Self::Hasty => ("", ""),
            // Long enough for a request that the machine was slow to deliver.
            Self::Asked => (
                "",
                ", status: { request: \"GET /by-ref/{key}\", settle_after: 4s, rate: 10000/s, rules: [ \
                 { status: 200, json: { /state: SUCCESS }, then: succeeded }, { status: 404, then: not_found } ] }",
            ),
            Self::Honouring => {
                ("honours_key: true", ", redispatch: { attempts: 5, backoff: { base: 50ms, max: 400ms } }")
            }
        };
        let policy = format!(
            "timeout: 200ms, retry: 2, \
             idempotency: {{ required: true, max_response: 4KiB, late_response: 2s{more} }}"
        );
        Config::new()
            .listener("principal: { header: X-Caller }")
            .upstream("app", service, upstream)
            .policy("p", &policy)
            .route("path: /**", "app", "p")
            .top("control: { rate_limit: 1000000/s }")
            .top("limits: { workers: 2 }")
            // It stays when its disk fails, so that what it does then can be looked at.
            .ledger(&format!(
                "store: disk, path: \"{}\", settle: {}, on_failure: stay",
                ledger.display(),
                self.settle()
            ))
    }
}
