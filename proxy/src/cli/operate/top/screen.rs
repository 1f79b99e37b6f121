//! What `mainstay top` shows, and how it is drawn: pure, so that tests read its frames.

use jiff::Timestamp;
use ratatui::{
    buffer::Buffer,
    style::{Color, Modifier, Style as Cells},
};
use serde_json::Value;

use super::{
    super::{
        ClientError,
        ops::{ids::short, words::why},
        routes::{FIGURES, figures, is_broken},
        status,
        style::Style,
        text::{age, cell},
    },
    Seen, Sort,
};

/// Characters between two columns.
const GAP: usize = 2;
/// Characters of a route's name: at least, before columns are left out for it, and at most.
const NAME: (usize, usize) = (16, 40);
const KEYS: &str = "q end   arrows choose   enter story   s sort   p pause   ? help";
const HELP: [&str; 9] = [
    "q, Ctrl-C   end",
    "up, down    choose an operation (k, j)",
    "enter       its story",
    "esc         back",
    "s           sort the routes: as configured, rate, errors, p99, doubt",
    "p           pause, and go on",
    "?           this",
    "",
    "Figures are of the last minute. RETRY, LIMIT, REPLAY and DOUBT are counts.",
];

/// What is shown.
pub(super) struct Screen {
    seen: Seen,
    pub(super) sort: Sort,
    style: Style,
    chosen: usize,
    is_paused: bool,
    /// Whether a choice is shown: a single frame has none.
    has_choice: bool,
    /// What stands before all else: help, or a story.
    page: Option<String>,
    /// Whether a page was opened or closed since the last frame.
    is_turned: bool,
    /// Why what is shown is old.
    stale: Option<String>,
}

impl Screen {
    pub(super) fn new(seen: Seen, sort: Sort, style: Style) -> Self {
        Self {
            seen,
            sort,
            style,
            chosen: 0,
            is_paused: false,
            has_choice: true,
            page: None,
            is_turned: false,
            stale: None,
        }
    }

    /// The same, for a frame that nobody chooses in.
    pub(super) fn without_choice(self) -> Self {
        Self { has_choice: false, ..self }
    }

    /// Takes what a look saw, unless it pauses; what could not be seen leaves what was seen before.
    pub(super) fn take(&mut self, seen: Result<Seen, ClientError>) {
        match seen {
            Ok(_) if self.is_paused => {}
            Ok(seen) => {
                self.stale = None;
                self.seen = seen;
                self.choose(0);
            }
            Err(error) => self.stale = error.to_string().lines().next().map(str::to_owned),
        }
    }

    pub(super) fn toggle_pause(&mut self) {
        self.is_paused = !self.is_paused;
    }

    pub(super) fn toggle_help(&mut self) {
        self.turn(if self.page.is_some() { None } else { Some(HELP.join("\n")) });
    }

    pub(super) fn open(&mut self, page: String) {
        self.turn(Some(page));
    }

    pub(super) fn close(&mut self) {
        self.turn(None);
    }

    fn turn(&mut self, page: Option<String>) {
        self.is_turned = true;
        self.page = page;
    }

    /// Whether nothing of the last frame is to stay.
    pub(super) fn was_turned(&mut self) -> bool {
        std::mem::take(&mut self.is_turned)
    }

    /// Moves the choice, within what there is.
    pub(super) fn choose(&mut self, by: isize) {
        let last = self.seen.operations().count().saturating_sub(1);
        self.chosen = self.chosen.saturating_add_signed(by).min(last);
    }

    pub(super) fn chosen(&self) -> Option<&Value> {
        self.seen.operations().nth(self.chosen)
    }

    fn routes(&self) -> Vec<&Value> {
        let mut routes: Vec<&Value> = self.seen.routes.iter().collect();
        let number = |route: &Value, member: &str| route[member].as_f64().unwrap_or(0.0);
        let member = match self.sort {
            Sort::Order => return routes,
            Sort::Rate => "rate",
            Sort::Errors => "errors",
            Sort::P99 => "p99_ms",
            Sort::Doubt => "doubted",
        };
        // Those that are alike stay as they are configured.
        routes.sort_by(|a, b| number(b, member).total_cmp(&number(a, member)));
        routes
    }
}

/// How a line looks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mood {
    Plain,
    Title,
    Alarm,
    Chosen,
}

impl Mood {
    fn cells(self) -> Cells {
        match self {
            Self::Plain => Cells::new(),
            Self::Title => Cells::new().add_modifier(Modifier::BOLD),
            Self::Alarm => Cells::new().fg(Color::Red).add_modifier(Modifier::BOLD),
            Self::Chosen => Cells::new().add_modifier(Modifier::REVERSED),
        }
    }
}

/// Draws all of it: the last line of what does not fit is left out, the keys are not.
pub(super) fn draw(screen: &Screen, buffer: &mut Buffer, now: Timestamp) {
    let area = buffer.area;
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    buffer.reset();
    let mut lines = match &screen.page {
        Some(page) => page.lines().map(|line| (Mood::Plain, line.to_owned())).collect(),
        None => lines(screen, width, now),
    };
    if screen.has_choice {
        lines.truncate(height.saturating_sub(1));
        lines.resize(height.saturating_sub(1), (Mood::Plain, String::new()));
        lines.push((Mood::Title, if screen.page.is_some() { "esc back   q end".into() } else { KEYS.into() }));
    }
    let is_coloured = screen.style.is_coloured();
    for (at, (mood, text)) in lines.iter().take(height).enumerate() {
        let cells = match mood {
            Mood::Alarm if !is_coloured => Mood::Title.cells(),
            mood => mood.cells(),
        };
        let row = area.y + u16::try_from(at).unwrap_or(u16::MAX);
        buffer.set_stringn(area.x, row, text, width, cells);
    }
}

fn lines(screen: &Screen, width: usize, now: Timestamp) -> Vec<(Mood, String)> {
    let mut lines = Vec::new();
    let told = status::lines(&screen.seen.status, now);
    for (at, (text, is_alarm)) in told.into_iter().enumerate() {
        let mood = if is_alarm {
            Mood::Alarm
        } else if at == 0 {
            Mood::Title
        } else {
            Mood::Plain
        };
        lines.push((mood, text));
    }
    if screen.is_paused {
        lines.push((Mood::Title, "PAUSED: p goes on".into()));
    }
    if let Some(why) = &screen.stale {
        lines.push((Mood::Alarm, format!("STALE: {why}")));
    }
    lines.push((Mood::Plain, String::new()));
    lines.extend(routes(screen, width));
    let Seen { needed, doubted, .. } = &screen.seen;
    for (title, operations, before, mood) in
        [("needs a person", needed, 0, Mood::Alarm), ("in doubt", doubted, needed.len(), Mood::Plain)]
    {
        if operations.is_empty() {
            continue;
        }
        lines.push((Mood::Plain, String::new()));
        lines.push((Mood::Title, title.into()));
        for (at, operation) in operations.iter().enumerate() {
            let is_chosen = screen.has_choice && before + at == screen.chosen;
            let text = format!(
                "  {:<12}  {:>4}  {:<18}  {:<10}  {}",
                short(&cell(&operation["id"])),
                age(&operation["created_at"], now),
                cell(&operation["route"]),
                cell(&operation["upstream"]),
                why(operation)
            );
            lines.push((if is_chosen { Mood::Chosen } else { mood }, text));
        }
    }
    lines
}

/// The table of routes: what does not fit is left out from the right.
fn routes(screen: &Screen, width: usize) -> Vec<(Mood, String)> {
    let mut count = FIGURES.len();
    let taken = |count: usize| FIGURES[..count].iter().map(|(_, cells)| cells + GAP).sum::<usize>();
    while count > 1 && taken(count) + NAME.0 > width {
        count -= 1;
    }
    let name = width.saturating_sub(taken(count)).clamp(1, NAME.1);
    let line = |first: &str, cells: &[String]| {
        let first: String = if first.chars().count() > name {
            first.chars().take(name.saturating_sub(1)).chain(['…']).collect()
        } else {
            first.to_owned()
        };
        let cells = cells.iter().zip(FIGURES).map(|(cell, (_, width))| format!("{:GAP$}{cell:>width$}", ""));
        format!("{first:name$}{}", cells.collect::<String>()).trim_end().to_owned()
    };
    let titles: Vec<String> = FIGURES[..count].iter().map(|(title, _)| (*title).to_owned()).collect();
    let mut lines = vec![(Mood::Title, line("ROUTE", &titles))];
    for route in screen.routes() {
        let is_broken = is_broken(route);
        // The column that says it may be one that does not fit.
        let mark = if is_broken { "! " } else { "" };
        let text = line(&format!("{mark}{}", cell(&route["name"])), &figures(route)[..count]);
        lines.push((if is_broken { Mood::Alarm } else { Mood::Plain }, text));
    }
    lines
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;
    use serde_json::json;

    use super::{super::text_of, *};

    fn seen() -> Seen {
        let route = |name: &str, rate: f64, breaker: &str| {
            json!({ "name": name, "rate": rate, "ok_share": 0.998, "p50_ms": 4.1, "p99_ms": 61.2, "errors": 2, "retried": 3,
                "limited": 0, "replayed": 1, "doubted": 0, "breaker": breaker })
        };
        let operation = |number: u64, attention: Value| {
            json!({ "id": format!("{number:016x}aab7000000000001"), "state": "unknown", "created_at": "2026-11-24T02:48:00Z",
                "route": "/payments/**", "upstream": "pay", "reason": "attempt_timeout", "checks": 8, "attention": attention })
        };
        Seen {
            status: json!({ "name": "payments-7c9f", "version": "0.1.0", "started_at": "2026-11-24T02:00:00Z", "ready": true,
                "config": { "hash": "4f1c2a" }, "ledger": { "store": "disk", "health": "writable" },
                "traffic": { "requests": 10, "rate": 182.4, "error_share": 0.002, "p50_ms": 4.1, "p99_ms": 61.0, "limited": 0, "replayed": 3 } }),
            routes: vec![route("/payments/**", 2.0, "open"), route("/**", 180.0, "closed")],
            needed: vec![operation(0xd4, json!({ "reason": "resolve_exhausted" }))],
            doubted: vec![operation(0xd5, Value::Null)],
        }
    }

    fn frame(screen: &Screen, width: u16, height: u16) -> String {
        let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
        draw(screen, &mut buffer, "2026-11-24T03:00:00Z".parse().unwrap());
        text_of(&buffer)
    }

    fn screen() -> Screen {
        Screen::new(seen(), Sort::Order, Style::plain())
    }

    #[test]
    fn columns_are_left_out_from_the_right_and_an_open_breaker_is_seen_all_the_same() {
        for (width, last, missing) in
            [(120, "BREAKER", ""), (100, "BREAKER", ""), (90, "DOUBT", "BREAKER"), (60, "P99", "RETRY")]
        {
            let shown = frame(&screen(), width, 40);
            let titles = shown.lines().find(|line| line.starts_with("ROUTE")).unwrap();
            assert!(titles.ends_with(last) && (missing.is_empty() || !titles.contains(missing)), "{width}: {shown}");
            assert!(shown.lines().all(|line| line.chars().count() <= usize::from(width)), "{width}: {shown}");
            assert!(
                shown.contains("! /payments/**") && shown.contains("needs a person") && shown.contains("d5-aab7"),
                "{shown}"
            );
        }
    }

    #[test]
    fn routes_are_sorted_and_operations_chosen() {
        let mut screen = screen();
        let order = |screen: &Screen| screen.routes().iter().map(|route| cell(&route["name"])).collect::<Vec<_>>();
        assert_eq!(order(&screen), ["/payments/**", "/**"]);
        screen.sort = screen.sort.next();
        assert_eq!(order(&screen), ["/**", "/payments/**"]);
        let chosen = |screen: &Screen| short(&cell(&screen.chosen().unwrap()["id"]));
        assert_eq!(chosen(&screen), "d4-aab7");
        screen.choose(5);
        assert_eq!(chosen(&screen), "d5-aab7");
        screen.choose(-9);
        assert_eq!(chosen(&screen), "d4-aab7");
    }

    #[test]
    fn a_page_stands_before_all_else_until_it_is_closed_and_what_is_old_says_so() {
        let mut screen = screen();
        assert!(frame(&screen, 80, 24).ends_with(KEYS));
        screen.toggle_help();
        let shown = frame(&screen, 80, 24);
        assert!(shown.contains("this") && !shown.contains("ROUTE") && shown.ends_with("esc back   q end"), "{shown}");
        screen.close();
        screen.take(Err(ClientError::NotFound("nobody answers\nand more".into())));
        assert!(frame(&screen, 80, 24).contains("STALE: nobody answers\n"));
        screen.take(Ok(Seen { needed: Vec::new(), doubted: Vec::new(), ..seen() }));
        let shown = frame(&screen, 80, 24);
        assert!(!shown.contains("STALE") && !shown.contains("in doubt") && screen.chosen().is_none(), "{shown}");
        screen.toggle_pause();
        screen.take(Ok(seen()));
        let shown = frame(&screen, 80, 24);
        assert!(shown.contains("PAUSED") && !shown.contains("needs a person"), "{shown}");
        // However small the terminal is, nothing breaks.
        for (width, height) in [(1, 1), (20, 3), (300, 2)] {
            frame(&screen, width, height);
        }
    }
}
