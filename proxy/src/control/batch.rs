//! `POST operations:batchGet`

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    CallerRequest,
    operations::{Found, find, key_of},
};
use crate::api::{Fault, document, reply::Reply};

/// Keys in one request at most.
const MAX_KEYS: usize = 100;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    keys: Vec<String>,
    upstream: Option<String>,
}

/// The operations of several keys, in the order asked for.
pub(super) async fn get(asked: &CallerRequest<'_>, body: &Bytes) -> Result<Reply, Fault> {
    let wanted: Wanted = serde_json::from_slice(body)
        .map_err(|_| Fault::bad(r#"The body is JSON of the form {"keys": ["..."], "upstream": "optional name"}."#))?;
    if wanted.keys.len() > MAX_KEYS {
        return Err(Fault::bad(format!("At most {MAX_KEYS} keys can be asked for at once.")));
    }
    let mut items = Vec::with_capacity(wanted.keys.len());
    for (index, key) in wanted.keys.iter().enumerate() {
        items.push(item(asked, key, index, wanted.upstream.as_deref()).await?);
    }
    Ok(Reply::json(&json!({ "operations": items })).private())
}

/// One that is not there says which it is by its place among the keys: it has no other name.
async fn item(asked: &CallerRequest<'_>, key: &str, index: usize, upstream: Option<&str>) -> Result<Value, Fault> {
    // No operation has a key that is none.
    let Ok(key) = key_of(key) else { return Ok(json!({ "not_found": true, "key_index": index })) };
    Ok(match find(asked, &key, upstream).await? {
        Found::One(operation) => document::of_operation(&operation),
        Found::None | Found::Hidden => json!({ "not_found": true, "key_index": index }),
        Found::Several => json!({ "key_ambiguous": true, "key_index": index }),
    })
}
