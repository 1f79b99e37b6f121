//! The one module that knows the YAML library: text in, [`Node`] out, with tight budgets.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{
    Error, Location, Options, Spanned, UserMessageFormatter, budget::BudgetBreach, options::DuplicateKeyPolicy,
};

use super::{
    node::{At, Kind, Node, Pos, Scalar, shorten_to},
    report::Issue,
};

/// Nesting that no configuration needs; it bounds recursion here and in everything that walks the tree.
const MAX_DEPTH: usize = 32;
/// Values of one document: 5 000 routes written at length need about 60 000.
const MAX_NODES: usize = 200_000;
/// Values that aliases may repeat: enough to share a policy among hundreds of routes, too few for a bomb.
const MAX_REPLAYED: usize = 50_000;

/// Reads one document.
pub(crate) fn read(file: usize, text: &str) -> Result<Node, Box<Issue>> {
    if let Some((line, column)) = find_control(text) {
        return Err(Box::new(
            Issue::new(Pos { file, line, column, width: 1 }, "this is not a text file: it holds a control character")
                .help("save it as plain text"),
        ));
    }
    let tree: Result<Option<Spanned<Tree>>, Error> = serde_saphyr::from_str_with_options(text, options());
    match tree {
        Ok(Some(tree)) => Ok(Reader { file, text }.node(tree)),
        Ok(None) | Err(Error::Eof { .. }) => Ok(Node { at: Pos::file(file), kind: Kind::Null }),
        Err(error) => Err(Box::new(issue(file, text, &error))),
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_events: 4 * MAX_NODES,
            max_nodes: MAX_NODES,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_documents: 1,
            max_aliases: 5_000,
            max_anchors: 1_000,
            max_recorded_anchor_events: MAX_REPLAYED,
            max_recorded_anchor_bytes: 1024 * 1024,
            max_merge_keys: 5_000,
            max_total_scalar_bytes: 8 * 1024 * 1024,
            // One anchor for the shared part of hundreds of routes is good style; the limits above bound its cost.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPLAYED,
            max_replay_stack_depth: 8,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        emit_comments: false,
    }
}

/// Control characters that YAML forbids; found here, because a binary file deserves a plain message.
fn find_control(text: &str) -> Option<(usize, usize)> {
    let bad = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t' | '\u{85}');
    let offset = text.find(bad)?;
    let before = &text[..offset];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    Some((line, column))
}

fn issue(file: usize, text: &str, error: &Error) -> Issue {
    let error = error.without_snippet();
    let pos = error.location().map_or(Pos::file(file), |location| pos(file, &location));
    match error {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().unwrap_or("…");
            Issue::new(Pos { width: key.chars().count().max(1), ..pos }, format!("`{key}` is written twice in one map"))
                .code("duplicate-key")
                .help("keep one of the two")
        }
        Error::MultipleDocuments { .. } | Error::Budget { breach: BudgetBreach::Documents { .. }, .. } => {
            second_document(pos)
        }
        Error::Budget { breach, .. } => over_budget(pos, breach),
        Error::AliasReplayLimitExceeded { .. } | Error::AliasReplayStackDepthExceeded { .. } => aliases(pos),
        Error::AliasError { error, .. } => issue(file, text, error),
        other => {
            let formatter = UserMessageFormatter;
            let reason = serde_saphyr::MessageFormatter::format_message(&formatter, other);
            // The scanner's own guard comes before the budget's when brackets are nested.
            if reason.contains("recursion limit") {
                return too_deep(pos);
            }
            let (code, help) = cure(text, pos, &reason);
            Issue::new(pos, format!("this is not valid YAML: {}", shorten_to(&reason, 300))).code(code).help(help)
        }
    }
}

/// What kind of mistake it is that the library calls `reason`, and what to do about it.
fn cure(text: &str, pos: Pos, reason: &str) -> (&'static str, String) {
    let line = text.lines().nth(pos.line.saturating_sub(1)).unwrap_or_default();
    if reason.contains("unknown value") || reason.contains("unknown anchor") {
        let rest: String = line.chars().skip(pos.column.saturating_sub(1)).collect();
        let name: String = rest.trim_start_matches('*').chars().take_while(|c| c.is_alphanumeric()).collect();
        let name = if name.is_empty() { "name".to_owned() } else { name };
        return ("yaml-alias", format!("quote it, or define &{name} above"));
    }
    if reason.contains("tab") && line.contains('\t') {
        return ("yaml-tab", "use spaces".into());
    }
    if line.contains("${") {
        return ("yaml-syntax", "inside { } and [ ] a variable needs quotes: \"${NAME}\"".into());
    }
    if reason.contains("unsupported tag") {
        return ("yaml-syntax", "leave the tag out: each setting knows its type".into());
    }
    if reason.contains("flow ") {
        return ("yaml-syntax", "is a `{`, a `[` or a comma missing before this place?".into());
    }
    if let Some(number) = neighbour(text, pos.line) {
        return ("yaml-indent", format!("line up with line {number}"));
    }
    ("yaml-syntax", "is a quote, a colon or a bracket missing here or above?".into())
}

/// The line above with which a line that is indented like none was probably meant to line up, if it is indented like none.
fn neighbour(text: &str, number: usize) -> Option<usize> {
    let indent = |line: &str| line.chars().take_while(|c| *c == ' ').count();
    let lines: Vec<&str> = text.lines().take(number).collect();
    let own = indent(lines.get(number.checked_sub(1)?)?);
    let (mut open, mut nearest) = (usize::MAX, None);
    for (at, line) in lines.iter().enumerate().rev().skip(1) {
        let is_said = !line.trim().is_empty() && !line.trim_start().starts_with('#');
        if !is_said || indent(line) >= open {
            continue;
        }
        open = indent(line);
        if open == own {
            return None;
        }
        let off = open.abs_diff(own);
        if nearest.is_none_or(|(least, _)| off < least) {
            nearest = Some((off, at + 1));
        }
    }
    nearest.map(|(_, number)| number)
}

fn over_budget(pos: Pos, breach: &BudgetBreach) -> Issue {
    match breach {
        BudgetBreach::Depth { .. } => too_deep(pos),
        BudgetBreach::Aliases { .. }
        | BudgetBreach::Anchors { .. }
        | BudgetBreach::RecordedAnchorEvents { .. }
        | BudgetBreach::RecordedAnchorBytes { .. }
        | BudgetBreach::MergeKeys { .. } => aliases(pos),
        _ => Issue::new(pos, "the document is too large").help(format!("at most {MAX_NODES} values and 8MiB of text")),
    }
}

fn too_deep(pos: Pos) -> Issue {
    Issue::new(pos, "the document is nested too deep").help(format!("at most {MAX_DEPTH} levels"))
}

fn aliases(pos: Pos) -> Issue {
    Issue::new(pos, "aliases repeat too much").help(format!("at most {MAX_REPLAYED} values may come from aliases"))
}

fn second_document(pos: Pos) -> Issue {
    Issue::new(pos, "a second YAML document begins here")
        .help("one file holds one document; put the rest into files of a directory")
}

fn pos(file: usize, location: &Location) -> Pos {
    let to_usize = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    Pos {
        file,
        line: to_usize(location.line()),
        column: to_usize(location.column()),
        width: to_usize(location.span().len()).max(1),
    }
}

struct Reader<'a> {
    file: usize,
    text: &'a str,
}

impl Reader<'_> {
    fn node(&self, tree: Spanned<Tree>) -> Node {
        let Spanned { value, referenced, defined } = tree;
        // What is wrong behind an alias is shown where it is written, not where it is used.
        let location = if defined.line() == 0 { referenced } else { defined };
        let mut at = pos(self.file, &location);
        let kind = match value {
            Tree::Null => Kind::Null,
            Tree::Inferred(inferred) => {
                let text = self.written(&defined).map_or(inferred, str::to_owned);
                Kind::Scalar(Scalar { text, plain: true, written: None })
            }
            Tree::Text(text) => {
                let plain =
                    self.written(&defined).is_some_and(|written| !written.starts_with(['"', '\'', '|', '>', '!']));
                Kind::Scalar(Scalar { text, plain, written: None })
            }
            Tree::List(items) => Kind::List(items.into_iter().map(|item| self.node(item)).collect()),
            Tree::Map(entries) => {
                Kind::Map(entries.into_iter().map(|(key, value)| (self.key(key), self.node(value))).collect())
            }
        };
        if matches!(kind, Kind::List(_) | Kind::Map(_)) {
            at.width = 1;
        }
        Node { at, kind }
    }

    fn key(&self, key: Spanned<String>) -> At<String> {
        let mut at = pos(self.file, &key.defined);
        at.width = at.width.min(key.value.chars().count().max(1) + 2);
        At { value: key.value, at }
    }

    /// The characters of the document at a place.
    fn written(&self, location: &Location) -> Option<&str> {
        let start = usize::try_from(location.span().byte_offset()?).ok()?;
        let length = usize::try_from(location.span().byte_len()?).ok()?;
        self.text.get(start..start.checked_add(length)?).map(str::trim)
    }
}

/// What serde sees of a value, before its place is looked up.
enum Tree {
    Null,
    /// A boolean or a number by YAML's rules; the text as written is taken from the document.
    Inferred(String),
    Text(String),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Inferred(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Inferred(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Inferred(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Tree, E> {
        Ok(Tree::Inferred(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Tree, E> {
        Ok(Tree::Inferred(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Inferred(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}
