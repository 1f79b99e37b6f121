//! Whose turn it is to do a long step on a worker.
//!
//! A worker is one thread. Sixty bodies of a mebibyte that are read, hashed and sent at once are a tenth of a second of its
//! time, and a small read that comes meanwhile would wait for all of it. So whatever handles a large body does so in steps
//! of [`STEP_BYTES`], takes a [`Turn`] for each, and one turn is given each time that the worker has looked what else is ready
//! and done that: what waits then waits for one step, however many bodies there are. Keyed writes that come all at once begin
//! in turns, too.
//!
//! Turns are given in the order in which they were asked for, but first to those who are [in the middle](Turn::poll_next): of
//! sixty bodies that go out one after the other most are out in time, of sixty that go out side by side none may be. Whoever
//! finds that nobody has taken the one that is due has it at once. On a thread where nobody [keeps](keep) them they are free.

use std::{
    cell::RefCell,
    collections::VecDeque,
    future::poll_fn,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll, Waker},
};

use tokio::task::yield_now;

/// What one step handles of a body, in bytes: tens of microseconds of copying or hashing.
pub(crate) const STEP_BYTES: usize = 32 * 1024;

thread_local! {
    static TURNS: RefCell<Option<Turns>> = const { RefCell::new(None) };
}

/// Tells the turns of one worker from those of another.
static KEEPERS: AtomicU64 = AtomicU64::new(0);

/// A worker's.
struct Turns {
    keeper: u64,
    /// The turn that is due: nobody has taken it, and nobody waits.
    due: bool,
    /// Who is in the middle of something.
    first: Queue,
    then: Queue,
    /// Wakes the keeper, whose turn is not taken.
    idle: Option<Waker>,
}

#[derive(Default)]
struct Queue {
    /// How many have joined it; the last of them still wait.
    joined: u64,
    /// Who waits; `None` has gone meanwhile.
    waiting: VecDeque<Option<Waker>>,
}

/// A place in one of the queues of `keeper`.
#[derive(Clone, Copy)]
struct Place {
    keeper: u64,
    is_first: bool,
    number: u64,
}

/// One who takes turns, one after the other.
#[derive(Default)]
pub(crate) struct Turn(Option<Place>);

impl Turn {
    /// Ready once it is this one's turn: the step is done right then. The next step needs the next turn.
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, false)
    }

    /// The same for the next step of something that others wait for, before those who only begin.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx, true)
    }

    fn poll(&mut self, cx: &mut Context<'_>, is_first: bool) -> Poll<()> {
        // No waker is called or dropped while the turns are borrowed: it may end what holds one.
        let (mut idle, mut former) = (None, None);
        let polled = TURNS.with_borrow_mut(|turns| {
            // Without a keeper they are free, and a place of another worker's is none here.
            let Some(turns) = turns else { return Poll::Ready(()) };
            let Some(place) = self.0.filter(|place| place.keeper == turns.keeper) else {
                idle = turns.idle.take();
                if std::mem::take(&mut turns.due) {
                    return Poll::Ready(());
                }
                let keeper = turns.keeper;
                self.0 = Some(Place { keeper, is_first, number: turns.queue(is_first).join(cx.waker()) });
                return Poll::Pending;
            };
            let Some(slot) = turns.queue(place.is_first).slot(place.number) else { return Poll::Ready(()) };
            former = slot.replace(cx.waker().clone());
            Poll::Pending
        });
        if polled.is_ready() {
            self.0 = None;
        }
        if let Some(keeper) = idle {
            keeper.wake();
        }
        drop(former);
        polled
    }

    /// Waits for it.
    pub(crate) async fn take(&mut self) {
        poll_fn(|cx| self.poll_take(cx)).await;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(place) = self.0 else { return };
        let leave = |turns: &RefCell<Option<Turns>>| {
            let mut turns = turns.borrow_mut();
            let turns = turns.as_mut().filter(|turns| turns.keeper == place.keeper)?;
            turns.queue(place.is_first).slot(place.number)?.take()
        };
        // When its thread ends there may be no turns any more. Its waker is dropped once they are borrowed no longer.
        let _ = TURNS.try_with(leave);
    }
}

impl Queue {
    fn join(&mut self, waker: &Waker) -> u64 {
        self.waiting.push_back(Some(waker.clone()));
        self.joined += 1;
        self.joined - 1
    }

    /// Where that place waits. `None`: its turn has come.
    fn slot(&mut self, number: u64) -> Option<&mut Option<Waker>> {
        let first = self.joined - self.waiting.len() as u64;
        let index = number.checked_sub(first)?;
        self.waiting.get_mut(usize::try_from(index).ok()?)
    }

    /// Whoever has waited longest. Those who have gone meanwhile cost no turn.
    fn next(&mut self) -> Option<Waker> {
        std::iter::from_fn(|| self.waiting.pop_front()).flatten().next()
    }
}

impl Turns {
    fn queue(&mut self, is_first: bool) -> &mut Queue {
        if is_first { &mut self.first } else { &mut self.then }
    }

    /// Gives a turn to whoever is next, to be woken; else it is due to whoever comes first.
    fn give(&mut self) -> Option<Waker> {
        let next = self.first.next().or_else(|| self.then.next());
        self.due = next.is_none();
        next
    }

    /// Ready when the last turn has been taken.
    fn poll_taken(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.due {
            self.idle = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }
}

/// Gives turns on this thread, one for each time that its runtime has looked for what else is ready; never ends.
pub(crate) async fn keep() {
    let kept = Kept::new();
    loop {
        poll_fn(|cx| kept.with(|turns| turns.poll_taken(cx))).await;
        // Comes back after the runtime has polled for events (tokio defers whoever yields until it has).
        yield_now().await;
        if let Some(next) = kept.with(Turns::give) {
            next.wake();
        }
    }
}

/// Whoever keeps turns, as long as it does.
struct Kept;

impl Kept {
    fn new() -> Self {
        let keeper = KEEPERS.fetch_add(1, Ordering::Relaxed);
        TURNS.set(Some(Turns { keeper, due: false, first: Queue::default(), then: Queue::default(), idle: None }));
        Self
    }

    #[expect(clippy::unused_self, reason = "there are turns as long as it lives")]
    fn with<T>(&self, act: impl FnOnce(&mut Turns) -> T) -> T {
        TURNS.with_borrow_mut(|turns| act(turns.as_mut().expect("they are there until their keeper ends")))
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let turns = TURNS.try_with(RefCell::take).ok().flatten();
        // Free from now on.
        let waiting = turns.into_iter().flat_map(|turns| [turns.first, turns.then]).flat_map(|queue| queue.waiting);
        waiting.flatten().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests;
