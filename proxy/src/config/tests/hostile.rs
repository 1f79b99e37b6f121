//! Input that no user writes: an error in bounded time and memory, never a panic.

use std::fmt::Write as _;

use super::{directory::Directory, good::EXAMPLE, try_parse};
use crate::config::load;

#[track_caller]
fn refused(text: &str, because: &str) {
    let errors = try_parse(text).expect_err("it is refused").to_string();
    assert!(errors.contains(because), "expected {because:?} in:\n{errors}");
    assert!(errors.len() < 20_000, "a message of {} bytes", errors.len());
}

#[test]
fn deep_nesting() {
    refused(&"[".repeat(100_000), "too deep");
    refused(&"{a: ".repeat(100_000), "too deep");
    refused(
        &(0..2_000).fold(String::new(), |mut text, depth| {
            let _ = writeln!(text, "{}a:", " ".repeat(depth));
            text
        }),
        "too deep",
    );
    refused(&"- ".repeat(100_000), "too deep");
}

#[test]
fn alias_bombs() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        let _ = writeln!(bomb, "a{level}: &a{level} [{inner}]");
    }
    refused(&bomb, "aliases repeat too much");
    let long = "x".repeat(1_000_000);
    refused(&format!("a: &a {long}\nb: [{}]\n", vec!["*a"; 4_000].join(", ")), "the document is too large");
}

#[test]
fn binary_and_control_characters() {
    refused("\u{0}\u{1}\u{2}", "it holds a control character");
    refused(&format!("{EXAMPLE}# \u{1b}[31m\n"), "mainstay.yaml:18:3: this is not a text file");
    let directory = Directory::new();
    let path = directory.write("mainstay.yaml", b"listeners: \xff\xfe\n");
    assert!(
        load(&path)
            .expect_err("it is not UTF-8")
            .to_string()
            .contains("line 1 is not UTF-8\n   = save the file as UTF-8")
    );
}

#[test]
fn huge_files() {
    refused(&"# comment\n".repeat(1_000_000), "larger than 4MiB");
    let directory = Directory::new();
    let path = directory.write("mainstay.yaml", vec![b'#'; 5 * 1024 * 1024]);
    assert!(load(&path).expect_err("it is too large").to_string().contains("larger than 4MiB\n   = split it"));
    assert!(
        load(std::path::Path::new("/dev/zero"))
            .expect_err("it never ends")
            .to_string()
            .contains("larger than 4MiB\n   = split it")
    );
}

#[test]
fn many_errors_are_counted_not_printed() {
    let mut text = EXAMPLE.to_owned();
    for number in 0..10_000 {
        let _ = writeln!(text, "key{number}: 1");
    }
    refused(&text, "and 9980 more");
}

#[test]
fn long_lines_are_cropped_around_the_place() {
    let padding = " ".repeat(100_000);
    refused(&format!("{EXAMPLE}drain: {{{padding}delai: 1s{padding}}}\n"), "^^^^^ did you mean `delay`?");
}

#[test]
fn empty_documents() {
    for text in ["", "\n\n", "# only a comment\n", "---\n", "~\n"] {
        refused(text, "this configuration is empty");
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_fine() {
    assert!(try_parse(&format!("\u{feff}{EXAMPLE}")).is_ok());
    assert!(try_parse(&EXAMPLE.replace('\n', "\r\n")).is_ok());
}

#[test]
fn five_thousand_routes_are_fine() {
    let (head, tail) = EXAMPLE.split_once("routes:\n").expect("the example has routes");
    let mut text = format!("{head}routes:\n");
    for number in 0..5_000 {
        let _ = writeln!(
            text,
            "  - {{ match: {{ path: /route/{number}/{{id}}, methods: [GET] }}, upstream: app, policy: read }}"
        );
    }
    text.push_str(tail);
    let loaded = try_parse(&text.replace("{id}", "x")).expect("it is valid");
    assert_eq!(loaded.config.routes.len(), 5_002);
}
