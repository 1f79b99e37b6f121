//! Asking back before what cannot be taken back.

use std::{io::IsTerminal, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    super::{
        ClientError,
        client::Client,
        text::{cell, long_age},
    },
    ids, path,
    words::phrase,
};
use crate::config::{format_duration, parse_duration};

/// What becomes of the callers of writes that are said to have had no effect; `None` for a word that lets nothing happen again.
fn follows(state: &str, is_one: bool) -> Option<&'static str> {
    Some(match (state, is_one) {
        ("not_executed", true) => "the next repeat of it is SENT AND EXECUTES",
        ("not_executed", false) => "the next repeat of each is SENT AND EXECUTES",
        ("failed", true) => "its caller is told that nothing was done and that a new key is safe",
        ("failed", false) => "each caller is told that nothing was done and that a new key is safe",
        _ => return None,
    })
}

/// Whether that word needs a person who is sure.
pub(super) fn is_grave(state: &str) -> bool {
    follows(state, true).is_some()
}

/// Asks back, where somebody can answer, before writes are said to have had no effect. Where nobody can, one that is named is taken
/// at its word.
///
/// # Errors
/// It is not meant, or several are named and nobody can be asked.
pub(super) async fn of_effect(client: &Client, ids: &[String], state: &str) -> Result<(), ClientError> {
    let can_answer = std::io::stdin().is_terminal();
    if !is_grave(state) || (ids.len() == 1 && !can_answer) {
        return Ok(());
    }
    let mut operations = Vec::new();
    for id in ids {
        let document = client.get(&path(id, "")).await?.document;
        // What is settled already, or in flight, is refused without a question.
        if document["can_be_resolved"] == true {
            let within = within(client, &document).await;
            operations.push((document, within));
        }
    }
    let Some(word) = last_word(state, &operations, Timestamp::now()) else { return Ok(()) };
    if !can_answer {
        return Err(ClientError::Usage(format!("{word}. Nothing was done: say --yes")));
    }
    answered(&format!("{word}.\nNothing was done yet. Type yes to say so: "), "yes")
}

/// How long after its dispatch a write may be on its way, as the configuration in force tells.
async fn within(client: &Client, operation: &Value) -> Option<Duration> {
    let in_force = client.get("/config").await.ok()?.document;
    let policy = &in_force["effective"]["policies"][cell(&operation["policy"])];
    let times = [&policy["idempotency"]["status"]["settle_after"], &policy["timeout"]["total"]];
    times.into_iter().filter_map(|time| parse_duration(time.as_str()?).ok()).max()
}

/// What is about to be said for good, what follows, and which of the writes may be on their way; `None` if nothing of it is grave.
fn last_word(state: &str, operations: &[(Value, Option<Duration>)], now: Timestamp) -> Option<String> {
    let then = follows(state, operations.len() == 1).filter(|_| !operations.is_empty())?;
    let names: Vec<String> = operations.iter().map(|(operation, _)| ids::short_of(operation)).collect();
    let mut word = format!(
        "{} will be {} for good, and {then}: look into the service first",
        names.join(", "),
        phrase(state).to_uppercase()
    );
    for ((operation, within), name) in operations.iter().zip(&names) {
        let mut history = operation["history"].as_array().into_iter().flatten();
        let Some(sent) = history.rfind(|event| event["event"] == "dispatched") else { continue };
        let at = sent["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        let since = at.and_then(|at| Duration::try_from(now.duration_since(at)).ok());
        if let (Some(since), Some(within)) = (since, within)
            && since < *within
        {
            let (ago, within) = (long_age(&sent["at"], now), format_duration(*within));
            let begun = format!(". {name} was dispatched {ago} ago and MAY STILL BE ON ITS WAY");
            word.extend([begun.as_str(), ": its policy allows it ", &within, ", so wait"]);
        }
    }
    Some(word)
}

/// What taking its flag away does to a write that was called undone, and then was heard of.
pub(super) fn danger(document: &Value) -> Option<String> {
    document["attention"]["heard"].as_str()?;
    let then = follows(document["state"].as_str()?, true)?;
    let (id, state) = (ids::short_of(document), phrase(&cell(&document["state"])));
    Some(format!(
        "{id} was settled as {state}, and then the opposite was heard. Once its flag is gone, {then}: take the effect back in \
         the service first. If you let it stand, leave the flag: repeats get 409 until then"
    ))
}

/// Asks back, where somebody can answer, whether a person means it.
///
/// # Errors
/// It is not meant, or nobody can be asked.
pub(super) fn taken_back(danger: &str) -> Result<(), ClientError> {
    if !std::io::stdin().is_terminal() {
        return Err(ClientError::Usage(format!("{danger}. Nothing was done: say --yes when you have taken it back")));
    }
    answered(&format!("{danger}.\nType yes if you have taken it back: "), "yes")
}

/// Asks back, where somebody can answer, whether all that match are meant.
///
/// # Errors
/// They are not, or nobody can be asked.
pub(super) fn of_all(preview: &Value, state: Option<&str>) -> Result<(), ClientError> {
    let shown = previewed(preview, state);
    if !std::io::stdin().is_terminal() {
        return Err(ClientError::Usage(format!("{shown}. Say --yes to act on all of them")));
    }
    let matched = cell(&preview["matched"]);
    answered(&format!("{shown}.\nType {matched} to act on all of them: "), &matched)
}

/// Which match, and what is about to be said of them.
fn previewed(preview: &Value, state: Option<&str>) -> String {
    let states = preview["by_state"].as_object().into_iter().flatten();
    let states: Vec<String> = states.map(|(state, count)| format!("{count} {state}")).collect();
    let sample = named(preview);
    let shown = format!("{} match: {}; such as {}", cell(&preview["matched"]), states.join(", "), sample.join(", "));
    let word = state.map(|state| {
        let then = follows(state, false).unwrap_or("each repeat is told that it was done");
        format!(".\nEach is about to be {} for good, and {then}", phrase(state).to_uppercase())
    });
    format!("{shown}{}.\nNothing was done yet: leaving --yes off is the preview", word.unwrap_or_default())
}

/// Some of those that match.
pub(super) fn named(preview: &Value) -> Vec<String> {
    preview["sample"].as_array().into_iter().flatten().map(|id| ids::short(&cell(id))).collect()
}

/// # Errors
/// Anything else was typed.
fn answered(question: &str, expected: &str) -> Result<(), ClientError> {
    let mut typed = String::new();
    eprint!("{question}");
    let read = std::io::stdin().read_line(&mut typed);
    if read.is_ok() && typed.trim() == expected {
        return Ok(());
    }
    Err(ClientError::Usage("nothing was done".into()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whoever_takes_a_flag_away_is_told_before_what_that_does_to_the_key() {
        let of = |state: &str, heard: Value| json!({ "id": "x", "state": state, "attention": { "heard": heard } });
        let told = danger(&of("not_executed", "succeeded".into())).expect("a repeat would execute");
        assert!(told.contains("settled as not executed") && told.contains("SENT AND EXECUTES"), "{told}");
        assert!(danger(&of("failed", "succeeded".into())).is_some_and(|told| told.contains("a new key is safe")));
        assert_eq!(danger(&of("succeeded", "failed".into())), None, "what was said to be done is not sent again");
        assert_eq!(danger(&of("not_executed", Value::Null)), None);
    }

    #[test]
    fn a_word_that_cannot_be_taken_back_comes_with_what_follows_and_with_what_may_be_on_its_way() {
        let now = "2026-11-24T15:40:00Z".parse().unwrap();
        let of = |id: &str, sent: &str| {
            let history =
                json!([{ "at": "2026-11-24T12:00:00Z", "event": "dispatched" }, { "at": sent, "event": "dispatched" }]);
            (json!({ "id": id, "history": history }), Some(Duration::from_mins(1)))
        };
        let young = of("00000000000000d4aab7000000000001", "2026-11-24T15:39:26Z");
        let told = last_word("failed", std::slice::from_ref(&young), now).expect("it is grave");
        assert!(
            told.starts_with("d4-aab7 will be FAILED for good, and its caller is told that nothing was done"),
            "{told}"
        );
        assert!(
            told.contains("d4-aab7 was dispatched 34 s ago and MAY STILL BE ON ITS WAY: its policy allows it 1m"),
            "{told}"
        );
        let old = of("00000000000000d5bbbb000000000001", "2026-11-24T15:39:00Z");
        let told = last_word("not_executed", std::slice::from_ref(&old), now).expect("it is grave");
        assert!(told.contains("the next repeat of it is SENT AND EXECUTES") && !told.contains("ON ITS WAY"), "{told}");
        let told = last_word("not_executed", &[young.clone(), old], now).expect("it is grave");
        assert!(
            told.starts_with("d4-aab7, d5-bbbb will be NOT EXECUTED for good, and the next repeat of each"),
            "{told}"
        );
        assert!(told.contains(". d4-aab7 was") && !told.contains(". d5-bbbb was"), "{told}");
        assert_eq!(last_word("succeeded", &[young], now), None, "nothing happens again");
        assert_eq!(last_word("failed", &[], now), None);
    }

    #[test]
    fn a_preview_of_many_says_what_is_about_to_be_said_of_them_and_that_nothing_was_done() {
        let preview =
            json!({ "matched": 7, "by_state": { "unknown": 7 }, "sample": ["00000000000000d4aab7000000000001"] });
        for (state, then) in [
            (Some("failed"), "Each is about to be FAILED for good, and each caller is told that nothing was done"),
            (Some("not_executed"), "NOT EXECUTED for good, and the next repeat of each is SENT AND EXECUTES"),
            (Some("succeeded"), "SUCCEEDED for good, and each repeat is told that it was done"),
            (None, "Nothing was done yet"),
        ] {
            let told = previewed(&preview, state);
            assert!(told.starts_with("7 match: 7 unknown; such as d4-aab7.\n") && told.contains(then), "{told}");
            assert!(told.ends_with("Nothing was done yet: leaving --yes off is the preview"), "{told}");
            assert_eq!(told.contains("for good"), state.is_some(), "{told}");
        }
    }
}
