//! What happens, told to those who watch it happen: operators, by `GET /events`.
//!
//! As long as nobody watches, an event costs one look at a flag. Whoever watches has a channel of bounded length; what does not
//! fit in it is lost to that reader, who is told how much that was. So a reader that stands still holds no memory beyond its
//! channel, and nobody waits for it. Requests, and writes that went as they should, are told so many times a second.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use jiff::Timestamp;
use mainstay_policies::clock::UnixMillis;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::mpsc;

/// Readers at once.
const READERS: usize = 8;
/// Events that wait for one reader: some 100 KiB.
const WAITING: usize = 256;
/// Requests that are told in a second, and writes that went as they should.
const USUAL: u32 = 20;
/// Writes that did not.
const UNUSUAL: u32 = 200;

/// What an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A request has ended.
    Request = 1,
    /// An operation came to another state, or needs a person.
    Operation = 2,
    /// A breaker came to another state.
    Breaker = 4,
    /// A configuration was taken, or refused.
    Config = 8,
    /// The ledger takes writes, or does not.
    Ledger = 16,
}

impl Kind {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [Self::Request, Self::Operation, Self::Breaker, Self::Config, Self::Ledger];

    /// Its name.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Operation => "operation",
            Self::Breaker => "breaker",
            Self::Config => "config",
            Self::Ledger => "ledger",
        }
    }
}

/// Whoever watches, and what they want to see.
#[derive(Debug)]
pub(crate) struct Events {
    /// The kinds that somebody wants, a bit each.
    wanted: AtomicU8,
    number: AtomicU64,
    readers: Mutex<Readers>,
    pub(crate) requests: Sample,
    /// Writes that went as they should.
    pub(crate) settled: Sample,
    /// Writes that did not.
    pub(crate) troubled: Sample,
}

impl Default for Events {
    fn default() -> Self {
        Self {
            wanted: AtomicU8::default(),
            number: AtomicU64::default(),
            readers: Mutex::default(),
            requests: Sample::of(USUAL),
            settled: Sample::of(USUAL),
            troubled: Sample::of(UNUSUAL),
        }
    }
}

#[derive(Debug, Default)]
struct Readers {
    open: Vec<Reader>,
    next: u64,
    is_closed: bool,
}

#[derive(Debug)]
struct Reader {
    id: u64,
    kinds: u8,
    sender: mpsc::Sender<Bytes>,
    lost: Arc<AtomicU64>,
}

/// Why there is no place for another reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// There are as many as may be.
    Full,
    /// The process ends.
    Ending,
}

impl Events {
    /// Whether anybody wants to see such events. To be asked before anything is computed for one.
    pub(crate) fn wants(&self, kind: Kind) -> bool {
        self.wanted.load(Relaxed) & kind as u8 != 0
    }

    /// Tells whoever wants to see it. It never waits.
    pub(crate) fn tell(&self, kind: Kind, document: &Value) {
        let number = self.number.fetch_add(1, Relaxed) + 1;
        let event = Bytes::from(format!("id: {number}\nevent: {}\ndata: {document}\n\n", kind.word()));
        for reader in self.readers.lock().open.iter().filter(|reader| reader.kinds & kind as u8 != 0) {
            if reader.sender.try_send(event.clone()).is_err() {
                reader.lost.fetch_add(1, Relaxed);
            }
        }
    }

    /// A place among the readers, for events of these kinds.
    pub(crate) fn watch(self: &Arc<Self>, kinds: &[Kind]) -> Result<Watch, NoPlace> {
        let kinds = kinds.iter().fold(0, |bits, kind| bits | *kind as u8);
        let mut readers = self.readers.lock();
        if readers.is_closed {
            return Err(NoPlace::Ending);
        }
        if readers.open.len() >= READERS {
            return Err(NoPlace::Full);
        }
        if readers.open.is_empty() {
            // What was left out was nobody's to see.
            for sample in [&self.requests, &self.settled, &self.troubled] {
                sample.left_out.store(0, Relaxed);
            }
        }
        let ((sender, events), lost) = (mpsc::channel(WAITING), Arc::<AtomicU64>::default());
        readers.next += 1;
        let id = readers.next;
        readers.open.push(Reader { id, kinds, sender, lost: lost.clone() });
        self.note(&readers);
        Ok(Watch { id, events, lost, of: self.clone() })
    }

    /// Ends every reader's events: the process ends.
    pub(crate) fn close(&self) {
        let mut readers = self.readers.lock();
        readers.is_closed = true;
        readers.open.clear();
        self.note(&readers);
    }

    fn note(&self, readers: &Readers) {
        self.wanted.store(readers.open.iter().fold(0, |bits, reader| bits | reader.kinds), Relaxed);
    }
}

/// A reader's events; its place is free when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    id: u64,
    /// They end when the process does.
    pub(crate) events: mpsc::Receiver<Bytes>,
    lost: Arc<AtomicU64>,
    of: Arc<Events>,
}

impl Watch {
    /// How many events were lost since this was asked last.
    pub(crate) fn lost(&self) -> u64 {
        if self.lost.load(Relaxed) == 0 { 0 } else { self.lost.swap(0, Relaxed) }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut readers = self.of.readers.lock();
        readers.open.retain(|reader| reader.id != self.id);
        self.of.note(&readers);
    }
}

/// A time as events have it: RFC 3339 with three decimals, in UTC.
pub(crate) fn time(at: UnixMillis) -> String {
    let at = i64::try_from(at).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    format!("{:.3}", at.unwrap_or(Timestamp::MAX))
}

/// The first so many of a second; the others are counted.
#[derive(Debug)]
pub(crate) struct Sample {
    most: u32,
    /// The second, and how many of it were taken.
    taken: AtomicU64,
    left_out: AtomicU64,
}

impl Sample {
    const fn of(most: u32) -> Self {
        Self { most, taken: AtomicU64::new(0), left_out: AtomicU64::new(0) }
    }

    /// Whether one more is told at that time; if so, how many were not since the one before it.
    pub(crate) fn takes(&self, now: UnixMillis) -> Option<u64> {
        let second = (now / 1000) << 32;
        let counted = self.taken.fetch_update(Relaxed, Relaxed, |taken| match taken as u32 {
            _ if taken >> 32 != second >> 32 => Some(second | 1),
            count if count < self.most => Some(taken + 1),
            _ => None,
        });
        if counted.is_err() {
            self.left_out.fetch_add(1, Relaxed);
            return None;
        }
        Some(self.left_out.swap(0, Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(watch: &mut Watch) -> String {
        String::from_utf8(watch.events.try_recv().expect("an event").to_vec()).unwrap()
    }

    #[test]
    fn events_go_to_whoever_wants_their_kind() {
        let events = Arc::new(Events::default());
        assert!(!events.wants(Kind::Request));
        let mut one = events.watch(&[Kind::Request, Kind::Breaker]).unwrap();
        let mut other = events.watch(&[Kind::Config]).unwrap();
        assert_eq!(Kind::ALL.map(|kind| events.wants(kind)), [true, false, true, true, false]);
        events.tell(Kind::Breaker, &json!({ "state": "open" }));
        events.tell(Kind::Config, &json!({}));
        assert_eq!(text(&mut one), "id: 1\nevent: breaker\ndata: {\"state\":\"open\"}\n\n");
        assert_eq!(text(&mut other), "id: 2\nevent: config\ndata: {}\n\n");
        assert!(one.events.try_recv().is_err() && other.events.try_recv().is_err());
        drop(one);
        assert_eq!(Kind::ALL.map(|kind| events.wants(kind)), [false, false, false, true, false]);
    }

    #[test]
    fn a_reader_that_stands_still_holds_a_bounded_number_and_is_told_of_the_others_once() {
        let events = Arc::new(Events::default());
        let (mut slow, mut quick) = (events.watch(&[Kind::Ledger]).unwrap(), events.watch(&[Kind::Ledger]).unwrap());
        for _ in 0..WAITING + 10 {
            events.tell(Kind::Ledger, &json!({}));
            quick.events.try_recv().expect("nobody waits for the slow one");
        }
        assert_eq!((slow.events.len(), slow.lost(), slow.lost(), quick.lost()), (WAITING, 10, 0, 0));
        slow.events.try_recv().unwrap();
        events.tell(Kind::Ledger, &json!({}));
        assert_eq!(slow.lost(), 0);
    }

    #[test]
    fn places_are_few_and_free_again_and_none_is_left_at_the_end() {
        let events = Arc::new(Events::default());
        let mut watches: Vec<_> = (0..READERS).map(|_| events.watch(&Kind::ALL).unwrap()).collect();
        assert_eq!(events.watch(&Kind::ALL).unwrap_err(), NoPlace::Full);
        watches.pop();
        watches.push(events.watch(&Kind::ALL).unwrap());
        events.close();
        assert!(
            watches.iter_mut().all(|watch| watch.events.try_recv() == Err(mpsc::error::TryRecvError::Disconnected))
        );
        assert_eq!(events.watch(&Kind::ALL).unwrap_err(), NoPlace::Ending);
        assert!(!events.wants(Kind::Request));
    }

    #[test]
    fn a_sample_has_so_many_of_each_second_and_counts_the_others() {
        let sample = Sample::of(3);
        let taken: Vec<_> = (0..5).map(|ms| sample.takes(1_000 + ms)).collect();
        assert_eq!(taken, [Some(0), Some(0), Some(0), None, None]);
        assert_eq!((sample.takes(2_000), sample.takes(2_001)), (Some(2), Some(0)));
    }
}
