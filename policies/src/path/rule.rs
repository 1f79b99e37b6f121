//! A path as a rule knows it: its segments, without names.

/// A path: its segments, and whether anything may follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// Each a text, or `None` for any one segment that is not empty.
    pub segments: Vec<Option<String>>,
    /// Whether any rest may follow, or nothing.
    pub rest: bool,
}

impl PathRule {
    /// Whether the path has these segments.
    pub fn matches(&self, path: &str) -> bool {
        let mut left = path.strip_prefix('/').or(Some(path));
        for expected in &self.segments {
            let Some(rest) = left else { return false };
            let (segment, after) = rest.split_once('/').map_or((rest, None), |(segment, after)| (segment, Some(after)));
            let fits = match expected {
                Some(text) => text == segment,
                None => !segment.is_empty(),
            };
            if !fits {
                return false;
            }
            left = after;
        }
        self.rest || left.is_none()
    }
}
