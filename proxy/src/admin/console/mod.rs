//! The console: pages over the same JSON that the rest of `admin` answers, and nothing that the command line cannot do.
//!
//! Three files without a build step. They hold no data, so they need no token: the page asks for it, keeps it in memory, and
//! sends it with each question. Whatever it shows it writes as text, and the policy of its content allows no script but its own.

use http::{HeaderMap, header, request::Parts};

use crate::api::reply::Reply;

const HTML: &str = include_str!("index.html");
const STYLE: &str = include_str!("console.css");
const SCRIPT: &str = include_str!("console.js");

/// Nothing from elsewhere, nothing inline, in no frame: what a hostile path or reason could bring has nowhere to run.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The documents of this version that an operator wants beside the figures, by their names.
const PAGES: [(&str, &str); 3] = [
    ("runbook.md", include_str!("../../../../docs/runbook.md")),
    ("metrics.md", include_str!("../../../../docs/reference/metrics.md")),
    ("problems.md", include_str!("../../../../docs/reference/problems.md")),
];

/// Whether this is asked for by a browser that has no token yet.
pub(super) fn is_asked(parts: &Parts) -> bool {
    match parts.uri.path() {
        "/" => takes_html(&parts.headers),
        "/console.css" | "/console.js" => true,
        _ => false,
    }
}

/// `GET /`, for a browser.
pub(super) fn page() -> Reply {
    hardened(Reply::text("text/html; charset=utf-8", HTML))
}

/// `GET /console.css`
pub(super) fn style() -> Reply {
    hardened(Reply::text("text/css; charset=utf-8", STYLE))
}

/// `GET /console.js`
pub(super) fn script() -> Reply {
    hardened(Reply::text("text/javascript; charset=utf-8", SCRIPT))
}

/// `GET /help/{page}`: the runbook, the metrics or the problems of this version, in Markdown.
pub(super) fn help(name: &str) -> Option<Reply> {
    let (_, text) = PAGES.iter().find(|(page, _)| *page == name)?;
    Some(Reply::text("text/markdown; charset=utf-8", *text).no_store())
}

/// A new version of the process has a new console: nothing of it is kept.
fn hardened(reply: Reply) -> Reply {
    reply.no_store().with(header::CONTENT_SECURITY_POLICY, POLICY).with(header::REFERRER_POLICY, "no-referrer")
}

/// Browsers name it, programs do not.
fn takes_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}
