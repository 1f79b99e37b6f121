//! What listeners and upstreams of a configuration need of files: for TLS, and of fields that are secrets. What did not change keeps
//! what it has read.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    config::model::Config,
    upstream::FromFiles,
    wire::{
        field_source::{self, SetFields},
        tls::{Acceptor, Connector, EVERY_HTTP, FileError, Invalid, ONLY_HTTP11, Renewable, settled},
    },
};

/// What was read of files, by who needs it.
#[derive(Debug, Default)]
pub(crate) struct Secured {
    /// By upstream.
    pub(crate) upstreams: HashMap<Arc<str>, Arc<Connector>>,
    /// The fields that are set in what goes to an upstream.
    pub(crate) fields: HashMap<Arc<str>, Arc<SetFields>>,
    /// By listener.
    pub(crate) listeners: HashMap<Arc<str>, Arc<Acceptor>>,
    /// Of the operators' listener, which stays what it was at the start.
    pub(crate) admin: Option<Arc<Acceptor>>,
}

impl Secured {
    /// Why callers cannot use a listener: certificates that are not valid now, which a renewal heals.
    pub(crate) fn invalid(&self) -> Vec<String> {
        let mut found = Vec::new();
        let listeners = self.listeners.iter().map(|(name, acceptor)| (format!("listener {name}"), acceptor));
        let admin = self.admin.iter().map(|acceptor| ("the admin listener".to_owned(), acceptor));
        for (whose, acceptor) in listeners.chain(admin) {
            for (_, validity) in acceptor.shown() {
                match validity.invalid_now() {
                    Some(Invalid::Expired) => {
                        found.push(format!("certificate of {whose} expired {}", day(validity.not_after)));
                    }
                    Some(Invalid::NotYetValid) => {
                        found.push(format!("certificate of {whose} is not valid before {}", day(validity.not_before)));
                    }
                    None => {}
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

/// What the operators' listener shows itself with, if it speaks TLS.
async fn admin(config: &Config) -> Result<Option<Arc<Acceptor>>, Unsecured> {
    let Some(tls) = config.admin.as_ref().and_then(|admin| admin.tls.as_ref()) else { return Ok(None) };
    let opened = settled(|| Arc::clone(tls).open(ONLY_HTTP11)).await;
    let acceptor = opened.map_err(|source| Unsecured { place: "admin".to_owned(), source })?;
    Ok(Some(Arc::new(acceptor)))
}

/// The day of a time since the Unix epoch, in UTC.
fn day(since_epoch: Duration) -> String {
    let at = i64::try_from(since_epoch.as_secs()).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    at.map_or_else(|| "long ago".to_owned(), |at| at.to_zoned(jiff::tz::TimeZone::UTC).date().to_string())
}

/// A file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {source}")]
pub struct Unsecured {
    /// Whose it is.
    pub place: String,
    /// Which file, and why.
    pub source: FileError,
}

impl Secured {
    /// What was read for an upstream.
    pub(crate) fn of_upstream(&self, name: &str) -> FromFiles<'_> {
        FromFiles { tls: self.upstreams.get(name), set: self.fields.get(name) }
    }

    /// Everything that was read for TLS, and whose it is.
    pub(crate) fn all(&self) -> Vec<(String, Arc<dyn Renewable>)> {
        let upstreams = self.upstreams.iter();
        let upstreams =
            upstreams.map(|(name, connector)| (format!("upstream:{name}"), connector.clone() as Arc<dyn Renewable>));
        let listeners = self.listeners.iter();
        let listeners =
            listeners.map(|(name, acceptor)| (format!("listener:{name}"), acceptor.clone() as Arc<dyn Renewable>));
        let admin = self.admin.iter().map(|acceptor| ("admin".to_owned(), acceptor.clone() as Arc<dyn Renewable>));
        upstreams.chain(listeners).chain(admin).collect()
    }

    /// Reads what `config` names; `before` is what it may have in common with it.
    pub(crate) async fn read(config: &Config, before: Option<(&Config, &Self)>) -> Result<Self, Unsecured> {
        let mut read = Self::default();
        for upstream in &config.upstreams {
            let Some(tls) = &upstream.tls else { continue };
            let kept = before.and_then(|(config, secured)| {
                let same = config.upstreams.iter().find(|it| it.name == upstream.name)?;
                (same.tls == upstream.tls).then(|| secured.upstreams.get(&upstream.name).cloned())?
            });
            let connector = match kept {
                Some(kept) => kept,
                None => Arc::new(
                    settled(|| Arc::clone(tls).open())
                        .await
                        .map_err(|source| Unsecured { place: format!("upstream `{}`", upstream.name), source })?,
                ),
            };
            read.upstreams.insert(upstream.name.clone(), connector);
        }
        for upstream in config.upstreams.iter().filter(|upstream| !upstream.set.is_empty()) {
            let kept = before.and_then(|(config, secured)| {
                let same = config.upstreams.iter().find(|it| it.name == upstream.name)?;
                (same.set == upstream.set).then(|| secured.fields.get(&upstream.name).cloned())?
            });
            let fields = match kept {
                Some(kept) => kept,
                None => Arc::new(settled(|| field_source::open(&upstream.set)).await.map_err(|source| Unsecured {
                    place: format!("upstream `{}`, headers.set", upstream.name),
                    source,
                })?),
            };
            read.fields.insert(upstream.name.clone(), fields);
        }
        for listener in &config.listeners {
            let Some(tls) = &listener.tls else { continue };
            let kept = before.and_then(|(config, secured)| {
                let same = config.listeners.iter().find(|it| it.name == listener.name)?;
                (same.tls == listener.tls).then(|| secured.listeners.get(&listener.name).cloned())?
            });
            let acceptor = match kept {
                Some(kept) => kept,
                None => Arc::new(
                    settled(|| Arc::clone(tls).open(EVERY_HTTP))
                        .await
                        .map_err(|source| Unsecured { place: format!("listener `{}`", listener.name), source })?,
                ),
            };
            read.listeners.insert(listener.name.clone(), acceptor);
        }
        read.admin = match before {
            Some((_, secured)) => secured.admin.clone(),
            None => admin(config).await?,
        };
        Ok(read)
    }
}
