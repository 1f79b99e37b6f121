//! `mainstay explain`: what a finding or a problem means, and what to do about it, without a network.

use std::{fmt::Write as _, process::ExitCode};

use clap::Args;
use mainstay_policies::problem::Problem;

use super::output::{fail, print};
use crate::{config::suggest, respond};

/// The page of findings that the documents have: this program's own.
const FINDINGS: &str = include_str!("../../../docs/reference/findings.md");
/// What the page's sections of findings are about, by their heading.
const SEVERITIES: [(&str, &str); 3] = [("Errors", "error"), ("Warnings", "warning"), ("Notes", "note")];

/// What is to be explained.
#[derive(Args)]
#[command(after_help = "Examples:\n  mainstay explain doubt-without-status\n  mainstay explain outcome-unknown")]
pub struct ExplainCommand {
    /// A finding's code (doubt-without-status) or a problem's (outcome-unknown). Without one: all of them
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

/// Prints what is known of a code; exit code 1 if there is none of that name.
pub fn explain(command: &ExplainCommand) -> ExitCode {
    let Some(code) = &command.code else { return print(everything().trim_end()) };
    let known: Vec<String> = [finding(code), problem(code)].into_iter().flatten().collect();
    if known.is_empty() {
        let names = findings().map(|(_, code, _)| code).chain(Problem::ALL.iter().map(|problem| problem.slug()));
        let cure = suggest(code, names).unwrap_or_else(|| "`mainstay explain` lists all".to_owned());
        return fail(format_args!("mainstay: there is no finding and no problem `{code}`; {cure}"));
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
    let mut page = format!("{code}: {severity} of a configuration\n");
    let mut is_sample = false;
    for line in text.lines() {
        // Writing to a String does not fail.
        let _ = match (line.starts_with("```"), is_sample) {
            (true, false) => writeln!(page, "For example:\n"),
            (true, true) => Ok(()),
            (false, true) => writeln!(page, "  {line}"),
            (false, false) => writeln!(page, "{line}"),
        };
        is_sample ^= line.starts_with("```");
    }
    Some(page.trim_end().to_owned())
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
    fn a_sample_is_set_apart_without_its_fence() {
        let page = finding("unknown-key").unwrap();
        assert!(page.contains("For example:\n\n  policies: { p: { timout: 1s } }"), "{page}");
        assert!(!page.contains("```"), "{page}");
    }
}
