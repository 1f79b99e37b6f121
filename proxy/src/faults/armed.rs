//! The faults themselves.

use std::{
    future::{Future, pending},
    path::PathBuf,
    pin::pin,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use mainstay_policies::{
    evidence::Sent,
    faults::{Safeguard, is_off, switch_off},
};

use rustix::process::{Signal, getpid, kill_process};

use super::{Pitfall, Point};

const VARIABLE: &str = "MAINSTAY_FAULT";
/// Names a file: no write counts on its way to a death before that file is there.
const WHEN: &str = "MAINSTAY_FAULT_WHEN";

/// How long a commit is put off when it is not waited for: long enough to die in.
const LINGER: Duration = Duration::from_millis(60);

/// How long a request that a connection has taken needs to be on the wire, on loopback.
const ON_THE_WIRE: Duration = Duration::from_millis(2);

static DEATH: OnceLock<Death> = OnceLock::new();
static LOG_PAGES: OnceLock<usize> = OnceLock::new();
static SEGMENT_KEYS: OnceLock<usize> = OnceLock::new();
static KEY_BYTES: OnceLock<usize> = OnceLock::new();
static AHEAD: OnceLock<u8> = OnceLock::new();
static STUMBLES: OnceLock<Stumbles> = OnceLock::new();

/// Where this process will die, or stand still.
#[derive(Debug)]
struct Death {
    at: Point,
    signal: Signal,
    /// Times that the point is passed unharmed, still.
    spare: AtomicU32,
    /// It has happened: who stood still goes on for good.
    is_over: AtomicBool,
    /// Nothing counts before this file is there.
    when: Option<PathBuf>,
}

/// Where this process panics, again and again.
#[derive(Debug)]
struct Stumbles {
    at: Pitfall,
    /// Every so often.
    every: u32,
    passed: AtomicU32,
}

/// The variable says something that is no fault.
#[derive(Debug, thiserror::Error)]
#[error(
    "{VARIABLE}: `{0}` is no fault; one of kill@POINT:NTH and stop@POINT:NTH (before-begin, after-begin, after-check, \
     after-send, before-settle, after-settle, before-batch, in-batch, after-beat), off@PROTECTION (durable-begin, \
     durable-settle, ownership, sticky-states, last-check, key-order, ask-again, refused-list, missed-looks, \
     lease-from-sending, whole-hash, fenced-word), copy@PAGES, seal@KEYS, head@BYTES, speak@VERSIONS, \
     panic@PITFALL:EVERY (look, work, batch, house)"
)]
pub struct ArmError(String);

/// Reads what is to go wrong, and shouts.
///
/// # Errors
/// The variable is not understood.
pub fn arm() -> Result<(), ArmError> {
    eprintln!("mainstay: THIS BUILD CAN BE BROKEN ON PURPOSE (feature `faults`). Never let it near real traffic.");
    let Ok(text) = std::env::var(VARIABLE) else { return Ok(()) };
    for fault in text.split(',').filter(|fault| !fault.is_empty()) {
        take(fault).ok_or_else(|| ArmError(fault.to_owned()))?;
    }
    tracing::warn!(faults = text, "this process is broken on purpose");
    Ok(())
}

fn take(fault: &str) -> Option<()> {
    let (kind, what) = fault.split_once('@')?;
    match kind {
        "kill" | "stop" => {
            let (point, nth) = what.split_once(':')?;
            let spare = AtomicU32::new(nth.parse::<u32>().ok()?.checked_sub(1)?);
            let when = std::env::var_os(WHEN).map(PathBuf::from);
            let signal = if kind == "kill" { Signal::KILL } else { Signal::STOP };
            DEATH.set(Death { at: point_named(point)?, signal, spare, is_over: AtomicBool::new(false), when }).ok()
        }
        "panic" => {
            let (pitfall, every) = what.split_once(':')?;
            let every = every.parse().ok().filter(|every| *every > 0)?;
            STUMBLES.set(Stumbles { at: pitfall_named(pitfall)?, every, passed: AtomicU32::new(0) }).ok()
        }
        "off" => {
            switch_off(protection_named(what)?);
            Some(())
        }
        "speak" => AHEAD.set(what.parse().ok()?).ok(),
        "copy" => LOG_PAGES.set(what.parse().ok()?).ok(),
        "head" => KEY_BYTES.set(what.parse().ok().filter(|bytes| (1..=16).contains(bytes))?).ok(),
        "seal" => SEGMENT_KEYS.set(what.parse().ok().filter(|keys| *keys > 0)?).ok(),
        _ => None,
    }
}

fn point_named(name: &str) -> Option<Point> {
    Some(match name {
        "before-begin" => Point::BeforeBegin,
        "after-begin" => Point::AfterBegin,
        "after-check" => Point::AfterCheck,
        "after-send" => Point::AfterSend,
        "before-settle" => Point::BeforeSettle,
        "after-settle" => Point::AfterSettle,
        "before-batch" => Point::BeforeBatch,
        "in-batch" => Point::InBatch,
        "after-beat" => Point::AfterBeat,
        _ => return None,
    })
}

fn pitfall_named(name: &str) -> Option<Pitfall> {
    Some(match name {
        "look" => Pitfall::Look,
        "work" => Pitfall::Work,
        "batch" => Pitfall::Batch,
        "house" => Pitfall::House,
        _ => return None,
    })
}

fn protection_named(name: &str) -> Option<Safeguard> {
    Some(match name {
        "durable-begin" => Safeguard::DurableBegin,
        "durable-settle" => Safeguard::DurableSettle,
        "ownership" => Safeguard::Ownership,
        "sticky-states" => Safeguard::StickyStates,
        "last-check" => Safeguard::LastCheck,
        "key-order" => Safeguard::KeyOrder,
        "ask-again" => Safeguard::AskAgain,
        "refused-list" => Safeguard::RefusedList,
        "missed-looks" => Safeguard::MissedLooks,
        "lease-from-sending" => Safeguard::LeaseFromSending,
        "whole-hash" => Safeguard::WholeHash,
        "fenced-word" => Safeguard::FencedWord,
        _ => return None,
    })
}

/// Dies or stands still here if it is time to.
pub(crate) fn reach(point: Point) {
    let Some(death) = DEATH.get().filter(|death| death.at == point) else { return };
    if death.when.as_ref().is_some_and(|file| !file.exists()) {
        return;
    }
    let spare = death.spare.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spare| spare.checked_sub(1));
    if spare.is_ok() || (death.is_over.swap(true, Ordering::Relaxed) && death.signal == Signal::STOP) {
        return;
    }
    let _ = kill_process(getpid(), death.signal);
    // The signal may be taken by another thread first; this one goes no further.
    while death.signal == Signal::KILL {
        std::thread::park();
    }
    std::thread::sleep(ON_THE_WIRE);
}

/// Panics here if it is time to.
pub(crate) fn stumble(pitfall: Pitfall) {
    let Some(stumbles) = STUMBLES.get().filter(|stumbles| stumbles.at == pitfall) else { return };
    let passed = stumbles.passed.fetch_add(1, Ordering::Relaxed) + 1;
    assert!(!passed.is_multiple_of(stumbles.every), "on purpose: {pitfall:?}");
}

/// Sends, and dies or stands still between the request and its answer if it is time to.
pub(crate) async fn after_send<F: Future>(sent: impl Fn() -> Sent, sending: F) -> F::Output {
    let on_the_wire = async {
        while sent() == Sent::No {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(ON_THE_WIRE).await;
        reach(Point::AfterSend);
        pending::<()>().await;
    };
    let (mut sending, mut on_the_wire) = (pin!(sending), pin!(on_the_wire));
    tokio::select! {
        biased;
        result = &mut sending => result,
        () = &mut on_the_wire => unreachable!("it dies, or waits for ever"),
    }
}

/// Where answers run ahead of the disk, the disk is late.
pub(crate) fn before_commit() {
    if is_off(Safeguard::DurableBegin) || is_off(Safeguard::DurableSettle) {
        std::thread::sleep(LINGER);
    }
}

/// Pages of the write-ahead log after which it is copied, where a test wants that more often.
pub(crate) fn log_pages_before_copy(usual: usize) -> usize {
    LOG_PAGES.get().copied().unwrap_or(usual)
}

/// How many versions of records this process speaks that are not there yet: it is the new half of a rolling upgrade.
pub(crate) fn versions_ahead() -> u8 {
    AHEAD.get().copied().unwrap_or(0)
}

/// Keys that make a segment of the ledger, where a test wants many of them.
pub(crate) fn keys_in_segment(usual: usize) -> usize {
    SEGMENT_KEYS.get().copied().unwrap_or(usual)
}

/// Bytes of a key's hash by which a shared ledger's store finds it, where a test wants keys that are alike in them.
pub(crate) fn key_bytes(usual: usize) -> usize {
    KEY_BYTES.get().copied().unwrap_or(usual)
}
