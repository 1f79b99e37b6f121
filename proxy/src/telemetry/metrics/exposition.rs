//! From the `OpenMetrics` format, which the library writes, to Prometheus text 0.0.4, which every scraper and every person
//! with `curl` reads.
//!
//! The two differ for us in one thing: the 0.0.4 parser wants a counter's metadata under the name of its samples, with
//! `_total`. We write no units and no info sets, and exemplars and `# EOF`
//! only where `OpenMetrics` is asked for.

use std::collections::HashMap;

/// The same metrics in the older format.
pub(super) fn to_prometheus(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + 1024);
    let mut lines = openmetrics.lines().peekable();
    while let Some(line) = lines.next() {
        let counter = lines.peek().copied().and_then(declared_counter).or_else(|| declared_counter(line));
        match (line.split_once(' '), counter) {
            (Some(("#", _)), Some(name)) => {
                let suffixed = format!(" {name}_total ");
                text.push_str(&line.replacen(&format!(" {name} "), &suffixed, 1));
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

/// The page as it is, with an example of each bucket that has one, by the bucket's series: `name_bucket{…}`.
pub(super) fn with_exemplars(openmetrics: &str, exemplars: &HashMap<String, String>) -> String {
    let mut text = String::with_capacity(openmetrics.len() + 1024);
    for line in openmetrics.lines() {
        text.push_str(line);
        let series = line.rsplit_once(' ').map(|(series, _)| series).filter(|series| series.contains("_bucket{"));
        if let Some(exemplar) = series.and_then(|series| exemplars.get(series)) {
            text.push_str(exemplar);
        }
        text.push('\n');
    }
    text.push_str("# EOF\n");
    text
}

/// The name in `# TYPE name counter`.
fn declared_counter(line: &str) -> Option<&str> {
    line.strip_prefix("# TYPE ")?.strip_suffix(" counter")
}
