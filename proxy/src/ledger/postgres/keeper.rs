//! What keeps a replica alive, and takes over from those that are not: beats, the watch, takeovers, one look for all that wait,
//! and what refused begins may have left.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use mainstay_policies::{
    faults::{Safeguard, is_off},
    operation::State,
};
use tokio::time::{Instant, sleep};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::faults::{self, Point};

use super::{
    census,
    command::{Command, abandonment},
    error::StoreError,
    inner::Inner,
    open,
    row::owner_of,
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
/// Between two counts of what all replicas have open: one of them counts, and the others read it.
const CENSUS_EVERY: Duration = Duration::from_secs(10);
/// Between two tries to register, and how often it is said why that does not succeed.
const ENLIST_AGAIN: Duration = Duration::from_secs(1);
const SAY_AGAIN: Duration = Duration::from_mins(1);
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
    next_census: Instant,
}

/// Another replica, as it stood when this one said that it lives.
struct Seen {
    no: i64,
    beat: i64,
    has_ended: bool,
    low: i64,
    /// The newest version of records that it reads, and what it was asked for.
    speaks: i16,
    demand: Option<Vec<u8>>,
}

impl Keeper {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        let settings = &inner.options.settings;
        let watch = Watch::new(settings.ttl, settings.heartbeat);
        Self { inner, watch, ended: HashMap::new(), lows: HashMap::new(), next_census: Instant::now() }
    }

    /// Beats, watches and takes over, until it is aborted.
    pub(super) async fn run(mut self) {
        let heartbeat = self.inner.options.settings.heartbeat;
        self.enlist().await;
        loop {
            // So that those who started together do not stay together.
            sleep(heartbeat.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
            self.turn().await;
        }
    }

    /// Registers this replica, if the store could not be reached at the start.
    async fn enlist(&mut self) {
        let mut said = None;
        while !self.inner.is_open() {
            let session = self.inner.beats.up().await;
            match open::enlist(&self.inner, &session).await {
                Ok(()) => return self.turn().await,
                Err(error) => {
                    let now = Instant::now();
                    if said.is_none_or(|said| now.duration_since(said) >= SAY_AGAIN) {
                        said = Some(now);
                        tracing::error!(%error, "keyed writes are refused: the ledger cannot be used");
                    }
                }
            }
            sleep(ENLIST_AGAIN).await;
        }
    }

    /// One heartbeat, and what follows from what it shows.
    pub(super) async fn turn(&mut self) {
        self.look_back().await;
        if let Some(seen) = beat(&self.inner).await {
            self.pay_back().await;
            if let Err(error) = self.look(seen).await {
                tracing::debug!(%error, "nothing is taken over now");
            }
        } else {
            self.watch.missed();
            if !self.inner.lease.is_held() {
                self.inner.peers.alone();
            }
        }
        if Instant::now() >= self.next_census {
            self.next_census = Instant::now() + CENSUS_EVERY;
            let (me, now) = (self.inner.no.load(Relaxed), self.inner.clock.now().cast_signed());
            if let Err(error) = self.inner.ask(Statement::Census, vec![&me, &now]).await {
                tracing::debug!(%error, "the open operations of all replicas are not counted now");
            }
        }
        if self.inner.numbers.runs_out(self.inner.clock.now()) {
            reserve(&self.inner).await;
        }
    }

    /// A replica that has nothing to write notices, too, when the store has forgotten.
    async fn look_back(&self) {
        if let Ok(session) = self.inner.writer.session()
            && self.inner.is_open()
            && let Err(error) = self.inner.remembers(&session).await
        {
            tracing::warn!(%error, "nothing is written over this connection to the ledger's store");
            session.close();
        }
    }

    /// Writes again what the store has forgotten, now that this replica is known to it.
    async fn pay_back(&self) {
        if !self.inner.memory.is_owed.load(Relaxed) {
            return;
        }
        let Ok(session) = self.inner.beats.session() else { return };
        if let Err(error) = self.inner.restore(&session).await {
            tracing::error!(%error, "what the store has forgotten could not be written again; it is tried on");
        }
    }

    /// Looks who lives, ends who does not, and takes over from the ended.
    async fn look(&mut self, seen: Vec<Seen>) -> Result<(), StoreError> {
        let me = self.inner.no.load(Relaxed);
        let there: HashSet<i64> = seen.iter().map(|seen| seen.no).collect();
        self.ended.retain(|no, _| there.contains(no));
        self.lows.retain(|no, _| there.contains(no));
        let mut others = Vec::new();
        let (mut alive, mut slowest) = (1, i16::MAX);
        let (mut told, mut own): (Vec<Option<&[u8]>>, _) = (Vec::new(), None);
        for Seen { no, beat, has_ended, low, speaks, demand } in &seen {
            let (no, beat, low) = (*no, *beat, *low);
            self.lows.insert(no, low);
            if *has_ended {
                self.ended.entry(no).or_insert(0);
                continue;
            }
            told.push(demand.as_deref());
            slowest = slowest.min(*speaks);
            if no == me {
                own = Some(told.len() - 1);
            } else {
                alive += 1;
                others.push((no, beat));
            }
        }
        self.inner.replicas.store(alive, Relaxed);
        self.inner.rows().speak(slowest);
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
        self.inner.ended.lock().clone_from(&self.ended.keys().copied().collect());
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
        let in_doubt = self.inner.ask(Statement::TakeDue, vec![&me, &ended, &now, &limit]).await?;
        self.inner.taken_over(&in_doubt, State::Unknown)?;
        let pending = self.inner.ask(Statement::TakePending, vec![&me, &ended, &now, &limit, &low]).await?;
        self.inner.taken_over(&pending, State::Pending)?;
        if in_doubt.is_empty() && pending.is_empty() {
            for no in &ended {
                *self.ended.entry(*no).or_default() += 1;
            }
        } else {
            let operations = in_doubt.len() + pending.len();
            tracing::warn!(operations, "operations of replicas that ended are this one's now");
            self.ended.extend(ended.iter().map(|no| (*no, 0)));
        }
        Ok(())
    }
}

/// Says that this replica lives, learns what time it is, and sees the others: one statement, so that an idle replica costs its
/// store next to nothing. `None`: nothing was learned, and an error prolongs nothing.
async fn beat(inner: &Arc<Inner>) -> Option<Vec<Seen>> {
    let session = inner.beats.session().ok()?;
    let (no, run) = (inner.no.load(Relaxed), *inner.run.lock());
    let low = {
        let owned = inner.owned.lock();
        owned.lowest().unwrap_or_else(|| inner.numbers.low(inner.clock.now())).cast_signed()
    };
    let (sent, at) = (inner.lease.now(), Instant::now());
    let demand = inner.peers.publish(at);
    let rows = match session.query(Statement::Beat, vec![&no, &run, &low, &demand]).await {
        Ok(rows) => rows,
        Err(error) => {
            inner.meters.count("beats", "failed");
            tracing::warn!(%error, "the ledger's store did not take a sign of life");
            return None;
        }
    };
    let Some(first) = rows.first().filter(|row| row.get(0)) else {
        inner.meters.count("beats", "refused");
        fenced(inner).await;
        return None;
    };
    faults::reach(Point::AfterBeat);
    inner.meters.count("beats", "taken");
    inner.lease.renew(if is_off(Safeguard::LeaseFromSending) { inner.lease.now() } else { sent });
    // By half of the time that the answer took, nobody knows when it was said: after a standstill it says nothing.
    let (middle, is_known) = (at + at.elapsed() / 2, at.elapsed() < CLOCK_WITHIN);
    let told = first.get::<_, i64>(1).cast_unsigned();
    let by = if is_known { inner.clock.tell(told, middle) } else { 0 };
    if by.abs() > JUMP_MS {
        tracing::warn!(by_ms = by, "the clock of the ledger's store was put forward or back");
    }
    let counted = first.get::<_, Option<&[u8]>>(2).and_then(census::read);
    if counted.is_some() {
        *inner.census.lock() = counted;
    }
    let seen = |row: &Row| Seen {
        no: row.get(3),
        beat: row.get(4),
        has_ended: row.get::<_, i16>(5) != 0,
        low: row.get(6),
        speaks: row.get(7),
        demand: row.get(8),
    };
    Some(rows.iter().map(seen).collect())
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
    inner.meters.count("fenced", "");
    let Ok(session) = inner.beats.session() else { return };
    tracing::error!(
        replica = inner.no.load(Relaxed),
        "this replica was taken for dead: others have what it owned. It goes on under a new number"
    );
    // A store that has forgotten it takes its signs of life no more either.
    if let Err(error) = inner.remembers(&session).await {
        return tracing::warn!(%error, "whether the store has forgotten this replica cannot be told");
    }
    let run = Uuid::new_v4();
    match open::register(&session, &inner.options, run).await {
        Ok(registered) => {
            // A store that has forgotten this replica has forgotten what it owned, too: nobody else can have that.
            if inner.memory.is_owed.load(Relaxed) {
                inner.owned.lock().renumber(owner_of(registered.no));
            } else {
                inner.owned.lock().forget_all();
            }
            *inner.run.lock() = run;
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
    inner.meters.count("abandoned", "");
    let id = found.id;
    let command = abandonment(found, inner.clock.now());
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
        let found = inner.rows().read(row, inner.steady_now())?;
        // Looked at after the answer: what was begun meanwhile is under way here.
        let is_known = inner.owned.lock().knows(found.id.seq);
        if !is_known && found.state == State::Pending && found.owner == inner.instance() {
            tracing::warn!(operation = %found.id, "an operation on record was never handed to anybody; its key is freed");
            give_up(inner, queue, found);
        }
    }
    Ok(())
}
