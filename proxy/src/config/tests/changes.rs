//! What a reload changed, in words.

use super::{good::EXAMPLE, parse};
use crate::config::changes;

#[test]
fn each_setting_that_differs_is_named_with_both_values() {
    let before = parse(EXAMPLE);
    assert_eq!(changes(&before, &before), Vec::<String>::new());
    for (from, to, expected) in [
        ("timeout: 1s, retry: 3", "timeout: 2s, retry: 3", "policies.read.timeout.total: 1s -> 2s"),
        ("rate_limit: 500/s,", "", "policies.read.rate_limit: "),
        (
            "http://127.0.0.1:9000",
            "http://127.0.0.1:9001",
            "upstreams.app.endpoints[0]: http://127.0.0.1:9000 -> http://127.0.0.1:9001",
        ),
    ] {
        let after = parse(&EXAMPLE.replace(from, to));
        let found = changes(&before, &after);
        assert!(found.len() == 1 && found[0].starts_with(expected), "{found:?}");
    }
}
