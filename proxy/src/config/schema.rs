//! The JSON Schema from which editors complete and check a configuration.
//!
//! It comes from the same declarations that read the document, so it knows every key; references between sections, ranges
//! that need two values and units beyond their spelling are left to `mainstay check`.

use serde_json::{Value, json};

use super::{definitions::Definitions, raw::Root};

/// What the schema is called. It names this version's, and leads nowhere: the program prints it.
const ID: &str = concat!("urn:mainstay:configuration:", env!("CARGO_PKG_VERSION"));

/// JSON Schema, draft 2020-12.
pub fn schema() -> Value {
    let mut definitions = Definitions::default();
    let root = Root::describe(&mut definitions);
    let mut schema =
        json!({ "$schema": "https://json-schema.org/draft/2020-12/schema", "$id": ID, "title": "Mainstay" });
    if let (Value::Object(schema), Value::Object(root)) = (&mut schema, root) {
        schema.extend(root);
        schema.insert("$defs".into(), definitions.into_sections().into());
    }
    schema
}
