//! Pages for people: the index, and how a write stands. No script, no style, nothing from elsewhere; what is not ours is escaped.

use std::fmt::{self, Write as _};

use http::{HeaderName, header};
use mainstay_policies::{
    idempotency::{WriteOutcome, until_due},
    operation::{Operation, UnixMillis},
};

use super::CallerRequest;
use crate::api::{document, reply::Reply};

/// Nothing is loaded, sent, framed or run.
const POLICY: &str = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Seconds after which an open page looks again: not sooner than a person reads, nor later than one waits.
const LOOK_AGAIN: std::ops::RangeInclusive<u64> = 3..=30;

/// Browsers name HTML first; programs name JSON or anything.
pub(super) fn is_wanted(asked: &CallerRequest<'_>) -> bool {
    let values = asked.parts.headers.get_all(header::ACCEPT).iter();
    let mut types = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let first = types.find_map(|range| {
        let media_type = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        ["text/html", "application/json", "application/problem+json"].iter().position(|known| *known == media_type)
    });
    first == Some(0)
}

/// A page. `body` is markup: what is not ours in it is [`Escaped`].
pub(super) fn page(title: &str, body: &str) -> Reply {
    whole(title, "", body)
}

fn whole(title: &str, head: &str, body: &str) -> Reply {
    let title = Escaped(title);
    let page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">{head}<title>{title}</title></head>\
         <body><h1>{title}</h1>{body}</body></html>"
    );
    Reply::html(page)
        .with(HeaderName::from_static("content-security-policy"), POLICY)
        .with(header::REFERRER_POLICY, "no-referrer")
        .with(header::VARY, "accept")
}

/// How a write stands, in words for whoever pressed the button. It looks again by itself as long as that may change.
pub(super) fn operation(operation: &Operation, now: UnixMillis) -> Reply {
    let (title, says) = in_words(WriteOutcome::of(operation), operation.attention.is_some());
    let is_final = operation.state.is_terminal();
    let head = if is_final {
        String::new()
    } else {
        let wait = until_due(operation, now).as_millis().div_ceil(1000);
        let wait = u64::try_from(wait).unwrap_or(u64::MAX).clamp(*LOOK_AGAIN.start(), *LOOK_AGAIN.end());
        format!("<meta http-equiv=\"refresh\" content=\"{wait}\">")
    };
    let mut body = format!("<p><strong>{says}</strong></p><dl>");
    let settled = operation.settled_at.map_or_else(|| "not yet".to_owned(), document::time);
    for (name, value) in [
        ("Number", operation.id.to_string()),
        ("State", operation.state.label().to_owned()),
        ("Sent", document::time(operation.created_at)),
        ("Settled", settled),
    ] {
        // Writing to a String does not fail.
        let _ = write!(body, "<dt>{name}</dt><dd>{}</dd>", Escaped(&value));
    }
    body.push_str("</dl>");
    if !is_final {
        body.push_str("<p>This page looks again by itself.</p>");
    }
    whole(title, &head, &body)
}

/// The page of a write that was not executed, whose key was used again since by somebody of whom this one is not told.
pub(super) fn superseded(operation: &Operation) -> Reply {
    let says = Escaped(document::SUPERSEDED_BY_ANOTHER);
    let body = format!("<p><strong>{says}</strong></p><dl><dt>Number</dt><dd>{}</dd></dl>", operation.id);
    whole("It is not known here", "", &body)
}

const fn in_words(outcome: WriteOutcome, needs_a_person: bool) -> (&'static str, &'static str) {
    match outcome {
        WriteOutcome::Succeeded => ("It is done", "What you sent was carried out. Do not send it again."),
        WriteOutcome::Failed => ("It was not done", "The service decided against it. To try again, begin anew."),
        WriteOutcome::NotExecuted | WriteOutcome::None => {
            ("It was not done", "Nothing happened. You may send it again.")
        }
        WriteOutcome::InProgress => ("It is being done", "It has been sent. Do not send it again."),
        WriteOutcome::Unknown if needs_a_person => {
            ("It is not known yet", "It may have been carried out. Do not send it again: a person is looking after it.")
        }
        WriteOutcome::Unknown => {
            ("It is not known yet", "It may have been carried out. Do not send it again: the service is being asked.")
        }
    }
}

/// Text in a page, also within an attribute.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_put_into_a_page_becomes_markup() {
        assert_eq!(
            Escaped("<a href=\"x\">'&'</a>").to_string(),
            "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;&lt;/a&gt;"
        );
    }
}
