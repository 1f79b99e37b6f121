//! Names that come back from callers: operation ids and problem slugs. Each text has at most one reading, and what is
//! accepted is written back exactly as it came.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mainstay_policies::{operation::OperationId, problem::Problem};

fuzz_target!(|text: &str| {
    if let Ok(id) = text.parse::<OperationId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Some(problem) = Problem::from_slug(text) {
        assert_eq!(problem.slug(), text);
    }
});
