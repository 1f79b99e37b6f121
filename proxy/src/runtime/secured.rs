//! What listeners and upstreams of a configuration need of files for TLS. What did not change keeps what it has read.

use std::{collections::HashMap, sync::Arc};

use crate::{
    config::model::Config,
    wire::tls::{Connector, FileError, Renewable, settled},
};

/// What was read of files for TLS, by who needs it.
#[derive(Debug, Default)]
pub(crate) struct Secured {
    /// By upstream.
    pub(crate) upstreams: HashMap<Arc<str>, Arc<Connector>>,
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
    /// Everything that was read, and whose it is.
    pub(crate) fn all(&self) -> Vec<(String, Arc<dyn Renewable>)> {
        let upstreams = self.upstreams.iter();
        upstreams.map(|(name, connector)| (format!("upstream:{name}"), connector.clone() as Arc<dyn Renewable>)).collect()
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
                None => Arc::new(settled(|| Arc::clone(tls).open()).await.map_err(|source| Unsecured {
                    place: format!("upstream `{}`", upstream.name),
                    source,
                })?),
            };
            read.upstreams.insert(upstream.name.clone(), connector);
        }
        Ok(read)
    }
}
