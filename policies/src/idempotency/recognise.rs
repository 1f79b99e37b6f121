//! Whether a request is a keyed write, and by which key.

use bytes::Bytes;

use super::{IdKind, Idempotency, Incoming, Key, KeyFrom, KeyRead, Protection, Refusal, Underivable};
use crate::problem::Problem;

/// What a request is to the policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recognised {
    /// It passes: its method is not protected, or it has no key and needs none.
    Unprotected,
    /// A keyed write.
    Keyed(Key),
    /// A write whose key is [made](Protection::key) once its body is there; by a template, it may turn out to have none.
    Unnamed,
}

impl Protection {
    /// Whether a request is a keyed write. To be asked before its body is read.
    ///
    /// # Errors
    /// It must not pass: its key is malformed, or it lacks one, or its principal, that the policy wants.
    pub fn recognise(&self, incoming: &Incoming<'_>) -> Result<Recognised, Refusal> {
        if !self.params.methods.contains(&incoming.parts.method) {
            return Ok(Recognised::Unprotected);
        }
        let source = &self.params.key;
        if let KeyRead::Key(key) = source.read(&incoming.parts.headers)? {
            return self.identified(incoming, Recognised::Keyed(key));
        }
        match &source.from {
            Some(KeyFrom::Template(template)) if template.needs_body() => Ok(Recognised::Unnamed),
            Some(KeyFrom::Template(template)) => match template.render(incoming, &Bytes::new(), 0) {
                Ok(text) => self.identified(incoming, Recognised::Keyed(Key::derived(text)?)),
                Err(underivable) => self.without_key(incoming, Some(underivable)),
            },
            Some(KeyFrom::Content { .. }) => self.identified(incoming, Recognised::Unnamed),
            None => self.without_key(incoming, None),
        }
    }

    /// The key of a request that was recognised without one, now that its body is there. `None`: it has none, and passes
    /// unprotected.
    ///
    /// # Errors
    /// As of [`recognise`](Self::recognise); or the ledger takes no writes, so that no key can be minted.
    pub async fn key(&self, incoming: &Incoming<'_>, body: &Bytes) -> Result<Option<Key>, Refusal> {
        let key = match &self.params.key.from {
            Some(KeyFrom::Template(template)) if template.needs_body() => {
                match template.render(incoming, body, self.params.max_body) {
                    Ok(text) => Key::derived(text)?,
                    Err(underivable) => {
                        if self.without_key(incoming, Some(underivable))? == Recognised::Unprotected {
                            return Ok(None);
                        }
                        self.minted().await?
                    }
                }
            }
            Some(KeyFrom::Content { .. }) => {
                let text = self.mint.mint(IdKind::UuidV7).await.map_err(|error| Refusal::ledger_unavailable(&error))?;
                let fingerprinter = self.fingerprinter().ok_or_else(Refusal::never_reached)?;
                Key::of_content(fingerprinter.of(incoming.parts, body), text)
            }
            Some(KeyFrom::Template(_)) | None => self.minted().await?,
        };
        self.identified(incoming, Some(key))
    }

    /// What becomes of a write that has no key of its own.
    fn without_key(&self, incoming: &Incoming<'_>, why: Option<Underivable>) -> Result<Recognised, Refusal> {
        match why {
            Some(Underivable::Missing(part)) if part == "principal" && self.params.principal_required => {
                self.identified(incoming, Recognised::Unnamed)
            }
            Some(Underivable::Unusable(part, why)) => {
                let detail = format!("The key is made of `{part}`, and in this request that {why}. Nothing was sent.");
                Err(Refusal::new(Problem::KeyInvalid, detail))
            }
            _ if self.params.key.mint.kind().is_some() => self.identified(incoming, Recognised::Unnamed),
            why if self.params.required => Err(key_missing(&self.params, why)),
            _ => Ok(Recognised::Unprotected),
        }
    }

    async fn minted(&self) -> Result<Key, Refusal> {
        let kind = self.params.key.mint.kind().unwrap_or(IdKind::UuidV7);
        let text = self.mint.mint(kind).await.map_err(|error| Refusal::ledger_unavailable(&error))?;
        Ok(Key::minted(text))
    }

    /// What was found, if the caller of a keyed write is known where it must be.
    fn identified<T>(&self, incoming: &Incoming<'_>, found: T) -> Result<T, Refusal> {
        if self.params.principal_required && incoming.principal.is_none_or(<[u8]>::is_empty) {
            let detail = "Keyed writes need an identified caller here. Nothing was sent.";
            return Err(Refusal::new(Problem::PrincipalMissing, detail));
        }
        Ok(found)
    }

    /// Whether keys are made of the route's path parameters, which must be given then.
    pub fn needs_path(&self) -> bool {
        matches!(&self.params.key.from, Some(KeyFrom::Template(template)) if template.needs_path())
    }
}

fn key_missing(params: &Idempotency, why: Option<Underivable>) -> Refusal {
    let header = &params.key.header;
    let detail = match why {
        Some(Underivable::Missing(part) | Underivable::Unusable(part, _)) => format!(
            // Not "or a key of your own": the service is asked by what it finds in the request, and never saw that one.
            "The key of writes here is made of `{part}`, which this request does not have: send it."
        ),
        None => format!(
            "Writes here need the header {header}: send a fresh UUID with each new write, and the same one with its repeats."
        ),
    };
    Refusal::new(Problem::KeyMissing, detail)
}

#[cfg(test)]
mod tests;
