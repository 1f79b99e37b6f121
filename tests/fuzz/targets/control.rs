//! Requests to `/_mainstay`, as anybody may send them: every one gets an answer, and one that is no success is a problem
//! document that cannot be taken for the service's own.
//!
//! The input is a request head as on the wire, then an empty line and a body.

#![no_main]

use std::{
    cell::LazyCell,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Method, Request, request::Parts};
use libfuzzer_sys::fuzz_target;
use mainstay::{
    config,
    control::{Caller, ControlContext, Reader, routes::handle},
};
use mainstay_policies::{
    clock::WallClock,
    idempotency::{IdMint, QueryGate},
    operation::{ledger::Ledger, memory::MemoryLedger},
};

const CONFIG: &str = include_str!("../../../policies/presets/payment-write.yaml");

thread_local! {
    static CONTEXT: LazyCell<ControlContext> = const { LazyCell::new(|| {
        let clock = WallClock::system();
        let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::new(clock.clone(), 1_000, 1 << 20));
        ControlContext {
            ledger: Arc::clone(&ledger),
            config: config::parse("payment-write.yaml", CONFIG).expect("the presets are valid").config,
            clock: clock.clone(),
            asker: None,
            gate: QueryGate::default(),
            mint: Arc::new(IdMint::new(ledger, clock)),
        }
    }) };
}

/// The head and body, where the head is one that an HTTP parser would let through.
fn request(data: &[u8]) -> Option<(Parts, Bytes)> {
    let end = data.windows(4).position(|window| window == b"\r\n\r\n")?;
    let body = Bytes::copy_from_slice(&data[end + 4..]);
    let mut lines = data[..end].split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let method = Method::from_bytes(words.next()?).ok()?;
    let mut request = Request::builder().method(method).uri(words.next()?);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    Some((request.body(()).ok()?.into_parts().0, body))
}

/// The ledger is empty, so there is nothing to wait for; the ledger may only let others run a few times.
fn finish<F: Future>(mut future: Pin<&mut F>) -> F::Output {
    for _ in 0..100 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
    panic!("waits for nothing");
}

fuzz_target!(|data: &[u8]| {
    let Some((parts, body)) = request(data) else { return };
    CONTEXT.with(|context| {
        let response = finish(pin!(handle(context, &parts, body, Caller { reader: Reader::Anonymous, former: &[] })));
        assert!(!response.status().is_server_error(), "{}", response.status());
        if response.status().is_client_error() {
            assert!(response.headers().contains_key("mainstay-error"), "{response:?}");
        }
        if parts.method == Method::HEAD {
            assert!(response.body().is_empty());
        } else if !response.body().is_empty() {
            serde_json::from_slice::<serde_json::Value>(response.body()).expect("documents are JSON");
        }
    });
});
