//! `mainstay ops ls`

use std::{borrow::Cow, collections::BTreeMap};

use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    super::{
        ClientError, Listing, Session,
        client::query_string,
        items,
        style::Style,
        text::{Column, age, cell, long_age, table, table_with_alarms},
        watch::{Watch, read_age},
    },
    ids, near, shown,
    words::why,
};

/// Operations in a listing unless somebody wants more.
const LIMIT: usize = 1000;

/// Which operations.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Which {
    /// Only in this state
    #[arg(long, value_parser = ["pending", "succeeded", "failed", "not_executed", "unknown"])]
    pub(super) state: Option<String>,
    /// Only of this route
    #[arg(long)]
    pub(super) route: Option<String>,
    /// Only of this upstream
    #[arg(long)]
    pub(super) upstream: Option<String>,
    /// Only under this policy
    #[arg(long)]
    pub(super) policy: Option<String>,
    /// Only of this trace
    #[arg(long, value_name = "ID")]
    pub(super) trace: Option<String>,
    /// Only older than this: 30s, 10m, 24h
    #[arg(long, value_name = "AGE", value_parser = read_age)]
    pub(super) older: Option<String>,
    /// Only begun since then: 2h ago, or a time
    #[arg(long, value_name = "WHEN")]
    pub(super) since: Option<String>,
    /// Only begun before then
    #[arg(long, value_name = "WHEN")]
    pub(super) until: Option<String>,
    /// Only those that wait for a person
    #[arg(long)]
    pub(super) attention: bool,
}

impl Which {
    /// The parameters of a query.
    pub(super) fn query(&self) -> Vec<(&'static str, String)> {
        let Self { state, route, upstream, policy, trace, older, since, until, attention } = self;
        let texts = [
            ("state", state),
            ("route", route),
            ("upstream", upstream),
            ("policy", policy),
            ("trace_id", trace),
            ("older", older),
            ("since", since),
            ("until", until),
        ];
        let given = texts.into_iter().filter_map(|(name, value)| Some((name, value.clone()?)));
        given.chain(attention.then(|| ("attention", "true".to_owned()))).collect()
    }
}

#[derive(Args, Debug, Default)]
pub(super) struct Ls {
    #[command(flatten)]
    which: Which,
    /// Only for this reason: `conflict`, `resolve_exhausted`, `attempt_timeout`, ...
    #[arg(long)]
    reason: Option<String>,
    /// Those that are settled, too
    #[arg(long)]
    all: bool,
    /// The latest first
    #[arg(long)]
    newest: bool,
    /// How many there are of each route and reason, instead of each
    #[arg(long)]
    group: bool,
    /// At most so many; 0 is all [default: 1000]
    #[arg(long)]
    limit: Option<usize>,
    #[command(flatten)]
    pub(super) watch: Watch,
}

pub(super) async fn list(session: &Session, wanted: &Ls) -> Result<String, ClientError> {
    let mut query = wanted.which.query();
    query.extend(wanted.reason.iter().map(|reason| ("reason", reason.clone())));
    // Whoever names a state, a trace or a reason wants all of it.
    let Which { state, trace, attention, .. } = &wanted.which;
    if !wanted.all && !*attention && [state, trace, &wanted.reason].iter().all(|given| given.is_none()) {
        query.push(("open", "true".into()));
    }
    if wanted.group {
        return groups(session, query).await;
    }
    if wanted.newest {
        query.push(("order", "newest".into()));
    }
    let limit = wanted.limit.unwrap_or(LIMIT);
    let (found, has_more) = session.client.pages("/operations", &query, "operations", limit).await?;
    if found.is_empty() {
        near::known(session, &wanted.which).await?;
    }
    let mut notes = if found.is_empty() { String::new() } else { summary(&found, Timestamp::now()) };
    if has_more {
        let more = format!("there are more than {limit}: narrow it down, or raise --limit (0 is all)\n");
        notes.insert_str(0, &more);
    }
    Ok(shown(session, &found, ("has_more", has_more.into()), &notes).await)
}

async fn groups(session: &Session, mut query: Vec<(&'static str, String)>) -> Result<String, ClientError> {
    query.push(("group_by", "upstream,route,reason".into()));
    let document = session.client.get(&format!("/operations?{}", query_string(&query))).await?.document;
    let groups = items(&document, "groups");
    let columns =
        [Column("COUNT", 8), Column("UPSTREAM", 16), Column("ROUTE", 40), Column("REASON", 24), Column("OLDEST", 6)];
    let now = Timestamp::now();
    let row = |group: &Value| {
        let mut cells: Vec<String> =
            ["count", "upstream", "route", "reason"].iter().map(|name| cell(&group[*name])).collect();
        cells.push(age(&group["oldest_at"], now));
        cells
    };
    let mut text = match groups {
        [] => "no operations".to_owned(),
        groups => table(&columns, &groups.iter().map(row).collect::<Vec<_>>()),
    };
    if document["complete"] == false {
        text.push_str("\nthere are more than were counted: narrow it down");
    }
    // A group's own name: what would list it.
    let name = |group: &Value| ["upstream", "route", "reason"].map(|member| cell(&group[member])).join(" ");
    let names = groups.iter().map(name).collect();
    Ok(session.shown(Listing { document: Cow::Borrowed(&document), names, text }).await)
}

/// How many there are of each kind, and since when: `201 shown: 200 in doubt (gave up asking; pay), 1 contradicted; oldest 21 m`.
fn summary(found: &[Value], now: Timestamp) -> String {
    let mut kinds: BTreeMap<(u8, String), u64> = BTreeMap::new();
    for operation in found {
        let reason = operation.pointer("/attention/reason").and_then(Value::as_str);
        let kind = match (reason, operation["state"].as_str().unwrap_or_default()) {
            (Some("conflict"), _) => (0, "contradicted".to_owned()),
            (Some(_), "unknown") => (1, format!("in doubt (gave up asking; {})", cell(&operation["upstream"]))),
            (_, "unknown") => (2, "in doubt".into()),
            (_, "pending") => (3, "in flight".into()),
            (_, state) => (4, state.replace('_', " ")),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    // The most first; of as many, what is worse.
    kinds.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let kinds: Vec<String> = kinds.iter().map(|((_, kind), count)| format!("{count} {kind}")).collect();
    let oldest = found
        .iter()
        .filter_map(|one| Some((one["created_at"].as_str()?.parse::<Timestamp>().ok()?, one)))
        .min_by_key(|(at, _)| *at);
    let oldest = oldest.map(|(_, one)| long_age(&one["created_at"], now)).unwrap_or_default();
    format!("{} shown: {}; oldest {oldest}", found.len(), kinds.join(", "))
}

/// The table of `ls`.
pub(super) fn operations_table(operations: &[Value], now: Timestamp, is_wide: bool, style: &Style) -> String {
    let mut columns = vec![
        Column("ID", if is_wide { 32 } else { 21 }),
        Column("STATE", 12),
        Column("AGE", 4),
        Column("ROUTE", if is_wide { 60 } else { 18 }),
        Column("UPSTREAM", if is_wide { 30 } else { 10 }),
        Column("TRIES", 5),
        Column("WHY", if is_wide { usize::MAX } else { 50 }),
    ];
    if is_wide {
        columns.extend([Column("POLICY", 30), Column("METHOD", 8), Column("TRACE", 32)]);
    }
    let row = |operation: &Value| {
        let id = cell(&operation["id"]);
        let is_flagged = !operation["attention"].is_null();
        let mut cells = vec![
            if is_wide { id } else { ids::short(&id) },
            cell(&operation["state"]),
            age(&operation["created_at"], now),
            cell(&operation["route"]),
            cell(&operation["upstream"]),
            cell(&operation["attempts"]),
            format!("{}{}", if is_flagged { "! " } else { "" }, why(operation)),
        ];
        if is_wide {
            cells.extend(["policy", "method", "trace_id"].map(|name| cell(&operation[name])));
        }
        cells
    };
    let rows: Vec<Vec<String>> = operations.iter().map(row).collect();
    table_with_alarms(&columns, &rows, style, |at| !operations[at]["attention"].is_null())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn operations() -> [Value; 2] {
        [
            json!({
                "id": "00000000000000028a1f00000000beef", "state": "unknown", "created_at": "2026-11-24T02:48:00Z",
                "route": "/payments/**", "upstream": "app", "attempts": 1, "http_status": null, "checks": 0,
                "reason": "attempt_timeout", "attention": null, "policy": "write", "method": "POST",
                "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            }),
            json!({
                "id": "00000000000000038a1f00000000beef", "state": "not_executed", "created_at": "2026-11-21T02:48:00Z",
                "route": "/a/very/long/path/of/a/route/{id}", "upstream": "an-upstream-with-a-name", "attempts": 10_000,
                "http_status": 503, "reason": "http_5xx", "checks": 2,
                "attention": { "reason": "conflict", "settled_as": "not_executed", "heard": "succeeded", "http_status": 201 },
            }),
        ]
    }

    #[test]
    fn a_listing_tells_age_and_why_and_fits_the_terminal() {
        let now: Timestamp = "2026-11-24T03:00:00Z".parse().unwrap();
        let expected = "\
ID      STATE         AGE  ROUTE               UPSTREAM    TRIES  WHY
2-8a1f  unknown       12m  /payments/**        app         1      answer lost: attempt timed out
3-8a1f  not_executed  3d   /a/very/long/path…  an-upstre…  10000  ! contradicted: settled as not executed, then 201";
        let table = operations_table(&operations(), now, false, &Style::plain());
        assert_eq!(table, expected);
        assert!(table.lines().all(|line| line.chars().count() <= 120));
        let wide = operations_table(&operations(), now, true, &Style::plain());
        for part in [
            "00000000000000028a1f00000000beef",
            "/a/very/long/path/of/a/route/{id}",
            "4bf92f3577b34da6a3ce929d0e0e4736",
        ] {
            assert!(wide.contains(part), "{wide}");
        }
    }

    #[test]
    fn its_last_lines_count_what_needs_somebody_first() {
        let now: Timestamp = "2026-11-24T03:00:00Z".parse().unwrap();
        assert_eq!(summary(&operations(), now), "2 shown: 1 contradicted, 1 in doubt; oldest 3d");
        let mut gave_up = operations()[0].clone();
        gave_up["attention"] = json!({ "reason": "resolve_exhausted" });
        assert_eq!(summary(&[gave_up.clone(), gave_up], now), "2 shown: 2 in doubt (gave up asking; app); oldest 12 m");
    }
}
