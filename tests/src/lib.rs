//! The harness of Mainstay's black-box tests.
//!
//! A test starts a scripted [`upstream`], the real [`proxy`] binary before it, and speaks to it with a raw [`client`]; the
//! [`oracle`] judges what clients saw against what the upstream did. Nothing here knows how the proxy works.
#![allow(clippy::missing_panics_doc, reason = "a harness panics to fail its test")]

pub mod authority;
pub mod client;
pub mod config;
pub mod frames;
pub mod h2_upstream;
pub mod h2c;
pub mod interposer;
pub mod lines;
pub mod local;
pub mod names;
pub mod net;
pub mod oracle;
pub mod otlp;
pub mod postgres;
pub mod postgres_tls;
pub mod proxy;
pub mod script;
pub mod skew;
pub mod tamper;
pub mod terminal;
pub mod tls;
pub mod upstream;
pub mod wire;

use std::{future::Future, time::Duration};

/// How long a test waits for anything before it fails: far above what a loaded machine needs.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// The value of `future`, or a failed test that names what did not happen in time.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(PATIENCE, future).await;
    waited.unwrap_or_else(|_| panic!("waited {PATIENCE:?} in vain: {what}"))
}

/// Asks again and again until `probe` gives a value.
pub async fn eventually<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    within(what, async { until(&mut probe).await }).await
}

/// The same of what needs many of a process's turns: it may take six times as long.
pub async fn in_the_end<T, F>(what: &str, mut probe: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let waited = tokio::time::timeout(PATIENCE * 6, until(&mut probe)).await;
    waited.unwrap_or_else(|_| panic!("waited {:?} in vain: {what}", PATIENCE * 6))
}

async fn until<T, F>(probe: &mut impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    loop {
        if let Some(value) = probe().await {
            return value;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What almost every test uses.
pub mod prelude {
    pub use std::time::Duration;

    pub use crate::{
        client::{Client, Reply, Request},
        config::Config,
        eventually,
        net::{Blackhole, Refusing, free_addr},
        oracle::Oracle,
        proxy::Proxy,
        script::{Accept, Answer, Gate, Seen, Step},
        upstream::Upstream,
        wire::{Body, Framing},
        within,
    };
}
