//! Names that are nearly right: a listing that is empty because of one is no answer.

use super::{
    super::{ClientError, Session, items, names_of},
    list::Which,
};
use crate::config::suggest;

/// Refuses a name that no route of the configuration has, and says which was meant.
///
/// # Errors
/// There is no route, upstream or policy of that name.
pub(super) async fn known(session: &Session, which: &Which) -> Result<(), ClientError> {
    let given = [
        ("route", "name", &which.route),
        ("upstream", "upstream", &which.upstream),
        ("policy", "policy", &which.policy),
    ];
    if given.iter().all(|(_, _, name)| name.is_none()) {
        return Ok(());
    }
    let document = session.client.get("/routes").await?.document;
    for (kind, member, name) in given {
        let Some(name) = name else { continue };
        let names = names_of(items(&document, "routes"), member);
        if !names.contains(name) {
            let cure = suggest(name, names.iter().map(String::as_str));
            let cure = cure.unwrap_or_else(|| "`mainstay routes` shows what there is".into());
            return Err(ClientError::NotFound(format!("no operations, and there is no {kind} `{name}`; {cure}")));
        }
    }
    Ok(())
}
