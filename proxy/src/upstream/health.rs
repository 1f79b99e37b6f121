//! Health checks: each endpoint is asked now and then, over a connection of its own, whether it can serve.
//!
//! What comes of it is no attempt of a request: no breaker, no metric of requests and no load learns of it, and it carries no field
//! of anybody's. An endpoint that has said so often enough that it cannot serve gets no new requests, as long as another one
//! can; where none can, all are used, for then it is more likely that the question is wrong than that everything is.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header::USER_AGENT, uri::Scheme};
use mainstay_policies::{balance::Health, evidence::AttemptError};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::{
    Informed, Progress, Speech, connect::Target, handshake::Spoken, head::RequestHead, http1, http2, pool::Pool,
    slots::Slots,
};
use crate::{
    config::model,
    wire::{age::spread, body::ProxyBody, http1::HeadLimits},
};

const AGENT: HeaderValue = HeaderValue::from_static(concat!("mainstay-health/", env!("CARGO_PKG_VERSION")));

/// What health checks tell of an endpoint. One that is asked nothing is well.
#[derive(Default)]
pub(super) struct Checked {
    is_unwell: AtomicBool,
    /// Somebody asks at the moment.
    asks: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    health: Health,
    /// When it is asked next; `None`: at once.
    due: Option<Instant>,
    /// What was wrong with the last answer.
    why: String,
}

impl Checked {
    /// Whether requests go elsewhere, if they can.
    pub(super) fn is_unwell(&self) -> bool {
        self.is_unwell.load(Relaxed)
    }

    /// Why it is not well, if it is not.
    pub(super) fn why(&self) -> Option<String> {
        self.is_unwell().then(|| self.state.lock().why.clone())
    }

    /// Whether it is time to ask, and nobody does. Whoever is told so asks.
    fn begin(&self, now: Instant) -> bool {
        let is_due = self.state.lock().due.is_none_or(|due| now >= due);
        is_due && !self.asks.swap(true, Relaxed)
    }

    fn end(&self, answer: Result<(), String>, params: &model::Health) {
        let mut state = self.state.lock();
        state.health.note(answer.is_ok(), params.thresholds);
        if let Err(why) = answer {
            state.why = why;
        }
        state.due = Some(Instant::now() + spread(params.interval));
        self.is_unwell.store(!state.health.is_healthy(), Relaxed);
    }
}

/// A question that is under way. However it ends, by a panic too, the endpoint can be asked again.
struct Asking {
    checked: Arc<Checked>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.checked.asks.store(false, Relaxed);
    }
}

/// One question to one endpoint.
pub(super) struct Question {
    pub(super) params: Arc<model::Upstream>,
    pub(super) target: Arc<Target>,
    pub(super) host: Option<HeaderValue>,
    pub(super) head_limits: HeadLimits,
    pub(super) checked: Arc<Checked>,
}

impl Question {
    /// Asks in the background, if it is time. Ends within the time for an answer.
    pub(super) fn ask(self, speech: Speech, now: Instant) {
        let Some(health) = self.params.health.clone() else { return };
        if !self.checked.begin(now) {
            return;
        }
        let asking = Asking { checked: self.checked.clone() };
        tokio::spawn(async move {
            let answer = match timeout(health.timeout, self.answer(&health, speech)).await {
                Ok(Ok(status)) if status.is_success() => Ok(()),
                Ok(Ok(status)) => Err(format!("status {}", status.as_u16())),
                Ok(Err(error)) => Err(error.word().to_owned()),
                Err(_) => Err("no answer in time".to_owned()),
            };
            asking.checked.end(answer, &health);
        });
    }

    async fn answer(&self, health: &model::Health, speech: Speech) -> Result<StatusCode, AttemptError> {
        let slots = Slots::new(1);
        let ages = (health.timeout, health.timeout);
        // The time for an answer is over before that for connecting: one word for both.
        let pool = Pool::new(self.target.clone(), health.timeout * 2, ages, slots.clone(), self.head_limits);
        let pool = Arc::new(pool);
        slots.belong_to(std::slice::from_ref(&pool));
        let spoken = match speech {
            Speech::Http1 => Spoken::Http1,
            Speech::Http2 => Spoken::Http2,
            Speech::Chosen => pool.choice().await?,
        };
        let headers = HeaderMap::from_iter([(USER_AGENT, AGENT)]);
        let uri = Uri::from(health.path.clone());
        let head =
            RequestHead { method: &Method::GET, uri: &uri, headers: &headers, host: self.host.as_ref(), added: None };
        let (progress, informed) = (Progress::default(), Informed::default());
        match spoken {
            Spoken::Http1 => {
                let answer = http1::send(&pool, head, ProxyBody::Empty, &progress, informed).await?;
                Ok(answer.status())
            }
            Spoken::Http2 => {
                let scheme = if self.target.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
                let head = (head, &self.target.authority, scheme);
                let answer = http2::send(&pool, head, ProxyBody::Empty, &progress, informed).await?;
                Ok(answer.status())
            }
        }
    }
}
