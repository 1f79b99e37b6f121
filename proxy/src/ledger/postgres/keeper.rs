//! What keeps a replica alive, and takes over from those that are not: beats, the watch, takeovers, one look for all that wait,
//! and what refused begins may have left.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use mainstay_policies::{
    faults::{Safeguard, is_off},
    operation::State,
};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::faults::{self, Point};

use super::{
    command::{Command, UpdateCommand, abandoned},
    error::StoreError,
    inner::Inner,
    open,
    sql::Statement,
};
use crate::ledger::shared::{
    numbers::{BLOCK_MS, EPOCH},
    watch::Watch,
};

/// Operations that one look takes over at most, and how many may be due here before more are taken.
const TAKEN_AT_ONCE: u16 = 256;
/// Looks at an ended replica that found nothing of it, after which there is nothing any more.
const CLEAN_LOOKS: u32 = 20;
/// Between two looks for what is on record as this replica's, pending, and known to nobody.
const AUDIT_EVERY: Duration = Duration::from_mins(1);
/// An own clock that differs from the store's by more was put forward or back.
const JUMP_MS: i64 = 1_000;
/// An answer that took longer does not set the clock: it may be off by half of that.
const CLOCK_WITHIN: Duration = Duration::from_millis(500);

/// Keeps one replica alive.
pub(super) struct Keeper {
    inner: Arc<Inner>,
    watch: Watch,
    /// Ended replicas, and how often nothing of them was found.
    ended: HashMap<i64, u32>,
    lows: HashMap<i64, i64>,
}

impl Keeper {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        let settings = &inner.options.settings;
        let watch = Watch::new(settings.ttl, settings.heartbeat);
        Self { inner, watch, ended: HashMap::new(), lows: HashMap::new() }
    }

    /// Beats, watches and takes over, until it is aborted.
    pub(super) async fn run(mut self) {
        let heartbeat = self.inner.options.settings.heartbeat;
        loop {
            beat(&self.inner).await;
            match self.look().await {
                Ok(()) => {}
                Err(error) => {
                    tracing::debug!(%error, "the other replicas cannot be watched");
                    self.watch.missed();
                    if !self.inner.lease.is_held() {
                        self.inner.peers.alone();
                    }
                }
            }
            // So that those who started together do not stay together.
            sleep(heartbeat.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        }
    }

    /// Looks who lives, ends who does not, and takes over from the ended.
    async fn look(&mut self) -> Result<(), StoreError> {
        let me = self.inner.no.load(Relaxed);
        let rows = self.inner.ask(Statement::Instances, vec![]).await?;
        let mut others = Vec::new();
        let (mut alive, mut speaks) = (0, i16::MAX);
        let (mut told, mut own): (Vec<Option<&[u8]>>, _) = (Vec::new(), None);
        for row in &rows {
            let (no, beat, ended, low): (i64, i64, i16, i64) = (row.get(0), row.get(1), row.get(2), row.get(3));
            self.lows.insert(no, low);
            if ended != 0 {
                self.ended.entry(no).or_insert(0);
            } else {
                if no == me {
                    own = Some(told.len());
                }
                told.push(row.get(5));
                alive += 1;
                speaks = speaks.min(row.get(4));
                if no != me {
                    others.push((no, beat));
                }
            }
        }
        self.inner.replicas.store(alive.max(1), Relaxed);
        self.inner.rows.speak(speaks);
        match own {
            Some(own) if self.inner.lease.is_held() => self.inner.peers.heard(&told, own),
            _ => self.inner.peers.alone(),
        }
        if !self.inner.lease.is_held() {
            // One that cannot be sure of itself judges nobody.
            self.watch.missed();
            return Ok(());
        }
        for (no, beat) in self.watch.look(&others, Instant::now()) {
            let was_ended = !self.inner.ask(Statement::End, vec![&no, &beat]).await?.is_empty();
            if was_ended {
                tracing::warn!(replica = no, "a replica of the ledger has died; what it left is taken over");
                self.ended.insert(no, 0);
            }
        }
        self.take_over().await
    }

    async fn take_over(&mut self) -> Result<(), StoreError> {
        let ended: Vec<i64> = self.ended.iter().filter(|(_, clean)| **clean < CLEAN_LOOKS).map(|(no, _)| *no).collect();
        let now = self.inner.clock.now();
        let due = self.inner.owned.lock().how_many_due(now, TAKEN_AT_ONCE.into());
        if ended.is_empty() || due >= usize::from(TAKEN_AT_ONCE) {
            return Ok(());
        }
        let (me, now, limit) = (self.inner.no.load(Relaxed), now.cast_signed(), i64::from(TAKEN_AT_ONCE));
        let low = ended.iter().filter_map(|no| self.lows.get(no)).min().copied().unwrap_or(0);
        let mut rows = self.inner.ask(Statement::TakeDue, vec![&me, &ended, &now, &limit]).await?;
        rows.extend(self.inner.ask(Statement::TakePending, vec![&me, &ended, &now, &limit, &low]).await?);
        for row in &rows {
            let operation = self.inner.rows.read(row, self.inner.steady_now())?;
            self.inner.waiters.wake(operation.id.seq);
            self.inner.owned.lock().put(&operation, self.inner.instance());
        }
        if rows.is_empty() {
            for no in &ended {
                *self.ended.entry(*no).or_default() += 1;
            }
        } else {
            tracing::warn!(operations = rows.len(), "operations of replicas that ended are this one's now");
            self.ended.extend(ended.iter().map(|no| (*no, 0)));
        }
        Ok(())
    }
}

/// Says that this replica lives, and learns what time it is. An error prolongs nothing.
pub(super) async fn beat(inner: &Arc<Inner>) {
    let Ok(session) = inner.beats.session() else { return };
    let no = inner.no.load(Relaxed);
    let low = {
        let owned = inner.owned.lock();
        owned.lowest().unwrap_or_else(|| inner.numbers.low(inner.clock.now())).cast_signed()
    };
    let (sent, at) = (inner.lease.now(), Instant::now());
    let demand = inner.peers.publish(at);
    match session.query(Statement::Beat, vec![&no, &low, &demand]).await {
        Ok(rows) => match rows.first() {
            Some(row) => {
                faults::reach(Point::AfterBeat);
                inner.lease.renew(if is_off(Safeguard::LeaseFromSending) { inner.lease.now() } else { sent });
                // By half of the time that the answer took, nobody knows when it was said: after a standstill it says nothing.
                let (middle, is_known) = (at + at.elapsed() / 2, at.elapsed() < CLOCK_WITHIN);
                let told = row.get::<_, i64>(1).cast_unsigned();
                let by = if is_known { inner.clock.tell(told, middle) } else { 0 };
                if by.abs() > JUMP_MS {
                    tracing::warn!(by_ms = by, "the clock of the ledger's store was put forward or back");
                }
            }
            None => return fenced(inner).await,
        },
        Err(error) => tracing::warn!(%error, "the ledger's store did not take a sign of life"),
    }
    if inner.numbers.runs_out(inner.clock.now()) {
        reserve(inner).await;
    }
}

/// Reserves time for the numbers of operations.
pub(super) async fn reserve(inner: &Arc<Inner>) {
    let Ok(session) = inner.beats.session() else { return };
    let node = i16::try_from(inner.node.load(Relaxed)).unwrap_or(0);
    let (from, span, no) = (inner.clock.now().max(EPOCH).cast_signed(), BLOCK_MS.cast_signed(), inner.no.load(Relaxed));
    match session.query(Statement::Number, vec![&from, &span, &node, &no]).await {
        Ok(rows) => {
            if let Some(row) = rows.first() {
                inner.numbers.reserved(node.cast_unsigned(), row.get::<_, i64>(0).cast_unsigned());
            }
        }
        Err(error) => tracing::warn!(%error, "no numbers for operations could be reserved"),
    }
}

/// Others hold this replica for dead: what it owned is theirs, and it goes on under a new number.
async fn fenced(inner: &Arc<Inner>) {
    inner.lease.end();
    let Ok(session) = inner.beats.session() else { return };
    tracing::error!(
        replica = inner.no.load(Relaxed),
        "this replica was taken for dead: others have what it owned. It goes on under a new number"
    );
    match open::register(&session, &inner.options, Uuid::new_v4()).await {
        Ok(registered) => {
            inner.owned.lock().forget_all();
            inner.no.store(registered.no, Relaxed);
            inner.node.store(i64::from(registered.node), Relaxed);
            reserve(inner).await;
        }
        Err(error) => tracing::error!(%error, "this replica could not register again"),
    }
}

/// Looks once for all that wait, as often as the youngest of them is worth.
pub(super) async fn poll(inner: Arc<Inner>) {
    loop {
        let (waited_for, youngest) = inner.waiters.waited_for();
        if waited_for.is_empty() {
            inner.waiters.came.notified().await;
            continue;
        }
        sleep(pause(youngest, inner.options.settings.wait_poll)).await;
        let (seqs, seen): (Vec<_>, Vec<_>) =
            waited_for.into_iter().map(|(seq, seen)| (seq.cast_signed(), seen.cast_signed())).unzip();
        // What cannot be asked now is asked next time.
        let changed = inner.ask(Statement::Changed, vec![&seqs, &seen]).await.unwrap_or_default();
        for row in &changed {
            inner.waiters.wake(row.get::<_, i64>(0).cast_unsigned());
        }
    }
}

fn pause(youngest: Duration, shortest: Duration) -> Duration {
    let wanted = match youngest.as_secs() {
        0 => shortest,
        1..5 => Duration::from_millis(100),
        _ => Duration::from_millis(250),
    };
    wanted.max(shortest)
}

/// Frees what begins left that were refused, and what is on record as pending here although nobody here knows of it: nothing
/// was ever sent of either.
pub(super) async fn tidy(inner: Arc<Inner>, queue: tokio::sync::mpsc::WeakSender<Command>) {
    let mut next_audit = Instant::now() + AUDIT_EVERY;
    loop {
        sleep(Duration::from_secs(1)).await;
        let now = Instant::now();
        let left = inner.refused.lock().look_for(now);
        for id in left {
            if let Ok(Some(found)) = inner.read_stored(id).await
                && found.state == State::Pending
                && found.owner == inner.instance()
            {
                give_up(&inner, &queue, found);
            }
        }
        if now >= next_audit && !is_off(Safeguard::RefusedList) {
            next_audit = now + AUDIT_EVERY;
            if let Err(error) = audit(&inner, &queue).await {
                tracing::debug!(%error, "what nobody knows of could not be looked for");
            }
        }
    }
}

fn give_up(
    inner: &Arc<Inner>,
    queue: &tokio::sync::mpsc::WeakSender<Command>,
    found: mainstay_policies::operation::Operation,
) {
    let id = found.id;
    let next = abandoned(found, inner.clock.now());
    let command = Command::Update(UpdateCommand { next, entry: None, reply: None });
    let is_queued = queue.upgrade().is_some_and(|queue| inner.enqueue(&queue, command));
    if !is_queued {
        inner.refused.lock().add(id);
    }
}

/// What is pending under this replica's number and known to nobody here was never handed to anybody.
async fn audit(inner: &Arc<Inner>, queue: &tokio::sync::mpsc::WeakSender<Command>) -> Result<(), StoreError> {
    let no = inner.no.load(Relaxed);
    let rows = inner.ask(Statement::Unclaimed, vec![&no]).await?;
    for row in &rows {
        let found = inner.rows.read(row, inner.steady_now())?;
        // Looked at after the answer: what was begun meanwhile is under way here.
        let is_known = inner.owned.lock().knows(found.id.seq);
        if !is_known && found.state == State::Pending && found.owner == inner.instance() {
            tracing::warn!(operation = %found.id, "an operation on record was never handed to anybody; its key is freed");
            give_up(inner, queue, found);
        }
    }
    Ok(())
}
