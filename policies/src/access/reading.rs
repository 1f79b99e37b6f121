//! What a service may take a path for.
//!
//! RFC 3986 leaves it open whether `%2F`, `//` or `;` mean anything, and services differ. A rule must not depend on how the
//! one behind happens to read: a path is denied if any reading of it is, and allowed only if all are. A reading is what is
//! left of a path after some of these steps (Envoy calls them `path_with_escaped_slashes_action`, `merge_slashes` and
//! `normalize_path`; the parameters are Tomcat's):
//!
//! 1. what needs no percent-encoding is decoded (always: RFC 3986 section 6.2.2.2 knows no other meaning)
//! 2. `%2F`, `%5C` and `\` are slashes
//! 3. `;` and `%3B` begin parameters, which end with their segment and are not part of it
//! 4. slashes that follow each other are one
//! 5. `.` and `..` lead somewhere else

use std::borrow::Cow;

/// The steps that a reading takes or leaves out, each a bit.
const SLASHES: u8 = 1;
const PARAMETERS: u8 = 2;
const MERGED: u8 = 4;
const DOTS: u8 = 8;
const ALL: u8 = SLASHES | PARAMETERS | MERGED | DOTS;

/// Every reading of `path`, without repeats. Most paths have one.
pub(super) fn readings(path: &str) -> Vec<Cow<'_, str>> {
    let path = if path.is_empty() { "/" } else { path };
    let decoded = decoded(path);
    let steps = useful(&decoded);
    if steps == 0 {
        return vec![decoded];
    }
    let mut readings: Vec<Cow<'_, str>> = Vec::with_capacity(16);
    for taken in (0..=ALL).filter(|taken| taken & !steps == 0) {
        let reading = Cow::Owned(read(&decoded, taken));
        if !readings.contains(&reading) {
            readings.push(reading);
        }
    }
    readings
}

/// The steps that can change `path`, alone or after others.
fn useful(path: &str) -> u8 {
    let has = |text: &str| path.contains(text);
    let slashes = has("%2F") || has("%5C") || has("\\");
    let parameters = has(";") || has("%3B");
    let mut steps = 0;
    if slashes {
        steps |= SLASHES;
    }
    if parameters {
        steps |= PARAMETERS;
    }
    // A parameter that is cut off may leave an empty segment, or one of dots; a slash that is decoded as well.
    if slashes || parameters || has("//") {
        steps |= MERGED;
    }
    if has("/.") || (slashes && has(".")) {
        steps |= DOTS;
    }
    steps
}

fn read(path: &str, taken: u8) -> String {
    let path = if taken & SLASHES == 0 {
        Cow::Borrowed(path)
    } else {
        Cow::Owned(path.replace("%2F", "/").replace("%5C", "/").replace('\\', "/"))
    };
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(&path).split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        let segment = if taken & PARAMETERS == 0 { segment } else { without_parameters(segment) };
        match segment {
            "." | ".." if taken & DOTS != 0 => {
                if segment == ".." {
                    kept.pop();
                }
                // A dot segment at the end leaves the slash before it.
                if is_last {
                    kept.push("");
                }
            }
            "" if taken & MERGED != 0 && !is_last => {}
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

fn without_parameters(segment: &str) -> &str {
    let end = segment.find(';').into_iter().chain(segment.find("%3B")).min();
    &segment[..end.unwrap_or(segment.len())]
}

/// Decodes what needs no encoding, and writes the other encodings in upper case. A `%` that begins no encoding stays.
fn decoded(path: &str) -> Cow<'_, str> {
    if path.contains('%') { Cow::Owned(crate::path::recode(path)) } else { Cow::Borrowed(path) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &[&str]) {
        let mut found: Vec<_> = readings(path).into_iter().map(Cow::into_owned).collect();
        found.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{path}");
    }

    #[test]
    fn a_plain_path_is_read_in_one_way() {
        for path in ["/", "/admin", "/admin/", "/a.b/c-d~e_f", "/a%20b"] {
            check(path, &[path]);
        }
        check("", &["/"]);
        check("/%61dmin", &["/admin"]);
        check("/%7e", &["/~"]);
        check("/100%", &["/100%"]);
    }

    #[test]
    fn what_services_disagree_about_has_several_readings() {
        check("/x%2fadmin", &["/x%2Fadmin", "/x/admin"]);
        check("/x\\admin", &["/x\\admin", "/x/admin"]);
        check("//admin", &["//admin", "/admin"]);
        check("/a/./b", &["/a/./b", "/a/b"]);
        check("/a/%2e%2e/b", &["/a/../b", "/b"]);
        check("/admin;v=1/x", &["/admin;v=1/x", "/admin/x"]);
        check("/admin%3bv", &["/admin%3Bv", "/admin"]);
        check("/a/..", &["/a/..", "/"]);
    }

    #[test]
    fn tricks_are_read_together() {
        for path in [
            "/a/..;/admin",
            "/a/%2e%2e;x/admin",
            "/;/admin",
            "/%2Fadmin",
            "/%5cadmin",
            "//admin;x",
            "/a%2f..%2fadmin",
            "/.%2Fadmin",
            "/a/;b/../..//./admin",
            "/a//..%2f..;%2F\\admin",
        ] {
            assert!(readings(path).contains(&Cow::Borrowed("/admin")), "{path}: {:?}", readings(path));
        }
    }

    #[test]
    fn a_service_that_decodes_and_does_not_merge_is_thought_of() {
        // Where slashes are not merged `..` leaves the empty segment only.
        assert!(readings("/admin%2F%2F..").contains(&Cow::Borrowed("/admin/")));
        assert!(readings("/admin/../x").contains(&Cow::Borrowed("/admin/../x")), "nor one that resolves no dots");
    }

    proptest! {
        #[test]
        fn no_step_that_is_left_out_would_have_changed_anything(path in "/([a.;/\\\\]|%2[Ff]|%5[Cc]|%3B|%2e){0,10}") {
            let decoded = decoded(&path);
            let found = readings(&path);
            for taken in 0..=ALL {
                let reading: Cow<'_, str> = Cow::Owned(read(&decoded, taken));
                prop_assert!(found.contains(&reading), "{path} as {reading}, not among {found:?}");
            }
            prop_assert!(found.iter().all(|reading| reading.starts_with('/')));
        }
    }
}
