//! The breakers before an upstream's endpoints, kept across a reload.

use std::{collections::HashMap, sync::Arc};

use http::uri::Authority;
use mainstay_policies::circuit_breaker::{Breaker, CircuitBreaker, Ejections, Scope};

use crate::{config::model, upstream::Upstream};

/// The breakers that stand before an upstream's endpoints.
#[derive(Clone)]
pub(crate) enum Breakers {
    None,
    /// Scope `route` or `upstream`.
    One(Arc<Breaker>),
    /// Scope `endpoint`: in the order of the upstream's endpoints, whose addresses tell them apart across a reload.
    Each {
        breakers: Arc<[Arc<Breaker>]>,
        addresses: Arc<[Authority]>,
        group: Arc<Ejections>,
    },
}

impl Breakers {
    /// The breaker that guards `endpoint`.
    pub(crate) fn of(&self, endpoint: usize) -> Option<&Arc<Breaker>> {
        match self {
            Self::None => None,
            Self::One(breaker) => Some(breaker),
            Self::Each { breakers, .. } => breakers.get(endpoint),
        }
    }

    /// The breaker that guards the endpoint at `address`.
    fn at(&self, address: &Authority) -> Option<&Arc<Breaker>> {
        let Self::Each { breakers, addresses, .. } = self else { return None };
        breakers.get(addresses.iter().position(|known| known == address)?)
    }

    /// Each breaker once.
    pub(crate) fn all(&self) -> &[Arc<Breaker>] {
        match self {
            Self::None => &[],
            Self::One(breaker) => std::slice::from_ref(breaker),
            Self::Each { breakers, .. } => breakers,
        }
    }
}

pub(super) fn breakers(
    params: &Arc<model::Route>,
    upstream: &Arc<Upstream>,
    kept_by_route: Option<&Breakers>,
    kept: &HashMap<(Arc<str>, Arc<str>), Breakers>,
    shared: &mut HashMap<(Arc<str>, Arc<str>), Breakers>,
) -> Breakers {
    let Some(breaker) = &params.policy.circuit_breaker else { return Breakers::None };
    let make = |kept: Option<&Arc<Breaker>>| match kept {
        Some(kept) if kept.params() == breaker => kept.clone(),
        Some(kept) => Arc::new(kept.reconfigured(breaker.clone())),
        None => Arc::new(Breaker::new(breaker.clone())),
    };
    if breaker.scope == Scope::Route {
        return Breakers::One(make(kept_by_route.and_then(|kept| kept.of(0))));
    }
    let key = (params.policy.name.clone(), upstream.params().name.clone());
    shared
        .entry(key.clone())
        .or_insert_with(|| {
            let kept = kept.get(&key);
            match breaker.scope {
                Scope::Endpoint => endpoint_breakers(breaker, upstream, kept),
                Scope::Upstream | Scope::Route => Breakers::One(make(kept.and_then(|kept| kept.of(0)))),
            }
        })
        .clone()
}

/// A breaker per endpoint. An endpoint that stays keeps its own, wherever it stands in the list now.
fn endpoint_breakers(params: &CircuitBreaker, upstream: &Upstream, before: Option<&Breakers>) -> Breakers {
    let addresses: Arc<[Authority]> =
        upstream.params().endpoints.iter().map(|endpoint| endpoint.authority.clone()).collect();
    let percent = params.max_ejection_percent;
    let group = match before {
        Some(Breakers::Each { group, .. }) => {
            group.resize(addresses.len(), percent);
            group.clone()
        }
        _ => Ejections::new(addresses.len(), percent),
    };
    let breakers = addresses
        .iter()
        .map(|address| match before.and_then(|before| before.at(address)) {
            Some(kept) if kept.params() == params => kept.clone(),
            Some(kept) => Arc::new(kept.reconfigured(params.clone())),
            None => Arc::new(Breaker::in_group(params.clone(), group.clone())),
        })
        .collect();
    Breakers::Each { breakers, addresses, group }
}
