//! Configuration files. Any text gives a configuration or errors that can be shown, the same each time.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mainstay::config;

fuzz_target!(|text: &str| {
    let first = config::parse("fuzz.yaml", text);
    let again = config::parse("fuzz.yaml", text);
    match (first, again) {
        (Ok(first), Ok(again)) => {
            assert_eq!(first.config, again.config);
            assert!(!first.config.listeners.is_empty(), "nothing would be served");
            for warning in &first.warnings {
                assert!(!warning.to_string().is_empty());
            }
        }
        (Err(first), Err(again)) => {
            let shown = first.to_string();
            assert!(shown.contains("fuzz.yaml"), "an error without its file: {shown}");
            assert_eq!(shown, again.to_string());
        }
        _ => panic!("accepted once and refused once"),
    }
});
