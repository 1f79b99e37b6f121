//! What has the shape of a rule: the one comparison of a path with segments that somebody wrote down.

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
        has_segments(path, self.segments.iter().map(Option::as_deref), self.rest, |_| {})
    }
}

/// Whether a path has these segments, and then nothing or, with `rest`, anything; `any` is told each that may be any text, in
/// order, as far as the path goes along.
pub(super) fn has_segments<'s, 'p>(
    path: &'p str,
    segments: impl Iterator<Item = Option<&'s str>>,
    rest: bool,
    mut any: impl FnMut(&'p str),
) -> bool {
    let mut left = Some(after_root(path));
    for expected in segments {
        let Some((segment, after)) = left.map(split_first) else { return false };
        match expected {
            Some(text) if text == segment => {}
            None if !segment.is_empty() => any(segment),
            Some(_) | None => return false,
        }
        left = after;
    }
    rest || left.is_none()
}

/// A path without the slash that it begins with: what its first segment is [split](split_first) from.
pub fn after_root(path: &str) -> &str {
    path.strip_prefix('/').unwrap_or(path)
}

/// The first segment of what is left of a path, and what is left then; `None` if that was the last.
///
/// A segment may be empty: `/a/` has two, and `/` has one.
pub fn split_first(left: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'/', left.as_bytes()) {
        Some(slash) => (&left[..slash], Some(&left[slash + 1..])),
        None => (left, None),
    }
}
