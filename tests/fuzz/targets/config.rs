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
            assert_eq!(config::check::bounds(&first.config).len(), first.config.routes.len());
            assert!(first.findings.iter().all(|finding| !finding.text().is_empty()));
            // What is shown is the whole configuration: read again, it is the same one.
            let shown = config::show(&first.config);
            match config::parse("shown.yaml", &shown) {
                Ok(read) => assert_eq!(read.config, first.config, "{shown}"),
                Err(errors) => panic!("what is shown is refused:\n{errors}\n{shown}"),
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
