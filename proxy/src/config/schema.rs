//! The JSON Schema from which editors complete and check a configuration.
//!
//! It comes from the same declarations that read the document, so it knows every key; references between sections, ranges
//! that need two values and units beyond their spelling are left to `mainstay check`.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::raw::Root;

/// What the schema is called. It names this version's, and leads nowhere: the program prints it.
const ID: &str = concat!("urn:mainstay:configuration:", env!("CARGO_PKG_VERSION"));

/// JSON Schema, draft 2020-12.
pub fn schema() -> Value {
    let mut schema = SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Root>();
    schema.insert("title".into(), "Mainstay".into());
    schema.insert("$id".into(), ID.into());
    schema.to_value()
}
