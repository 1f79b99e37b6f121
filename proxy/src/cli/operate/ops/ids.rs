//! Ids as people read and type them.

use http::StatusCode;
use serde_json::Value;

use super::super::{
    client::{Client, ClientError, query_string},
    items, names_of,
    text::cell,
};
use crate::config::suggest;

/// Digits of a whole id, and of its number.
const WHOLE: usize = 32;
const NUMBER: usize = 16;
/// Operations that are named where a beginning leads to several.
const NAMED: usize = 5;

/// The id as tables show it: its number without zeros, and four digits of its tag.
pub(in crate::cli::operate) fn short(id: &str) -> String {
    match (id.get(..NUMBER), id.get(NUMBER..NUMBER + 4)) {
        (Some(number), Some(tag)) => format!("{}-{tag}", trimmed(number)),
        _ => id.to_owned(),
    }
}

/// Its number alone, which leads to no other.
fn shortest(id: &str) -> String {
    id.get(..NUMBER).map_or_else(|| id.to_owned(), |number| trimmed(number).to_owned())
}

fn trimmed(number: &str) -> &str {
    let trimmed = number.trim_start_matches('0');
    if trimmed.is_empty() { "0" } else { trimmed }
}

/// The whole id of which `text` is the beginning. Its whole number names an operation, whatever other numbers begin so.
pub(in crate::cli::operate) async fn whole(client: &Client, text: &str) -> Result<String, ClientError> {
    if text.len() == WHOLE && text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Ok(text.to_owned());
    }
    let query = query_string(&[("id_prefix", text.to_owned()), ("limit", (NAMED + 1).to_string())]);
    let found = match client.get(&format!("/operations?{query}")).await {
        Ok(found) => found.document,
        // No id begins so, in the words of the interface.
        Err(ClientError::Refused { status: StatusCode::BAD_REQUEST, .. }) => Value::Null,
        Err(error) => return Err(error),
    };
    let found = names_of(items(&found, "operations"), "id");
    if found.is_empty() {
        let near = near(client, text).await;
        return Err(ClientError::NotFound(format!(
            "there is no operation whose id begins with {text}{near}\nFrom a caller's key: {}",
            find_by(text)
        )));
    }
    choose(text, &found)
}

/// A key was given for an id.
pub(super) fn by_key(key: &str) -> ClientError {
    ClientError::Usage(format!(
        "an act is on an operation that is named by its id; a key leads to it: {}",
        find_by(key)
    ))
}

/// What leads from a key to its operations.
fn find_by(key: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.:/@%+=,".contains(c);
    let key = if key.chars().all(is_plain) { key.to_owned() } else { format!("'{}'", key.replace('\'', r"'\''")) };
    format!("mainstay ops find --key {key}")
}

/// An operation of the same number, if there is one among those that are open or came last: another number is another write.
async fn near(client: &Client, text: &str) -> String {
    let mut names = Vec::new();
    for query in ["open=true&limit=200", "order=newest&limit=200"] {
        if let Ok(found) = client.get(&format!("/operations?{query}")).await {
            names.extend(names_of(items(&found.document, "operations"), "id").iter().map(|id| short(id)));
        }
    }
    meant(text, &names).map(|cure| format!("; {cure}")).unwrap_or_default()
}

fn meant(text: &str, names: &[String]) -> Option<String> {
    let number = |text: &str| trimmed(text.split('-').next().unwrap_or_default()).to_ascii_lowercase();
    suggest(text, names.iter().map(String::as_str).filter(|name| number(name) == number(text)))
}

fn choose(text: &str, found: &[String]) -> Result<String, ClientError> {
    let number = text.split('-').next().unwrap_or_default().to_ascii_lowercase();
    let mut exact = found.iter().filter(|id| shortest(id) == trimmed(&number));
    if let (Some(id), None) = (exact.next(), exact.next()) {
        return Ok(id.clone());
    }
    match found {
        [] => Err(ClientError::NotFound(format!("there is no operation whose id begins with {text}"))),
        [id] => Ok(id.clone()),
        several => {
            let mut names: Vec<String> = several.iter().take(NAMED).map(|id| short(id)).collect();
            if several.len() > NAMED {
                names.push("more".into());
            }
            Err(ClientError::NotFound(format!("{text} may be any of {}: write more of it", names.join(", "))))
        }
    }
}

/// What a document calls an operation, short.
pub(super) fn short_of(document: &Value) -> String {
    short(&cell(&document["id"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "00000000000000d4aab7000000000001";

    #[test]
    fn ids_are_short_where_they_are_read_and_shorter_where_they_are_typed() {
        assert_eq!((short(ID).as_str(), shortest(ID).as_str()), ("d4-aab7", "d4"));
        assert_eq!(short("nonsense"), "nonsense");
    }

    #[test]
    fn a_whole_number_is_unambiguous_and_a_beginning_only_if_nothing_else_begins_so() {
        let other = "0000000000000d4fbbbb000000000001";
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(choose("d4", &ids(&[ID, other])).unwrap(), ID);
        assert_eq!(choose("D4-aab7", &ids(&[ID])).unwrap(), ID);
        assert_eq!(choose("d", &ids(&[ID])).unwrap(), ID);
        let several = choose("d", &ids(&[ID, other])).unwrap_err().to_string();
        assert_eq!(several, "d may be any of d4-aab7, d4f-bbbb: write more of it");
        assert!(choose("e", &[]).is_err());
    }

    #[test]
    fn what_was_meant_has_the_same_number() {
        let names = ["12-7f9f", "2-7fff"].map(str::to_owned);
        assert_eq!(meant("2-ffff", &names[..1]), None, "another write");
        assert_eq!(meant("2-ffff", &names).as_deref(), Some("did you mean `2-7fff`?"));
        assert_eq!(meant("02-7FFE", &names).as_deref(), Some("did you mean `2-7fff`?"));
    }

    #[test]
    fn a_key_that_is_taken_for_an_id_leads_to_the_command_that_takes_keys() {
        assert_eq!(find_by("order-4711"), "mainstay ops find --key order-4711");
        assert_eq!(find_by("it's \"x\""), r#"mainstay ops find --key 'it'\''s "x"'"#);
        assert_eq!(by_key("k").exit_code(), 2);
    }
}
