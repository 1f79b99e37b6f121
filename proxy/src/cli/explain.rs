//! `mainstay explain`: what a finding, a problem or an alert means, and what to do about it, without a network.

use std::{fmt::Write as _, process::ExitCode};

use clap::Args;
use mainstay_policies::problem::Problem;

use super::output::{fail, print};
use crate::{config::suggest, respond};

/// The page of findings that the documents have: this program's own.
const FINDINGS: &str = include_str!("../../../docs/reference/findings.md");
/// What to do when somebody is called, by alert and by the reason why a write waits.
const RUNBOOK: &str = include_str!("../../../docs/runbook.md");
/// How the runbook's headings of such a reason begin.
const ATTENTION: &str = "Attention: ";
/// What the page's sections of findings are about, by their heading.
const SEVERITIES: [(&str, &str); 3] = [("Errors", "error"), ("Warnings", "warning"), ("Notes", "note")];

/// What is to be explained.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  mainstay explain doubt-without-status\n  mainstay explain MainstayWritesNeedAPerson"
)]
pub struct ExplainCommand {
    /// A finding's code (doubt-without-status), a problem's (outcome-unknown), an alert's name, or why a write needs a person
    /// (conflict). Without one: all of them
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

/// Prints what is known of a code; exit code 1 if there is none of that name.
pub fn explain(command: &ExplainCommand) -> ExitCode {
    let Some(code) = &command.code else { return print(everything().trim_end()) };
    let known: Vec<String> = [finding(code), problem(code), called(code)].into_iter().flatten().collect();
    if known.is_empty() {
        let problems = Problem::ALL.iter().map(|problem| problem.slug());
        let names = findings().map(|(_, code, _)| code).chain(problems).chain(calls().map(|(name, _)| name));
        let cure = suggest(code, names).unwrap_or_else(|| "`mainstay explain` lists all".to_owned());
        return fail(format_args!("mainstay: there is no finding, no problem and no alert `{code}`; {cure}"));
    }
    print(known.join("\n\n"))
}

/// Severity, code and text of each.
fn findings() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let chapters = FINDINGS.split("\n## ").skip(1);
    chapters.flat_map(|chapter| {
        let heading = chapter.lines().next().unwrap_or_default();
        let severity = SEVERITIES.iter().find(|(known, _)| *known == heading).map_or(heading, |(_, word)| word);
        chapter.split("\n### ").skip(1).map(move |section| {
            let (code, text) = section.split_once('\n').unwrap_or((section, ""));
            (severity, code.trim(), text.trim())
        })
    })
}

fn finding(code: &str) -> Option<String> {
    let (severity, code, text) = findings().find(|(_, known, _)| *known == code)?;
    Some(format!("{code}: {severity} of a configuration\n{}", plain(text, "For example:\n\n")))
}

/// A page's text without its fences, each sample under what is said before it.
fn plain(text: &str, before: &str) -> String {
    let mut page = String::new();
    let mut is_sample = false;
    for line in text.lines() {
        match (line.starts_with("```"), is_sample) {
            (true, false) => page.push_str(before),
            (true, true) => {}
            (false, true) => page.extend(["  ", line, "\n"]),
            (false, false) => page.extend([line, "\n"]),
        }
        is_sample ^= line.starts_with("```");
    }
    page.trim_end().to_owned()
}

/// The runbook's sections that somebody is called for: an alert's, and that of each reason why a write needs a person.
fn calls() -> impl Iterator<Item = (&'static str, &'static str)> {
    let sections = RUNBOOK.split("\n## ").skip(1).filter_map(|section| section.split_once('\n'));
    sections.filter_map(|(heading, text)| {
        let is_alert = heading.starts_with("Mainstay") && !heading.contains(' ');
        let name = heading.strip_prefix(ATTENTION).or_else(|| is_alert.then_some(heading))?;
        Some((name, text.trim()))
    })
}

fn called(name: &str) -> Option<String> {
    let (_, text) = calls().find(|(known, _)| *known == name)?;
    // Where a link leads is no use on a terminal; what it leads to has the name that its words are.
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("](") {
        let (words, link) = (before.rsplit_once('['), after.split_once(')'));
        let (Some((before, words)), Some((_, after))) = (words, link) else { break };
        shown.extend([before, words]);
        rest = after;
    }
    shown.push_str(rest);
    Some(format!("{name}: what to do about it, from the runbook\n\n{}", plain(&shown, "").replace("**", "")))
}

fn problem(slug: &str) -> Option<String> {
    let problem = Problem::from_slug(slug)?;
    let (meaning, cure) = respond::explain::explain(problem);
    Some(format!(
        "{slug}: {}, an answer of the proxy's own with the status {}\n\n{meaning}\n\n{cure}",
        problem.title(),
        problem.status().as_u16(),
    ))
}

fn everything() -> String {
    let mut list = String::new();
    for (heading, severity) in SEVERITIES {
        let _ = writeln!(list, "{heading} of a configuration:");
        for (_, code, text) in findings().filter(|(of, _, _)| *of == severity) {
            let _ = writeln!(list, "  {code:<25}{}", first_sentence(text));
        }
        list.push('\n');
    }
    list.push_str("Problems, as callers see them in Mainstay-Error:\n");
    for problem in Problem::ALL {
        let _ = writeln!(list, "  {:<25}{}", problem.slug(), problem.title());
    }
    list.push_str("\nAlerts, and why a write needs a person:\n");
    for (name, _) in calls() {
        let _ = writeln!(list, "  {name}");
    }
    list
}

fn first_sentence(text: &str) -> &str {
    let line = text.lines().next().unwrap_or_default();
    line.split_once(". ").map_or(line, |(first, _)| first).trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_and_every_problem_is_explained() {
        let codes: Vec<_> = findings().collect();
        assert!(codes.len() > 35 && codes.iter().all(|(severity, ..)| SEVERITIES.iter().any(|(_, it)| it == severity)));
        for (_, code, _) in codes {
            assert!(finding(code).is_some_and(|page| page.lines().count() >= 2), "{code}");
        }
        for name in Problem::ALL {
            assert!(problem(name.slug()).is_some_and(|page| page.lines().count() == 5), "{}", name.slug());
        }
    }

    #[test]
    fn what_the_runbook_says_of_a_call_is_told_without_its_marks() {
        let names: Vec<_> = calls().map(|(name, _)| name).collect();
        assert!(names.len() > 15 && names.contains(&"resolve_exhausted") && names.contains(&"conflict"), "{names:?}");
        for name in names {
            let page = called(name).unwrap();
            assert!(!page.contains("```") && !page.contains("](") && page.contains("Meaning."), "{page}");
        }
        let page = called("MainstayLedgerNotWritable").unwrap();
        assert!(page.contains("By cause: disk full, damaged ledger, the database is down"), "{page}");
        let page = called("resolve_exhausted").unwrap();
        assert!(page.contains("\n  mainstay ops show ID"), "{page}");
    }

    #[test]
    fn a_sample_is_set_apart_without_its_fence() {
        let page = finding("unknown-key").unwrap();
        assert!(page.contains("For example:\n\n  policies: { p: { timout: 1s } }"), "{page}");
        assert!(!page.contains("```"), "{page}");
    }
}
