//! Deadlines that are seldom reached, at the cost of none.
//!
//! A timer of the runtime is put into its wheel and taken out again for each wait, under a lock each time.
//! An alarm stays in the wheel when its wait ends in time, and serves the next one: it is moved only if that ends earlier than
//! it would ring. Where it rings too early, which each does every quarter of a second, it is set anew.
//!
//! That is also how the end of a drain reaches those who wait: a worker that is [cut off](cut_off) ends every wait at the next
//! ring, so that no request has to listen for what happens once in the life of a process.

use std::{
    cell::{Cell, RefCell},
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// How many alarms a worker keeps for later waits.
const KEPT: usize = 256;

/// How long a wait may go on after its worker was cut off. Some hundred rings per second cost a busy worker nothing.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Longer than any process lives.
const FOR_EVER: Duration = Duration::from_hours(24 * 365);

thread_local! {
    static IS_CUT_OFF: Cell<bool> = const { Cell::new(false) };
    static SPARE: RefCell<Vec<Pin<Box<Sleep>>>> = const { RefCell::new(Vec::new()) };
}

/// The time was up first.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TimeIsUp;

/// Waits for `future`, but not beyond `deadline`. Like [`tokio::time::timeout_at`], and as exact; to be polled on a thread
/// that serves one runtime only.
///
/// # Errors
/// The deadline has passed and the future has not ended.
pub(crate) async fn until<F: Future>(deadline: Instant, mut future: Pin<&mut F>) -> Result<F::Output, TimeIsUp> {
    let mut alarm = Alarm(None);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Ok(output)),
        Poll::Pending => alarm.poll(deadline, cx).map(|()| Err(TimeIsUp)),
    })
    .await
}

/// Waits for `future` until this worker is cut off.
///
/// # Errors
/// It was, and the future has not ended.
pub(crate) async fn unless_cut_off<F: Future>(future: F) -> Result<F::Output, TimeIsUp> {
    until(Instant::now() + FOR_EVER, pin!(future)).await
}

/// Waits until `deadline`, or until this worker is cut off.
pub(crate) async fn pause_until(deadline: Instant) {
    let mut alarm = Alarm(None);
    poll_fn(|cx| alarm.poll(deadline, cx)).await;
}

/// The drain's time is over for what this thread serves: its waits end within [`LOOK_EVERY`].
pub(crate) fn cut_off() {
    IS_CUT_OFF.set(true);
}

/// Whether the drain's time is over for what this thread serves.
pub(crate) fn is_cut_off() -> bool {
    IS_CUT_OFF.get()
}

/// A timer on loan from the worker, once there is something to wait for.
struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready at the deadline, or when the worker is cut off.
    fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let next_look = || deadline.min(Instant::now() + LOOK_EVERY);
        let sleep = self.0.get_or_insert_with(|| {
            let mut sleep = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Box::pin(sleep_until(next_look())));
            if sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            sleep
        });
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= deadline || is_cut_off() {
                return Poll::Ready(());
            }
            // It was set for a look, or for an earlier wait.
            sleep.as_mut().reset(next_look());
        }
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if let Some(sleep) = self.0.take() {
            // Past the end of its thread it is dropped.
            let _ = SPARE.try_with(|spare| {
                let mut spare = spare.borrow_mut();
                if spare.len() < KEPT {
                    spare.push(sleep);
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::pin, time::Duration};

    use proptest::prelude::*;
    use tokio::time::{sleep, timeout_at};

    use super::*;

    const fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn spare() -> usize {
        SPARE.with_borrow(Vec::len)
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_deadline_whatever_the_alarm_was_set_to_before() {
        for (taken, patience) in [(5, 100), (5, 20), (50, 20), (1, 200), (300, 200), (300, 100)] {
            let began = Instant::now();
            let result = until(began + millis(patience), pin!(sleep(millis(taken)))).await;
            assert_eq!(result.is_err(), taken > patience, "{taken} of {patience}");
            assert_eq!(began.elapsed(), millis(taken.min(patience)));
        }
        assert_eq!(spare(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_there_needs_no_alarm() {
        assert_eq!(until(Instant::now(), pin!(async { 1 })).await, Ok(1));
        assert_eq!(spare(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_is_left_gives_its_alarm_back() {
        let sleeping = pin!(sleep(millis(100)));
        let waits = until(Instant::now() + millis(100), sleeping);
        assert!(timeout_at(Instant::now() + millis(10), waits).await.is_err());
        assert_eq!(spare(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_is_cut_off_ends_every_wait_soon() {
        let began = Instant::now();
        let slow = pin!(sleep(millis(90_000)));
        let (waiting, pausing) = (until(began + millis(60_000), slow), async {
            pause_until(began + millis(60_000)).await;
            began.elapsed()
        });
        let cutting = async {
            sleep(millis(1000)).await;
            cut_off();
        };
        let (waited, paused, ()) = tokio::join!(waiting, pausing, cutting);
        let asked = unless_cut_off(sleep(millis(60_000))).await;
        IS_CUT_OFF.set(false);
        assert_eq!((waited, asked), (Err(TimeIsUp), Err(TimeIsUp)));
        assert!(paused <= millis(1000) + LOOK_EVERY, "{paused:?}");
        assert!(began.elapsed() <= millis(1000) + 2 * LOOK_EVERY, "{:?}", began.elapsed());
    }

    proptest! {
        #[test]
        fn it_decides_as_tokio_does(waits in prop::collection::vec((0_u64..60, 0_u64..60, any::<bool>()), 1..20)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
            runtime.block_on(async {
                SPARE.with_borrow_mut(Vec::clear);
                for (taken, patience, pauses) in waits {
                    let deadline = Instant::now() + millis(patience);
                    let ours = async { (until(deadline, pin!(sleep(millis(taken)))).await.is_ok(), Instant::now()) };
                    let theirs = async { (timeout_at(deadline, sleep(millis(taken))).await.is_ok(), Instant::now()) };
                    // The same instant is either's: which timer fires first then is the wheel's affair.
                    let (ours, theirs) = tokio::join!(ours, theirs);
                    if taken != patience {
                        assert_eq!(ours, theirs);
                    }
                    if pauses {
                        sleep(millis(taken)).await;
                    }
                }
                SPARE.with_borrow_mut(Vec::clear);
            });
        }
    }
}
