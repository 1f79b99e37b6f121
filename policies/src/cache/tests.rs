use std::{sync::Arc, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::time::Instant;

use super::*;
use crate::path::PathRule;

/// Sun, 06 Nov 1994 08:49:37 GMT
const WALL: u64 = 784_111_777_000;
const SECOND: Duration = Duration::from_secs(1);

fn headers(fields: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in fields {
        map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
    }
    map
}

fn stored_from(request: &[(&str, &str)], status: u16, response: &[(&str, &str)], now: Instant) -> Option<Stored> {
    let status = StatusCode::from_u16(status).unwrap();
    storable((&Method::GET, &headers(request)), (status, &headers(response)), Duration::ZERO, now, WALL, 0)
}

fn stored(response: &[(&str, &str)], now: Instant) -> Stored {
    stored_from(&[], 200, response, now).unwrap_or_else(|| panic!("not stored: {response:?}"))
}

#[test]
fn only_what_may_be_kept_is_kept() {
    let now = Instant::now();
    let fresh = ("cache-control", "max-age=60");
    let authorised = &[("authorization", "Bearer x")][..];
    for (request, status, response, kept) in [
        (&[][..], 200, &[fresh][..], true),
        (&[], 200, &[("cache-control", "no-store, max-age=60")], false),
        (&[], 200, &[("cache-control", "private, max-age=60")], false),
        (&[], 200, &[("cache-control", "private=\"x, y\", max-age=60")], false),
        (&[], 200, &[("cache-control", "ext=\"private, no-store\", max-age=60")], true),
        (&[("cache-control", "no-store")], 200, &[fresh], false),
        (&[], 200, &[], false),
        (&[], 200, &[("etag", "\"a\"")], true),
        (&[], 200, &[("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")], true),
        (&[], 500, &[("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")], false),
        (&[], 404, &[fresh], true),
        (&[], 503, &[fresh], true),
        (&[], 206, &[fresh], false),
        (&[], 304, &[fresh], false),
        (authorised, 200, &[fresh], false),
        (authorised, 200, &[("cache-control", "public, max-age=60")], true),
        (authorised, 200, &[("cache-control", "s-maxage=60")], true),
        (authorised, 200, &[("cache-control", "must-revalidate, max-age=60")], true),
        (&[], 200, &[fresh, ("set-cookie", "a=b")], false),
        (&[], 200, &[("cache-control", "public, max-age=60"), ("set-cookie", "a=b")], true),
        (&[], 200, &[fresh, ("vary", "*")], false),
        (&[], 200, &[fresh, ("vary", "accept, *")], false),
        (&[], 200, &[fresh, ("vary", "accept, foo bar")], false),
        (&[], 200, &[fresh, ("vary", "accept"), ("vary", "b\u{f6}se")], false),
        (&[], 200, &[fresh, ("vary", "accept,, origin,")], true),
        (&[], 200, &[("cache-control", "no-store, must-understand, max-age=60")], true),
        (&[], 599, &[("cache-control", "must-understand, max-age=60")], false),
    ] {
        assert_eq!(stored_from(request, status, response, now).is_some(), kept, "{request:?} {status} {response:?}");
    }
    let post = storable((&Method::POST, &headers(&[])), (StatusCode::OK, &headers(&[fresh])), SECOND, now, WALL, 0);
    assert!(post.is_none());
}

#[test]
fn an_answer_is_fresh_as_long_as_it_says() {
    let now = Instant::now();
    for (response, ttl) in [
        (&[("cache-control", "max-age=60")][..], 60),
        (&[("cache-control", "max-age=60, s-maxage=10")], 10),
        (&[("cache-control", "max-age=\"30\"")], 30),
        (&[("cache-control", "max-age=10"), ("cache-control", "max-age=99")], 10),
        (&[("cache-control", "max-age=99999999999999999999")], 1 << 31),
        (&[("cache-control", "max-age=x"), ("etag", "a")], 0),
        (&[("cache-control", "max-age=-1"), ("etag", "a")], 0),
        (&[("cache-control", "max-age=60"), ("age", "20")], 40),
        (&[("cache-control", "max-age=60"), ("date", "Sun, 06 Nov 1994 08:49:07 GMT")], 30),
        (&[("cache-control", "max-age=60"), ("date", "Sun, 06 Nov 1994 08:49:07 GMT"), ("age", "50")], 10),
        (&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")], 60),
        (&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT"), ("cache-control", "max-age=5")], 5),
        (&[("expires", "SUN, 06 nov 1994 08:50:37 gmt")], 60),
        (&[("expires", "Sunday, 06-Nov-94 08:50:37 GMT")], 60),
        (&[("expires", "Sun Nov  6 08:50:37 1994")], 60),
        (&[("expires", "Sun, 06 Nov 1994 08:50:37 UTC"), ("etag", "a")], 0),
        (&[("expires", "0"), ("etag", "a")], 0),
        (&[("expires", "Sun, 06 Nov 1994 08:00:00 GMT"), ("etag", "a")], 0),
        (&[("last-modified", "Sun, 06 Nov 1994 08:32:57 GMT")], 100),
        (&[("last-modified", "Tue, 06 Nov 1984 08:32:57 GMT")], 86_400),
    ] {
        assert_eq!(stored(response, now).ttl(now).as_secs(), ttl, "{response:?}");
    }
}

#[test]
fn what_may_be_answered_depends_on_both_sides() {
    let now = Instant::now();
    let check = |response: &str, request: &str, after: u64, expected: Verdict| {
        let stored = stored(&[("cache-control", response), ("etag", "\"a\"")], now);
        let request = if request.is_empty() { headers(&[]) } else { headers(&[("cache-control", request)]) };
        let verdict = stored.verdict(&request, &Cache::default(), now + Duration::from_secs(after));
        assert_eq!(verdict, expected, "{response} / {request:?} after {after} s");
    };
    let validate = |or_if_error| Verdict::Validate { or_if_error };
    check("max-age=60", "", 59, Verdict::Fresh);
    check("max-age=60", "", 60, validate(false));
    check("max-age=60", "no-cache", 1, validate(true));
    check("max-age=60", "max-age=10", 10, Verdict::Fresh);
    check("max-age=60", "max-age=10", 11, validate(true));
    check("max-age=60", "min-fresh=30", 30, Verdict::Fresh);
    check("max-age=60", "min-fresh=30", 31, validate(true));
    check("max-age=60", "max-stale", 999, Verdict::Fresh);
    check("max-age=60", "max-stale=10", 70, Verdict::Fresh);
    check("max-age=60", "max-stale=10", 71, validate(false));
    check("max-age=60, must-revalidate", "max-stale", 61, validate(false));
    check("s-maxage=60", "max-stale", 61, validate(false));
    check("max-age=60, no-cache", "", 1, validate(false));
    check("max-age=60, stale-if-error=10", "", 69, validate(true));
    check("max-age=60, stale-if-error=10", "", 71, validate(false));
    check("max-age=60, stale-while-revalidate=10", "", 69, Verdict::WhileRevalidating);
    check("max-age=60, stale-while-revalidate=10", "", 70, validate(false));
    check("max-age=60, stale-while-revalidate=10, must-revalidate", "", 61, validate(false));
    let policy = Cache { stale_if_error: 10 * SECOND, ..Cache::default() };
    let silent = stored(&[("cache-control", "max-age=60")], now);
    assert_eq!(silent.verdict(&headers(&[]), &policy, now + 65 * SECOND), validate(true));
}

#[test]
fn the_client_has_what_its_validators_name() {
    let now = Instant::now();
    let fresh = ("cache-control", "max-age=60");
    let tagged = stored(&[fresh, ("etag", "\"a\""), ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT")], now);
    for (request, has) in [
        (&[("if-none-match", "\"a\"")][..], true),
        (&[("if-none-match", "W/\"a\"")], true),
        (&[("if-none-match", "\"b\", \"a\"")], true),
        (&[("if-none-match", "*")], true),
        (&[("if-none-match", "\"b\"")], false),
        (&[("if-none-match", "\"b\""), ("if-modified-since", "Sun, 06 Nov 1994 08:49:37 GMT")], false),
        (&[("if-modified-since", "Sat, 05 Nov 1994 08:49:37 GMT")], true),
        (&[("if-modified-since", "Fri, 04 Nov 1994 08:49:37 GMT")], false),
        (&[("if-modified-since", "yesterday")], false),
        (&[], false),
    ] {
        assert_eq!(is_not_modified(&headers(request), &tagged), has, "{request:?}");
    }
}

#[test]
fn a_304_updates_the_headers_but_not_those_of_the_body() {
    let old =
        headers(&[("etag", "\"a\""), ("content-length", "5"), ("content-type", "text/a"), ("x", "1"), ("x", "2")]);
    let new = headers(&[("etag", "\"b\""), ("content-length", "0"), ("content-type", "text/b"), ("x", "3")]);
    let merged = refreshed(&old, &new);
    assert_eq!(merged, headers(&[("etag", "\"b\""), ("content-length", "5"), ("content-type", "text/a"), ("x", "3")]));
}

fn store() -> Store {
    Store::new(Cache { max_bytes: 100_000, ..Cache::default() })
}

fn key(store: &Store, target: &str) -> Key {
    let path = target.split('?').next().unwrap();
    store.key(&Arc::from("app"), b"", "host", target, path)
}

fn put(store: &Store, target: &str, request: &[(&str, &str)], response: &[(&str, &str)]) {
    let response = [&[("cache-control", "max-age=60")], response].concat();
    let stored = stored(&response, Instant::now()).asked_at(store.now());
    store.put(&key(store, target), &headers(request), stored);
}

fn holds(store: &Store, target: &str, request: &[(&str, &str)]) -> bool {
    store.find(&key(store, target), &headers(request)).is_some()
}

#[test]
fn answers_that_vary_are_told_apart() {
    let store = store();
    put(&store, "/a", &[("accept-language", "de, en")], &[("vary", "Accept-Language")]);
    assert!(holds(&store, "/a", &[("accept-language", "de,en")]), "whitespace means nothing");
    assert!(!holds(&store, "/a", &[("accept-language", "en")]));
    assert!(!holds(&store, "/a", &[]));
    put(&store, "/a", &[("accept-language", "en")], &[("vary", "accept-language")]);
    assert!(holds(&store, "/a", &[("accept-language", "EN")]), "and neither does the case of a language");
    assert!(holds(&store, "/a", &[("accept-language", "en")]) && holds(&store, "/a", &[("accept-language", "de, en")]));
}

#[test]
fn one_principals_answer_is_none_to_another() {
    let store = store();
    let service = Arc::from("app");
    let of = |principal: &[u8], host: &str| store.key(&service, principal, host, "/a", "/a");
    let answer = stored(&[("cache-control", "max-age=60")], Instant::now());
    store.put(&of(b"ann", "host"), &headers(&[]), answer);
    assert!(store.find(&of(b"ann", "HOST"), &headers(&[])).is_some());
    for other in [of(b"bob", "host"), of(b"", "host"), of(b"ann", "other")] {
        assert!(store.find(&other, &headers(&[])).is_none());
    }
}

#[test]
fn a_write_forgets_its_path_and_what_was_asked_for_before() {
    let store = store();
    put(&store, "/a?page=1", &[], &[]);
    put(&store, "/b/1", &[], &[]);
    put(&store, "/b/2/c", &[], &[]);
    let before = stored(&[("cache-control", "max-age=60")], Instant::now()).asked_at(store.now());
    store.invalidate_path("other", "/a");
    assert!(holds(&store, "/a?page=1", &[]), "of another service");
    store.invalidate_path("app", "/a");
    assert!(!holds(&store, "/a?page=1", &[]));
    assert!(holds(&store, "/b/1", &[]));
    store.put(&key(&store, "/a?page=1"), &headers(&[]), before);
    assert!(!holds(&store, "/a?page=1", &[]), "a fill that raced with the write brings nothing back");
    put(&store, "/a?page=1", &[], &[]);
    assert!(holds(&store, "/a?page=1", &[]), "asked for afterwards");
    let pattern = PathRule { segments: vec![Some("b".into()), None], rest: false };
    store.invalidate_pattern(&Arc::from("app"), &pattern);
    assert!(!holds(&store, "/b/1", &[]) && holds(&store, "/b/2/c", &[]));
    put(&store, "/b/1", &[], &[]);
    assert!(holds(&store, "/b/1", &[]));
}

#[test]
fn it_is_bounded_by_bytes() {
    let store = store();
    for n in 0..1000 {
        let answer = stored(&[("cache-control", "max-age=60")], Instant::now());
        let body = vec![0; 1000].into();
        store.put(&key(&store, &format!("/{n}")), &headers(&[]), answer.with_body(body));
    }
    assert!(store.bytes() <= 100_000, "{}", store.bytes());
    assert!(store.bytes() > 50_000, "{}", store.bytes());
}

#[tokio::test]
async fn one_fills_and_the_others_hear_how_it_ended() {
    let store = store();
    let none = headers(&[]);
    for (path, how, heard) in [
        ("/a", Some(Flown::Stored), Flown::Stored),
        ("/a", None, Flown::Broken),
        ("/a", Some(Flown::NotStorable), Flown::NotStorable),
    ] {
        let Flight::Lead(lead) = store.join(&key(&store, path), &none) else { panic!("the first leads") };
        let Flight::Follow(mut told) = store.join(&key(&store, path), &none) else { panic!("the second follows") };
        assert!(matches!(store.join(&key(&store, "/b"), &none), Flight::Lead(_)), "another key");
        match how {
            Some(how) => lead.landed(how),
            None => drop(lead),
        }
        assert_eq!(*told.wait_for(Option::is_some).await.unwrap(), Some(heard));
    }
}

#[test]
fn nobody_waits_for_an_answer_like_one_that_could_not_be_stored_until_one_can() {
    let store = store();
    let none = headers(&[]);
    let join = || store.join(&key(&store, "/a"), &none);
    let Flight::Lead(lead) = join() else { panic!("the first leads") };
    lead.landed(Flown::NotStorable);
    assert!(matches!(join(), Flight::Alone) && matches!(join(), Flight::Alone));
    assert!(matches!(store.join(&key(&store, "/b"), &none), Flight::Lead(_)), "another key");
    // What is stored is refreshed by one, whatever became of the last refresh.
    let refreshing = store.refresh(&key(&store, "/a"), &none);
    assert!(refreshing.is_some() && store.refresh(&key(&store, "/a"), &none).is_none());
    drop(refreshing);
    put(&store, "/a", &[], &[]);
    assert!(matches!(join(), Flight::Lead(_)), "answers can be stored again");
}

#[test]
fn a_part_is_cut_from_a_complete_answer_where_that_can_be_done() {
    let now = Instant::now();
    let fresh = ("cache-control", "max-age=60");
    let whole = stored(&[fresh, ("etag", "\"a\"")], now).with_body("0123456789".into());
    for (request, expected) in [
        (&[("range", "bytes=0-1")][..], Some(Part::Of(0..2))),
        (&[("range", "bytes=3-")], Some(Part::Of(3..10))),
        (&[("range", "bytes=-3")], Some(Part::Of(7..10))),
        (&[("range", "bytes=-99")], Some(Part::Of(0..10))),
        (&[("range", "bytes=8-99999999999999999999")], Some(Part::Of(8..10))),
        (&[("range", "Bytes = 2-2")], Some(Part::Of(2..3))),
        (&[("range", "bytes=10-")], None),
        (&[("range", "bytes=-0")], None),
        (&[("range", "bytes=3-2")], None),
        (&[("range", "bytes=0-1,4-5")], None),
        (&[("range", "bytes=+1-2")], None),
        (&[("range", "bytes=")], None),
        (&[("range", "lines=0-1")], None),
        (&[("range", "bytes=0-1"), ("range", "bytes=2-3")], None),
        (&[("range", "bytes=0-1"), ("if-range", "\"a\"")], Some(Part::Of(0..2))),
        (&[("range", "bytes=0-1"), ("if-range", "\"b\"")], Some(Part::Whole)),
        (&[("range", "bytes=0-1"), ("if-range", "W/\"a\"")], Some(Part::Whole)),
        (&[("range", "bytes=0-1"), ("if-range", "Sun, 06 Nov 1994 08:49:37 GMT")], None),
    ] {
        assert_eq!(part(&headers(request), &whole), expected, "{request:?}");
    }
    let missing = stored_from(&[], 404, &[fresh], now).unwrap().with_body("0123456789".into());
    assert_eq!(part(&headers(&[("range", "bytes=0-1")]), &missing), None, "a part of an error is nothing");
    let of_empty = part(&headers(&[("range", "bytes=-5")]), &stored(&[fresh], now));
    assert_eq!(of_empty, None);
    let part = part_headers(&headers(&[("content-length", "10"), ("x", "1")]), &(3..7), 10);
    assert_eq!(part, headers(&[("content-length", "4"), ("x", "1"), ("content-range", "bytes 3-6/10")]));
}

#[test]
fn what_the_service_must_not_confuse_is_told_apart() {
    let store = store();
    let names = [HeaderName::from_static("x-forwarded-host"), HeaderName::from_static("x-forwarded-proto")];
    let of = |request: &[(&str, &str)]| key(&store, "/a").told_apart_by(&names, &headers(request));
    let put = |key: &Key, request: &[(&str, &str)], vary: &str| {
        let answer = stored(&[("cache-control", "max-age=60"), ("vary", vary)], Instant::now());
        store.put(key, &headers(request), answer);
    };
    let evil = [("x-forwarded-host", "evil")];
    put(&of(&evil), &evil, "");
    for other in [&[][..], &[("x-forwarded-host", "good")], &[("x-forwarded-proto", "evil")], &[evil[0], evil[0]]] {
        assert!(store.find(&of(other), &headers(other)).is_none(), "{other:?}");
    }
    assert!(store.find(&of(&evil), &headers(&evil)).is_some());
    // A variant of the plain request is no answer to the other one, nor the other way round.
    put(&of(&[]), &[], "x-forwarded-host");
    assert!(store.find(&of(&[]), &headers(&evil)).is_none());
}

#[test]
fn an_answer_can_be_forgotten_alone() {
    let store = store();
    let request = |language| [("accept-language", language)];
    put(&store, "/a", &request("de"), &[("vary", "accept-language")]);
    put(&store, "/a", &request("en"), &[("vary", "accept-language")]);
    put(&store, "/b", &[], &[]);
    store.remove(&key(&store, "/a"), &headers(&request("de")));
    store.remove(&key(&store, "/b"), &headers(&[]));
    store.remove(&key(&store, "/c"), &headers(&[]));
    assert!(!holds(&store, "/a", &request("de")) && holds(&store, "/a", &request("en")));
    assert!(!holds(&store, "/b", &[]));
}

#[test]
fn many_variants_of_one_answer_take_no_more_room_than_there_is() {
    let store = store();
    put(&store, "/hot", &[], &[]);
    for _ in 0..50 {
        assert!(holds(&store, "/hot", &[]));
    }
    for n in 0..2000 {
        let value = format!("{n}{}", "x".repeat(200));
        put(&store, "/a", &[("user-agent", &value)], &[("vary", "user-agent")]);
        if n % 100 == 0 {
            assert!(store.bytes() <= 100_000, "{} after {n}", store.bytes());
        }
    }
    assert!(store.bytes() <= 100_000, "{}", store.bytes());
    assert!(holds(&store, "/hot", &[]), "what is asked for often outlives what is asked for once");
}
