//! What is published: the policy, the problems, fresh keys.

use std::{fmt::Write, sync::Arc};

use http::{header, request::Parts};
use mainstay_policies::{
    idempotency::{
        Credentials, FingerprintBody, IdKind, Idempotency, KeyFrom, KeySyntax, MAX_KEY_OCTETS, MAX_PREFER_WAIT, Mint,
        OnConcurrent,
    },
    problem::Problem,
};
use serde_json::{Value, json};

use super::{CallerRequest, html};
use crate::{
    api::{Fault, query::Params, reply::Reply},
    config::model::Route,
    respond::explain::explain,
    router::{self, Target},
};

/// Fresh keys in one answer at most.
const MAX_IDS: usize = 100;

/// What callers may ask, as the documents have it.
pub(crate) const OPENAPI: &str = include_str!("../../../docs/reference/openapi-client.json");

/// `GET /`: what there is.
pub(super) fn index(asked: &CallerRequest<'_>) -> Reply {
    let links = asked.links();
    let all = [
        ("operations", "operations", "How your writes stand: one, by its number or by ?key=, or a list of your own"),
        ("batch", "operations:batchGet", "The same of up to a hundred keys at once (POST)"),
        ("idempotency", "idempotency", "Which writes are protected here, and how"),
        ("problems", "problems", "What each problem means, and what to do"),
        ("ids", "ids", "Fresh keys (POST)"),
        ("openapi", "openapi.json", "All of this for programs: OpenAPI 3.1"),
    ];
    if html::is_wanted(asked) {
        let mut list = String::new();
        for (_, path, what) in all {
            let _ = write!(list, "<li><a href=\"{0}/{path}\">{path}</a>: {what}</li>", html::Escaped(links));
        }
        return published(html::page("Mainstay", &format!("<ul>{list}</ul>")));
    }
    let all = all.map(|(name, path, _)| (name.to_owned(), Value::from(format!("{links}/{path}"))));
    published(Reply::json(&Value::Object(all.into_iter().collect())))
}

/// `GET openapi.json`, for where it is served.
pub(super) fn openapi(asked: &CallerRequest<'_>) -> Result<Reply, Fault> {
    let unreadable = |_| Fault::no_route("The document cannot be read.");
    let mut document: Value = serde_json::from_str(OPENAPI).map_err(unreadable)?;
    document["servers"] = json!([{ "url": asked.links() }]);
    Ok(Reply::json(&document).with(header::CACHE_CONTROL, "max-age=3600"))
}

/// `GET idempotency`: the rules under which keys are kept; with `?method=&path=` those under which the key of such a write is, if
/// any. What else decides its route (host, header fields) is taken from this request.
pub(super) fn published_policy(asked: &CallerRequest<'_>) -> Result<Reply, Fault> {
    let params = Params::read(asked.parts.uri.query(), &["method", "path"])?;
    let routes = &asked.cx.config.routes;
    let listed: Vec<&Arc<Route>> = match (params.of("method"), params.of("path")) {
        (None, None) => routes.iter().collect(),
        (Some(method), Some(path)) => serving(asked, method, path)?.into_iter().collect(),
        _ => return Err(Fault::bad("method and path belong together: ?method=POST&path=/payments.")),
    };
    let protected = |route: &Arc<Route>| Some(route_policy(route, route.policy.idempotency.as_ref()?));
    let routes: Vec<Value> = listed.into_iter().filter_map(protected).collect();
    Ok(Reply::json(&json!({ "routes": routes })).with(header::CACHE_CONTROL, "no-cache"))
}

/// The route to which a write goes where this is asked, if it keeps keys for its method.
fn serving<'c>(asked: &'c CallerRequest<'_>, method: &str, path: &str) -> Result<Option<&'c Arc<Route>>, Fault> {
    let Ok(method) = method.parse() else { return Err(Fault::bad("method is none: ?method=POST&path=/payments.")) };
    let Parts { uri, headers, .. } = asked.parts;
    let target = Target { method: &method, host: router::host_of(uri, headers), port: None, path, headers };
    let first = asked.routes_here().find(|route| router::serves(&route.matches, &target));
    let keeps =
        |route: &&Arc<Route>| route.policy.idempotency.as_ref().is_some_and(|policy| policy.methods.contains(&method));
    Ok(first.filter(keeps))
}

fn route_policy(route: &Route, policy: &Idempotency) -> Value {
    let takes = |method: &&http::Method| route.matches.methods.is_empty() || route.matches.methods.contains(method);
    let methods: Vec<&str> = policy.methods.iter().filter(takes).map(http::Method::as_str).collect();
    let mut inputs = vec!["method", "host", "path", "query", "media type", "content-encoding", "body"];
    inputs.extend(policy.fingerprint.headers.iter().map(http::HeaderName::as_str));
    let (from, window) = match &policy.key.from {
        None => (None, None),
        Some(KeyFrom::Template(template)) => (Some(template.as_str()), None),
        Some(KeyFrom::Content { window }) => (Some("fingerprint"), Some(window.as_secs_f64())),
    };
    json!({
        "route": &*route.name,
        "path": route.matches.path.text,
        "methods": methods,
        "required": policy.required,
        "principal_required": policy.principal_required,
        "credentials": match policy.credentials {
            Credentials::Bind => "bind",
            Credentials::Ignore => "ignore",
        },
        "key": {
            "header": policy.key.header.as_str(),
            "syntax": match policy.key.syntax {
                KeySyntax::Lenient => "lenient",
                KeySyntax::Strict => "strict",
            },
            "min_octets": 1,
            "max_octets": MAX_KEY_OCTETS,
            "mint": match policy.key.mint {
                Mint::None => "none",
                Mint::UuidV7 => "uuidv7",
                Mint::Snowflake => "snowflake",
            },
            "from": from,
            "window_seconds": window,
        },
        "fingerprint": {
            "inputs": inputs,
            "body": match policy.fingerprint.body {
                FingerprintBody::Exact => "exact",
                FingerprintBody::Json => "json",
            },
        },
        "on_concurrent": match policy.on_concurrent {
            OnConcurrent::Reject => json!("reject"),
            OnConcurrent::Wait(wait) => json!({ "wait_ms": u64::try_from(wait.as_millis()).unwrap_or(u64::MAX) }),
        },
        // RFC 7240. `respond-async` is not honoured: an answer comes when there is one.
        "prefer": { "wait_max_seconds": MAX_PREFER_WAIT.as_secs(), "respond_async": false },
        "max_body_bytes": policy.max_body,
        "max_response_bytes": policy.max_response,
        "retention_seconds": policy.retention.as_secs(),
        "tombstone_seconds": policy.tombstone.as_secs(),
    })
}

/// `GET problems`
pub(super) fn problems(asked: &CallerRequest<'_>) -> Reply {
    if html::is_wanted(asked) {
        let mut page = String::new();
        for problem in Problem::ALL {
            // Writing to a String does not fail.
            let _ = write!(
                page,
                "<li><a href=\"{0}/problems/{1}\">{1}</a>: {2}</li>",
                html::Escaped(asked.links()),
                problem.slug(),
                problem.title()
            );
        }
        return published(html::page("Problems", &format!("<ul>{page}</ul>")));
    }
    let all: Vec<Value> = Problem::ALL.iter().map(|problem| problem_json(asked, *problem)).collect();
    published(Reply::json(&json!({ "problems": all })))
}

/// `GET problems/{slug}`
pub(super) fn problem(asked: &CallerRequest<'_>, problem: Problem) -> Reply {
    if !html::is_wanted(asked) {
        return published(Reply::json(&problem_json(asked, problem)));
    }
    let (meaning, cure) = explain(problem);
    let body = format!(
        "<p><code>{}</code>, status {}</p><h2>What it means</h2><p>{meaning}</p><h2>What to do</h2><p>{cure}</p>",
        problem.slug(),
        problem.status().as_u16(),
    );
    published(html::page(problem.title(), &body))
}

/// `POST ids?count=N&kind=KIND`
pub(super) async fn ids(asked: &CallerRequest<'_>) -> Result<Reply, Fault> {
    let params = Params::read(asked.parts.uri.query(), &["count", "kind"])?;
    let count = params.number("count", 1, MAX_IDS)?;
    let kind = match params.of("kind").unwrap_or("uuidv7") {
        "uuidv7" => IdKind::UuidV7,
        "snowflake" => IdKind::Snowflake,
        _ => return Err(Fault::bad("The parameter kind is uuidv7 or snowflake.")),
    };
    let unavailable = |_| {
        // Keys that were not reserved could come back after a restart.
        let detail =
            "The ledger takes no writes, so that no keys can be drawn now; a random UUID of your own is as good.";
        Fault::new(Problem::LedgerUnavailable, detail)
    };
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        ids.push(asked.cx.mint.mint(kind).await.map_err(unavailable)?);
    }
    Ok(Reply::json(&json!({ "ids": ids })).no_store())
}

fn problem_json(asked: &CallerRequest<'_>, problem: Problem) -> Value {
    let (meaning, cure) = explain(problem);
    json!({
        "type": format!("{}/problems/{}", asked.links(), problem.slug()),
        "title": problem.title(),
        "status": problem.status().as_u16(),
        "meaning": meaning,
        "what_to_do": cure,
    })
}

fn published(reply: Reply) -> Reply {
    reply.with(header::VARY, "accept").with(header::CACHE_CONTROL, "max-age=3600")
}
