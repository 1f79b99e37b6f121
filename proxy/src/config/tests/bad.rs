//! What is refused, and exactly what is said: `bad.txt` is the table.
//!
//! Each case is `### title`, the document, `>>>`, the message. Sections that a configuration cannot do without are added
//! below the document where it has none, so that each case shows only what it is about; a title that ends in `(whole)` is
//! left alone.

use super::try_parse;

const TABLE: &str = include_str!("bad.txt");

const NEEDED: [(&str, &str); 3] = [
    ("listeners:", "listeners: { default: { address: 0.0.0.0:80 } }"),
    ("upstreams:", "upstreams: { app: { endpoints: [http://127.0.0.1:9000] } }"),
    ("routes:", "routes: [{ match: /**, upstream: app }]"),
];

struct Case<'a> {
    title: &'a str,
    document: &'a str,
    message: &'a str,
}

fn cases() -> impl Iterator<Item = Case<'static>> {
    TABLE.split("### ").skip(1).map(|case| {
        let (title, rest) = case.split_once('\n').expect("a title ends its line");
        let (document, message) = rest.split_once("\n>>>\n").expect("a document ends with >>>");
        Case { title, document, message: message.trim_end() }
    })
}

fn complete(case: &Case<'_>) -> String {
    let mut document = format!("{}\n", case.document);
    if !case.title.ends_with("(whole)") {
        for (key, section) in NEEDED {
            if !case.document.lines().any(|line| line.starts_with(key)) {
                document.push_str(section);
                document.push('\n');
            }
        }
    }
    document
}

#[test]
fn each_bad_document_gets_its_exact_message() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for case in cases() {
        count += 1;
        let said = match try_parse(&complete(&case)) {
            Ok(_) => "accepted".to_owned(),
            Err(errors) => errors.to_string(),
        };
        if said != case.message {
            wrong.push(format!(
                "### {}\n{}\n>>> expected\n{}\n>>> said\n{said}",
                case.title, case.document, case.message
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {count} differ:\n\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(count >= 60, "the table has {count} cases");
}

#[test]
fn each_error_has_a_cure_and_a_kind() {
    for case in cases() {
        let Err(errors) = try_parse(&complete(&case)) else { continue };
        for finding in errors.findings() {
            assert!(!finding.cure.is_empty(), "{}: {finding}", case.title);
            assert!(!finding.code.is_empty() && finding.line.is_some(), "{}: {finding}", case.title);
        }
    }
}

#[test]
fn no_two_cases_have_one_title() {
    let mut titles: Vec<&str> = cases().map(|case| case.title).collect();
    let all = titles.len();
    titles.sort_unstable();
    titles.dedup();
    assert_eq!(titles.len(), all);
}
