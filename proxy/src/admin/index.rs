//! `GET /`: what is served here, as the `OpenAPI` document has it.

use serde_json::{Value, json};

use super::views::OPENAPI;
use crate::api::reply::Reply;

/// Every address with its methods.
pub(super) fn index() -> Reply {
    let described: Value = serde_json::from_str(OPENAPI).unwrap_or_default();
    let paths = described["paths"].as_object().into_iter().flatten();
    let documents: Vec<Value> = paths
        .flat_map(|(path, methods)| {
            methods.as_object().into_iter().flatten().map(move |(method, operation)| {
                json!({ "path": path, "method": method.to_uppercase(), "summary": operation["summary"] })
            })
        })
        .collect();
    let version = env!("CARGO_PKG_VERSION");
    Reply::json(&json!({ "name": super::status::name(), "version": version, "documents": documents })).no_store()
}
