//! Breakers as operators and metrics call them.

use std::{collections::HashMap, sync::Arc};

use mainstay_policies::circuit_breaker::{Breaker, Scope};
use tokio::time::Instant;

use super::snapshot::Snapshot;

/// Where an operator holds it, if one does.
pub(crate) fn forced(breaker: &Breaker) -> Option<&'static str> {
    use mainstay_policies::circuit_breaker::State;
    match breaker.snapshot(Instant::now()).state {
        State::ForcedOpen => Some("open"),
        State::ForcedClosed => Some("closed"),
        State::Disabled => Some("disabled"),
        State::Closed | State::Open | State::HalfOpen => None,
    }
}

impl Snapshot {
    /// Every breaker with a name that operators and metrics can use, in the order of the names: `policy@upstream`,
    /// `policy@upstream~0` for each endpoint (by its number, which an address of a name keeps while it is one), `policy@route` with a dash for what is no letter or digit. Names of policies
    /// and upstreams hold neither `@` nor `~`, so no two names are the same, and none needs an escape in a path.
    pub(crate) fn breakers(&self) -> Vec<NamedBreaker<'_>> {
        let mut named: Vec<NamedBreaker<'_>> = self
            .shared_breakers
            .iter()
            .flat_map(|((policy, upstream), breakers)| {
                breakers.all().into_iter().map(move |(endpoint, breaker)| NamedBreaker {
                    name: match endpoint {
                        Some(at) => format!("{policy}@{upstream}~{at}"),
                        None => format!("{policy}@{upstream}"),
                    },
                    policy: policy.clone(),
                    upstream: upstream.clone(),
                    endpoint,
                    route: None,
                    breaker,
                })
            })
            .collect();
        let mut taken: HashMap<String, usize> = HashMap::new();
        for route in &self.routes {
            let params = &route.params;
            let Some(Scope::Route) = params.policy.circuit_breaker.as_ref().map(|breaker| breaker.scope) else {
                continue;
            };
            let Some(breaker) = route.breakers.of(0) else { continue };
            let plain = format!("{}@{}", params.policy.name, dashed(&params.name));
            // Routes of one name, as those of one path for several methods, are told apart by their order.
            let seen = taken.entry(plain.clone()).or_default();
            *seen += 1;
            named.push(NamedBreaker {
                name: if *seen == 1 { plain } else { format!("{plain}~{seen}") },
                policy: params.policy.name.clone(),
                upstream: params.upstream.name.clone(),
                endpoint: None,
                route: Some(params.name.clone()),
                breaker,
            });
        }
        named.sort_by(|a, b| a.name.cmp(&b.name));
        named
    }
}

/// A breaker, by its name and what it guards.
pub(crate) struct NamedBreaker<'a> {
    pub(crate) name: String,
    pub(crate) policy: Arc<str>,
    pub(crate) upstream: Arc<str>,
    /// `None`: every endpoint of the upstream.
    pub(crate) endpoint: Option<usize>,
    /// `None`: every route to the upstream under the policy.
    pub(crate) route: Option<Arc<str>>,
    pub(crate) breaker: &'a Arc<Breaker>,
}

/// A route's name or path with a dash for each run of other characters than letters, digits, `_` and `.`.
fn dashed(name: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let words: Vec<&str> = name.split(|c: char| !is_plain(c)).filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "root".into() } else { words.join("-") }
}
