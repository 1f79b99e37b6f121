//! Tasks that must not end: one that ends by a panic is logged, counted and started again.
//!
//! Each start is from scratch, so a task keeps what must outlive it elsewhere: in the ledger, or in what all share. The wait
//! before it doubles while panics follow each other, so that a fault which stands still costs next to nothing.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::telemetry::metrics::{Kind, Metrics};

/// Before the first start anew: what met the fault may pass.
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// At most: writes in doubt are left alone no longer than this.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// After so long without a panic the next one counts as the first again.
const CALM: Duration = Duration::from_mins(5);

/// How often tasks were started again, by name.
#[derive(Debug, Default)]
pub(crate) struct Restarts(Mutex<BTreeMap<&'static str, u64>>);

impl Restarts {
    /// Registers the metric.
    pub(crate) fn register(self: &Arc<Self>, metrics: &Metrics) {
        let restarts = Arc::clone(self);
        let help = "Tasks that ended by a fault of their own and were started again";
        metrics.on_scrape("mainstay_task_restarts", help, Kind::Counter, move |samples| {
            for (task, times) in restarts.0.lock().iter() {
                samples.push(&[("task", task)], *times as f64);
            }
        });
    }

    /// Runs what `start` makes, again and again while it panics; resolves when it ends by itself. Dropped, it ends the task.
    pub(crate) async fn keep_running<F, T>(self: Arc<Self>, name: &'static str, mut start: F)
    where
        F: FnMut() -> T,
        T: Future<Output = ()> + Send + 'static,
    {
        self.0.lock().entry(name).or_default();
        let mut wait = FIRST_WAIT;
        loop {
            let began = Instant::now();
            let mut task = JoinSet::new();
            task.spawn(start());
            match task.join_next().await {
                Some(Err(error)) if error.is_panic() => {}
                Some(_) | None => return,
            }
            if began.elapsed() >= CALM {
                wait = FIRST_WAIT;
            }
            *self.0.lock().entry(name).or_default() += 1;
            tracing::error!(
                task = name,
                wait_ms = wait.as_millis() as u64,
                "a task ended with a panic: it starts again"
            );
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST_WAIT);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    use super::*;

    fn times(restarts: &Restarts) -> u64 {
        restarts.0.lock().values().sum()
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again_after_growing_waits_and_counted() {
        let restarts = Arc::new(Restarts::default());
        let begun = Instant::now();
        let starts = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&starts);
        let task = restarts.clone().keep_running("t", move || {
            seen.lock().push(begun.elapsed().as_millis());
            let is_last = seen.lock().len() == 12;
            async move { assert!(is_last, "on purpose") }
        });
        task.await;
        let starts = starts.lock();
        let waits: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 30_000, 30_000]);
        assert_eq!(times(&restarts), 11);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_after_a_calm_time_counts_as_the_first() {
        let (restarts, runs) = (Arc::new(Restarts::default()), Arc::new(AtomicU32::new(0)));
        let begun = Instant::now();
        let counted = Arc::clone(&runs);
        restarts
            .clone()
            .keep_running("t", move || {
                let run = counted.fetch_add(1, SeqCst);
                async move {
                    sleep(CALM).await;
                    assert!(run == 3, "on purpose");
                }
            })
            .await;
        assert_eq!(begun.elapsed(), 4 * CALM + 3 * FIRST_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_supervisor_that_is_dropped_ends_its_task() {
        let held = Arc::new(());
        let inside = Arc::clone(&held);
        let task = tokio::spawn(Arc::new(Restarts::default()).keep_running("t", move || {
            let inside = Arc::clone(&inside);
            async move {
                std::future::pending::<()>().await;
                drop(inside);
            }
        }));
        tokio::task::yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&held), 1);
    }
}
