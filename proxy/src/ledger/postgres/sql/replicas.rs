//! What replicas say to the store for each other: takeovers, counts, and what a store that has forgotten is told again.

use tokio_postgres::types::Type;

use super::{BOOLS, BYTEAS, I2S, I8, I8S, Statement, TEXT, UUIDS};

impl Statement {
    /// Operations that change hands.
    pub(super) const fn hands(self) -> (&'static str, &'static [Type]) {
        match self {
            Self::TakeDue => (
                concat!(
                    "WITH lost AS (SELECT seq, owner FROM {s}.op WHERE owner = ANY($2) AND due IS NOT NULL ORDER BY due LIMIT $4 \
                     FOR UPDATE SKIP LOCKED), \
                     op AS (UPDATE {s}.op SET owner = $1, epoch = epoch + 1, revision = revision + 1, due = $3 \
                     FROM lost WHERE op.seq = lost.seq RETURNING op.*) SELECT ",
                    row!(),
                    ", (SELECT ended FROM {s}.instance, lost WHERE lost.seq = op.seq AND no = lost.owner) FROM op LEFT JOIN {s}.response r ON r.slot = op.slot AND r.seq = op.seq"
                ),
                &[I8, I8S, I8, I8],
            ),
            Self::TakePending => (
                concat!(
                    "WITH lost AS (SELECT seq, owner FROM {s}.op WHERE seq >= $5 AND owner = ANY($2) AND state = 0 ORDER BY seq \
                     LIMIT $4 FOR UPDATE SKIP LOCKED), \
                     op AS (UPDATE {s}.op SET owner = $1, epoch = epoch + 1, revision = revision + 1, state = 4, due = $3, \
                     sent = $3 FROM lost WHERE op.seq = lost.seq RETURNING op.*) SELECT ",
                    row!(),
                    ", (SELECT ended FROM {s}.instance, lost WHERE lost.seq = op.seq AND no = lost.owner) FROM op LEFT JOIN {s}.response r ON r.slot = op.slot AND r.seq = op.seq"
                ),
                &[I8, I8S, I8, I8, I8],
            ),
            Self::TakeEnded => (
                concat!(
                    "WITH op AS (UPDATE {s}.op SET owner = $1, epoch = epoch + 1, revision = revision + 1, state = 4, due = $5, \
                     sent = $5 WHERE seq = $2 AND owner = $3 AND epoch = $4 AND state = 0 \
                     AND EXISTS (SELECT FROM {s}.instance WHERE no = $3 AND ended <> 0) RETURNING *) SELECT ",
                    row!(),
                    ", (SELECT ended FROM {s}.instance WHERE no = $3) FROM op LEFT JOIN {s}.response r ON r.slot = op.slot AND r.seq = op.seq"
                ),
                &[I8, I8, I8, I8, I8],
            ),
            Self::TakeUnknown => (
                concat!(
                    "WITH op AS (UPDATE {s}.op SET owner = $1, epoch = epoch + 1, revision = revision + 1 \
                     WHERE seq = $2 AND owner = $3 AND epoch = $4 AND revision = $5 AND state = 4 RETURNING *) SELECT ",
                    row!(),
                    ", NULL::int2 FROM op LEFT JOIN {s}.response r ON r.slot = op.slot AND r.seq = op.seq"
                ),
                &[I8, I8, I8, I8, I8],
            ),
            _ => self.counts(),
        }
    }

    /// What is counted for all, and who shares the store.
    const fn counts(self) -> (&'static str, &'static [Type]) {
        match self {
            // Whoever has the duty counts, and leaves it for all; for anybody else it is one look at the duty.
            Self::Census => (
                "WITH mine AS (UPDATE {s}.duty SET holder = $1 WHERE name = 'census' AND (holder IS NULL OR holder = $1 \
                 OR NOT EXISTS (SELECT FROM {s}.instance WHERE no = holder AND ended = 0)) RETURNING 1), \
                 counted AS (SELECT \
                 (SELECT count(*) FROM {s}.op WHERE state = 0 AND seq >= (SELECT min(low) FROM {s}.instance \
                 WHERE ended = 0 OR at > clock_timestamp() - interval '10 minutes')) AS pending, \
                 (SELECT count(*) FROM {s}.op WHERE due IS NOT NULL) AS waiting, \
                 (SELECT min(seq) FROM {s}.op WHERE due IS NOT NULL) AS oldest, \
                 (SELECT count(*) FROM {s}.op WHERE flagged) AS flagged, \
                 (SELECT count(*) FROM {s}.op WHERE flagged AND state = 4 AND due IS NULL) AS persons, \
                 (SELECT min(seq) FROM {s}.op WHERE flagged AND state = 4) AS oldest_flagged \
                 WHERE EXISTS (SELECT FROM mine)) \
                 INSERT INTO {s}.meta (name, value) SELECT 'census', int8send(pending) || int8send(waiting + persons) || \
                 int8send(flagged) || int8send(coalesce(least(oldest, oldest_flagged), 0)) || int8send($2) FROM counted \
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                &[I8, I8],
            ),
            // They have left nothing that is open, so nobody looks after them any more.
            Self::ForgetInstances => (
                "DELETE FROM {s}.instance i WHERE ended <> 0 AND at < clock_timestamp() - interval '1 day' \
                 AND NOT EXISTS (SELECT FROM {s}.op WHERE owner = i.no AND due IS NOT NULL) \
                 AND NOT EXISTS (SELECT FROM {s}.op WHERE seq >= i.low AND owner = i.no AND state = 0)",
                &[],
            ),
            // Of one that has ended what is pending is looked for above its lowest number, of all others, too.
            Self::Replicas => (
                "SELECT i.no, i.name, i.node, i.beat, i.ended, \
                 (extract(epoch FROM clock_timestamp() - i.at) * 1000)::int8, \
                 (SELECT count(*) FROM {s}.op WHERE owner = i.no AND due IS NOT NULL) \
                 + (SELECT count(*) FROM {s}.op WHERE seq >= i.low AND owner = i.no AND state = 0) \
                 FROM {s}.instance i ORDER BY i.no",
                &[],
            ),
            // Something that has to be kept as safely as all that was written before it.
            Self::Touch => ("UPDATE {s}.instance SET at = clock_timestamp() WHERE no = $1", &[I8]),
            Self::Living => ("SELECT no FROM {s}.instance WHERE ended = 0", &[]),
            Self::FenceByHand => (
                "UPDATE {s}.instance SET ended = 2 WHERE ended = 0 AND (name = $1 OR no = $2) RETURNING no",
                &[TEXT, I8],
            ),
            _ => self.memory(),
        }
    }

    /// What a store that has forgotten is told again.
    const fn memory(self) -> (&'static str, &'static [Type]) {
        match self {
            Self::Revisions => ("SELECT seq, revision FROM {s}.op WHERE seq = ANY($1)", &[I8S]),
            // What is settled stands above what is open; of what is open the owner's later word. A key that somebody has begun
            // meanwhile stays theirs: `$7` is what was wanted, `held` what came of it.
            Self::Restore => (
                "INSERT INTO {s}.op AS op (seq, tag, key, held, state, owner, epoch, revision, sent, due, flagged, forget_at, \
                 sweep, question, slot, record) SELECT s, t, k, \
                 h AND NOT EXISTS (SELECT FROM {s}.op o WHERE o.key = k AND o.held AND o.seq <> s), \
                 st, o, e, rv, sn, d, f, fg, w, q, sl, rc \
                 FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int2[], $7::bool[], $8::int8[], \
                 $9::int8[], $10::bool[], $11::int8[], $12::int2[], $13::bytea[], $14::uuid[], $15::int8[], $16::int8[]) \
                 AS u(s, t, o, e, rv, st, h, sn, d, f, fg, sl, rc, k, w, q) ORDER BY k \
                 ON CONFLICT (seq) DO UPDATE SET held = excluded.held, state = excluded.state, \
                 revision = greatest(op.revision + 1, excluded.revision), sent = coalesce(excluded.sent, op.sent), \
                 due = excluded.due, flagged = excluded.flagged, forget_at = excluded.forget_at, \
                 slot = coalesce(excluded.slot, op.slot), record = excluded.record \
                 WHERE op.tag = excluded.tag AND op.state NOT IN (1, 2, 3) AND (excluded.state IN (1, 2, 3) \
                 OR (op.owner = excluded.owner AND op.epoch = excluded.epoch AND op.revision < excluded.revision)) \
                 RETURNING seq, NOT (state = 3 AND NOT flagged), held",
                &[I8S, I8S, I8S, I8S, I8S, I2S, BOOLS, I8S, I8S, BOOLS, I8S, I2S, BYTEAS, UUIDS, I8S, I8S],
            ),
            Self::RestoreResponses => (
                "INSERT INTO {s}.response SELECT sl, s, b FROM unnest($1::int2[], $2::int8[], $3::bytea[]) AS u(sl, s, b) \
                 ON CONFLICT DO NOTHING",
                &[I2S, I8S, BYTEAS],
            ),
            // Each stands in one of these functions; a test looks.
            _ => ("", &[]),
        }
    }
}
