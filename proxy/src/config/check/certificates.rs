//! Keys and certificates that are there already, where the configuration is checked: of the wrong kind, or soon too old.

use std::{path::PathBuf, sync::Arc, time::Duration};

use super::found::Found;
use crate::{
    config::model::Config,
    wire::tls::{EVERY_HTTP, FileError, Invalid, ONLY_HTTP11, Renewable, Validity},
};

/// Below this part of its life, in percent, a certificate should have been renewed: common tools do it at a third.
const RENEWED_BEFORE: u32 = 20;

/// Looks into the files that are there. Where one is missing, this is not the machine that they are for.
pub(super) fn find(config: &Config, found: &mut Found<'_>) {
    for listener in &config.listeners {
        let Some(tls) = &listener.tls else { continue };
        if tls.files().iter().all(|file| file.exists()) {
            let shown = Arc::clone(tls).open(EVERY_HTTP).map(|kept| kept.shown());
            judge(shown, (&format!("listener `{}`", listener.name), &["listeners", &listener.name, "tls"]), found);
        }
    }
    let admin = config.admin.as_ref().and_then(|admin| admin.tls.as_ref());
    if let Some(tls) = admin.filter(|tls| tls.files().iter().all(|file| file.exists())) {
        let shown = Arc::clone(tls).open(ONLY_HTTP11).map(|kept| kept.shown());
        judge(shown, ("the admin listener", &["admin", "tls"]), found);
    }
    for upstream in &config.upstreams {
        let Some(tls) = &upstream.tls else { continue };
        if tls.client.files().iter().all(|file| file.exists()) {
            let shown = Arc::clone(tls).open().map(|kept| kept.shown());
            judge(shown, (&format!("upstream `{}`", upstream.name), &["upstreams", &upstream.name, "tls"]), found);
        }
    }
}

fn judge(shown: Result<Vec<(PathBuf, Validity)>, FileError>, (whose, path): (&str, &[&str]), found: &mut Found<'_>) {
    let shown = match shown {
        Ok(shown) => shown,
        Err(error) => {
            found.warn(
                "certificate-unusable",
                path,
                format!("{whose}: {error}"),
                "it would not start with these files",
            );
            return;
        }
    };
    for (file, validity) in shown {
        let file = file.display();
        let message = match validity.invalid_now() {
            Some(Invalid::Expired) => format!("{whose}: {file}: the certificate has expired"),
            Some(Invalid::NotYetValid) => format!("{whose}: {file}: the certificate is not valid yet"),
            None if is_old(&validity) => {
                let left = validity.left().as_secs();
                let left = Duration::from_secs(left - left % 60);
                let left = crate::config::units::human(left);
                format!("{whose}: {file}: the certificate expires in {left}, in the last fifth of its life")
            }
            None => continue,
        };
        found.warn("certificate-expires", path, message, "renew it: whoever renews certificates is late");
    }
}

fn is_old(validity: &Validity) -> bool {
    let life = validity.not_after.saturating_sub(validity.not_before);
    validity.left() * 100 < life * RENEWED_BEFORE
}
