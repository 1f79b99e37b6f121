//! The breakers before an upstream's endpoints, kept across a reload.

use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use mainstay_policies::circuit_breaker::{Breaker, CircuitBreaker, Ejections, Scope};
use tokio::time::Instant;

use crate::{config::model, upstream::Upstream};

/// The breakers that stand before an upstream's endpoints.
#[derive(Clone)]
pub(crate) enum Breakers {
    None,
    /// Scope `route` or `upstream`.
    One(Arc<Breaker>),
    /// Scope `endpoint`.
    Each(Arc<PerEndpoint>),
}

/// A breaker per endpoint, by its number. Those of a name's addresses come into being with the first request there.
pub(crate) struct PerEndpoint {
    params: CircuitBreaker,
    upstream: Arc<Upstream>,
    /// What the configuration names, which tells breakers apart across a reload.
    addresses: Vec<model::Endpoint>,
    cells: Vec<Cell>,
    group: Arc<Ejections>,
}

#[derive(Default)]
struct Cell {
    breaker: OnceLock<Arc<Breaker>>,
    /// Whose it is, of those who are given the same number one after the other.
    occupant: AtomicU32,
}

impl PerEndpoint {
    fn of(&self, endpoint: usize) -> Option<&Arc<Breaker>> {
        let cell = self.cells.get(endpoint)?;
        let breaker = cell.breaker.get_or_init(|| Arc::new(Breaker::in_group(self.params.clone(), self.group.clone())));
        if endpoint >= self.addresses.len() {
            self.group.resize(self.upstream.endpoint_count(), self.params.max_ejection_percent);
            let occupant = self.upstream.occupant(endpoint);
            if cell.occupant.swap(occupant, Relaxed) != occupant {
                // What another address did is not this one's fault.
                breaker.forget(Instant::now());
            }
        }
        Some(breaker)
    }

    /// The breaker that guards the endpoint at `address`.
    fn at(&self, address: &model::Endpoint) -> Option<&Arc<Breaker>> {
        self.of(self.addresses.iter().position(|known| known == address)?)
    }
}

impl Breakers {
    /// The breaker that guards `endpoint`.
    pub(crate) fn of(&self, endpoint: usize) -> Option<&Arc<Breaker>> {
        match self {
            Self::None => None,
            Self::One(breaker) => Some(breaker),
            Self::Each(each) => each.of(endpoint),
        }
    }

    /// Each breaker once, with the number of its endpoint if it is the breaker of one that is in use.
    pub(crate) fn all(&self) -> Vec<(Option<usize>, &Arc<Breaker>)> {
        match self {
            Self::None => Vec::new(),
            Self::One(breaker) => vec![(None, breaker)],
            Self::Each(each) => {
                each.upstream.live().into_iter().filter_map(|at| Some((Some(at), each.of(at)?))).collect()
            }
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

/// A breaker per endpoint. An endpoint that stays keeps its own, wherever it stands in the list now, and so does an address of a
/// name as long as its upstream is the same.
fn endpoint_breakers(params: &CircuitBreaker, upstream: &Arc<Upstream>, before: Option<&Breakers>) -> Breakers {
    let addresses = upstream.params().endpoints.clone();
    let percent = params.max_ejection_percent;
    let before = match before {
        Some(Breakers::Each(each)) => Some(each),
        _ => None,
    };
    let members = upstream.endpoint_count();
    let group = match before {
        Some(each) => {
            each.group.resize(members, percent);
            each.group.clone()
        }
        None => Ejections::new(members, percent),
    };
    let cells: Vec<Cell> = (0..upstream.numbers()).map(|_| Cell::default()).collect();
    let keep = |cell: &Cell, kept: &Arc<Breaker>, occupant: u32| {
        let kept = if kept.params() == params { kept.clone() } else { Arc::new(kept.reconfigured(params.clone())) };
        cell.occupant.store(occupant, Relaxed);
        let _ = cell.breaker.set(kept);
    };
    for (cell, address) in cells.iter().zip(&addresses) {
        before.and_then(|before| before.at(address)).inspect(|kept| keep(cell, kept, 0));
    }
    if let Some(before) = before.filter(|before| Arc::ptr_eq(&before.upstream, upstream)) {
        for (cell, old) in cells.iter().zip(&before.cells).skip(addresses.len()) {
            old.breaker.get().inspect(|kept| keep(cell, kept, old.occupant.load(Relaxed)));
        }
    }
    Breakers::Each(Arc::new(PerEndpoint {
        params: params.clone(),
        upstream: upstream.clone(),
        addresses,
        cells,
        group,
    }))
}
