//! What is printed for people: tables that fit 120 characters, and ages.

use jiff::Timestamp;
use serde_json::Value;

use super::style::Style;

/// A column: its title, and the characters that its cells have at most.
pub(super) struct Column(pub(super) &'static str, pub(super) usize);

/// A table with a title line; cells that are too long are cut.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>]) -> String {
    lines(columns, rows).join("\n")
}

/// The same with the rows in colour that need somebody.
pub(super) fn table_with_alarms(
    columns: &[Column],
    rows: &[Vec<String>],
    style: &Style,
    needs_somebody: impl Fn(usize) -> bool,
) -> String {
    let mut lines = lines(columns, rows);
    for (_, line) in lines.iter_mut().skip(1).enumerate().filter(|(at, _)| needs_somebody(*at)) {
        *line = style.alarm(line);
    }
    lines.join("\n")
}

fn lines(columns: &[Column], rows: &[Vec<String>]) -> Vec<String> {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().zip(columns).map(|(cell, Column(_, max))| cut(cell, *max)).collect())
        .collect();
    let width = |at: usize| {
        let longest = cells.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
        longest.max(columns[at].0.len())
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |row: &[&str]| {
        let padded: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let titles: Vec<&str> = columns.iter().map(|Column(title, _)| *title).collect();
    let mut lines = vec![line(&titles)];
    lines.extend(cells.iter().map(|row| line(&row.iter().map(String::as_str).collect::<Vec<_>>())));
    lines
}

fn cut(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

/// How long ago, or ahead: `12m`, `3d`, `in 40s`. Empty where there is no time.
pub(super) fn age(at: &Value, now: Timestamp) -> String {
    let Some(at) = at.as_str().and_then(|at| at.parse::<Timestamp>().ok()) else { return String::new() };
    let seconds = now.duration_since(at).as_secs();
    let text = span(seconds.unsigned_abs());
    if seconds < 0 { format!("in {text}") } else { text }
}

/// How long ago, as it is said in a sentence: `14 s`, `21 m`, `3h`, `3d 4h`.
pub(super) fn long_age(at: &Value, now: Timestamp) -> String {
    let Some(at) = at.as_str().and_then(|at| at.parse::<Timestamp>().ok()) else { return String::new() };
    long_span(now.duration_since(at).as_secs().unsigned_abs())
}

/// A duration, as it is said in a sentence.
pub(super) fn long_span(seconds: u64) -> String {
    match (seconds, seconds % 86_400 / 3600) {
        (0..60, _) => format!("{seconds} s"),
        (60..3600, _) => format!("{} m", seconds / 60),
        (86_400.., hours @ 1..) => format!("{}d {hours}h", seconds / 86_400),
        _ => span(seconds),
    }
}

/// A number that is measured: three digits of it, with its unit.
pub(super) fn measured(number: f64, unit: &str) -> String {
    let decimals = usize::from(number > 0.0 && number < 10.0);
    format!("{number:.decimals$}{unit}")
}

/// A share of one as a percentage; empty where there is none.
pub(super) fn percent(share: &Value) -> String {
    share.as_f64().map(|share| measured(share * 100.0, " %")).unwrap_or_default()
}

/// The largest unit of which there is one; days beyond that.
fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A member as a cell.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn ages_are_for_people() {
        let now: Timestamp = "2026-11-24T03:00:00Z".parse().unwrap();
        for (at, expected) in [
            ("2026-11-24T03:00:00Z", "0s"),
            ("2026-11-24T02:59:01Z", "59s"),
            ("2026-11-24T02:48:00Z", "12m"),
            ("2026-11-23T05:00:00Z", "22h"),
            ("2026-11-01T03:00:00Z", "23d"),
            ("2026-11-24T03:00:40Z", "in 40s"),
        ] {
            assert_eq!(age(&json!(at), now), expected);
        }
        assert_eq!(age(&Value::Null, now), "");
    }

    #[test]
    fn spans_and_shares_are_said_as_in_a_sentence() {
        for (seconds, expected) in
            [(14, "14 s"), (1_300, "21 m"), (10_900, "3h"), (273_600, "3d 4h"), (259_200, "3d"), (0, "0 s")]
        {
            assert_eq!(long_span(seconds), expected);
        }
        for (share, expected) in [(json!(0.002), "0.2 %"), (json!(0), "0 %"), (json!(0.5), "50 %"), (Value::Null, "")] {
            assert_eq!(percent(&share), expected);
        }
        assert_eq!((measured(182.4, "/s").as_str(), measured(4.1, " ms").as_str()), ("182/s", "4.1 ms"));
    }

    #[test]
    fn what_needs_somebody_is_in_colour_and_moves_no_column() {
        let rows = [vec!["a".to_owned(), "b".to_owned()], vec!["c".to_owned(), "d".to_owned()]];
        let columns = [Column("NAME", 8), Column("X", 5)];
        assert_eq!(table_with_alarms(&columns, &rows, &Style::plain(), |at| at == 1), table(&columns, &rows));
    }

    #[test]
    fn a_table_is_as_wide_as_it_must_be_and_never_wider_than_its_columns() {
        let rows = [vec!["a".to_owned(), "0123456789".to_owned()], vec!["bcd".to_owned(), String::new()]];
        assert_eq!(table(&[Column("NAME", 8), Column("X", 5)], &rows), "NAME  X\na     0123…\nbcd");
    }
}
