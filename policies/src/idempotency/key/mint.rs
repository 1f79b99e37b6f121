//! Fresh keys that never repeat and never go back, whatever the clock does and however the process ends.
//!
//! Before a key is given out, the milliseconds that it may name are [reserved](Ledger::reserve) in the ledger, a block
//! ahead: nobody else gets them, and no process after this one. So a clock that is set back, or a kill that loses what
//! was in memory, costs at most the rest of a block; the next key names a later time.
//!
//! ```text
//! snowflake = 0 · milliseconds since 2024-01-01T00:00:00Z (41 bits) · node (10 bits) · sequence (12 bits), in decimal
//! uuidv7    = milliseconds since 1970 (48) · version · sequence (12) · variant · random (62)     RFC 9562, section 6.2
//! ```

use std::sync::Arc;

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::{
    clock::WallClock,
    operation::{
        UnixMillis,
        ledger::{Ledger, LedgerError},
    },
};

/// Milliseconds that are reserved at once: under load one more write to the ledger every five seconds, and keys that run
/// at most so far ahead of the clock after a kill.
const BLOCK_MS: u64 = 5_000;
/// 2024-01-01T00:00:00Z. 41 bits of milliseconds after it end in 2093.
const SNOWFLAKE_EPOCH: UnixMillis = 1_704_067_200_000;
/// Keys of one kind in one millisecond; the next one names the next millisecond.
const SEQUENCES: u16 = 1 << 12;
/// Instances that can be told apart.
pub const NODES: u16 = 1 << 10;

/// Which keys are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdKind {
    /// RFC 9562 version 7.
    UuidV7,
    /// 63 bits in decimal, in the order of time.
    Snowflake,
}

/// Makes fresh keys. One per process, so that they are in order.
pub struct IdMint {
    ledger: Arc<dyn Ledger>,
    clock: WallClock,
    node: u16,
    reserved: Mutex<Reserved>,
    /// One asks the ledger for more; the others wait for what it gets.
    asking: Semaphore,
}

/// The milliseconds that keys may name, and the last key of each kind.
#[derive(Clone, Copy, Debug, Default)]
struct Reserved {
    start: UnixMillis,
    end: UnixMillis,
    uuid: Option<Tick>,
    snowflake: Option<Tick>,
    /// For which node.
    node: u16,
}

/// The time and place of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Tick {
    ms: UnixMillis,
    sequence: u16,
}

impl Reserved {
    /// The next key of a kind, or the time from which on more must be reserved.
    fn next(&mut self, kind: IdKind, now: UnixMillis) -> Result<Tick, UnixMillis> {
        let last = match kind {
            IdKind::UuidV7 => &mut self.uuid,
            IdKind::Snowflake => &mut self.snowflake,
        };
        let earliest = Tick { ms: now.max(self.start).max(SNOWFLAKE_EPOCH), sequence: 0 };
        let next = last.map_or(earliest, |last| last.after().max(earliest));
        if next.ms >= self.end {
            return Err(next.ms);
        }
        *last = Some(next);
        Ok(next)
    }
}

impl Tick {
    const fn after(self) -> Self {
        if self.sequence + 1 < SEQUENCES {
            Self { sequence: self.sequence + 1, ..self }
        } else {
            Self { ms: self.ms + 1, sequence: 0 }
        }
    }
}

impl IdMint {
    /// A mint whose keys are ordered by `ledger`. Its node is drawn from the ledger's secret, so it stays the same as
    /// long as the ledger does; two ledgers in a thousand share one.
    pub fn new(ledger: Arc<dyn Ledger>, clock: WallClock) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"node");
        // A ledger that was not reached yet hands out nodes itself.
        hash.update(ledger.fingerprint_secret().unwrap_or(&[0; 32]));
        let [high, low, ..] = <[u8; 32]>::from(hash.finalize());
        let node = u16::from_be_bytes([high, low]) % NODES;
        Self { ledger, clock, node, reserved: Mutex::default(), asking: Semaphore::new(1) }
    }

    /// The same as instance `node`, below [`NODES`], of those that make snowflakes for one service.
    #[must_use]
    pub fn with_node(mut self, node: u16) -> Self {
        self.node = node % NODES;
        self
    }

    /// A fresh key.
    ///
    /// # Errors
    /// The ledger takes no writes.
    pub async fn mint(&self, kind: IdKind) -> Result<String, LedgerError> {
        let (tick, node) = self.tick(kind).await?;
        Ok(match kind {
            IdKind::UuidV7 => uuid(tick).to_string(),
            IdKind::Snowflake => snowflake(tick, node).to_string(),
        })
    }

    /// The node that is this process's now: what the ledger hands out counts.
    fn node(&self) -> u16 {
        self.ledger.node().unwrap_or(self.node)
    }

    async fn tick(&self, kind: IdKind) -> Result<(Tick, u16), LedgerError> {
        loop {
            if let Ok(tick) = self.try_tick(kind) {
                return Ok(tick);
            }
            let _turn = self.asking.acquire().await.expect("the semaphore is never closed");
            // Another one may have reserved more meanwhile.
            let from = match self.try_tick(kind) {
                Ok(tick) => return Ok(tick),
                Err(from) => from,
            };
            let node = self.node();
            let start = self.ledger.reserve(from, BLOCK_MS).await?;
            if node == self.node() {
                let mut reserved = self.reserved.lock();
                (reserved.node, reserved.start, reserved.end) = (node, start, start.saturating_add(BLOCK_MS));
            }
        }
    }

    fn try_tick(&self, kind: IdKind) -> Result<(Tick, u16), UnixMillis> {
        let (node, now) = (self.node(), self.clock.now());
        let mut reserved = self.reserved.lock();
        if reserved.node != node {
            // What was reserved for another node may be somebody else's on this one.
            reserved.end = 0;
        }
        Ok((reserved.next(kind, now)?, node))
    }
}

impl std::fmt::Debug for IdMint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IdMint").field("node", &self.node).finish_non_exhaustive()
    }
}

fn uuid(tick: Tick) -> Uuid {
    let head = (tick.ms << 16) | 0x7000 | u64::from(tick.sequence);
    // Its lower half is the variant and 62 random bits, as in version 7.
    let (_, tail) = Uuid::new_v4().as_u64_pair();
    Uuid::from_u64_pair(head, tail)
}

fn snowflake(tick: Tick, node: u16) -> u64 {
    ((tick.ms - SNOWFLAKE_EPOCH) & ((1 << 41) - 1)) << 22 | u64::from(node) << 12 | u64::from(tick.sequence)
}

#[cfg(test)]
mod tests;
