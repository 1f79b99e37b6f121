//! What is said to the store. `{s}` stands for the schema: `search_path` is never relied on.

use std::borrow::Cow;

use mainstay_policies::faults::{Safeguard, is_off};
use tokio_postgres::types::Type;

/// A statement: its text, and what its parameters are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Statement {
    Insert,
    InsertRequests,
    Update,
    DropRequests,
    Free,
    UnderKeys,
    Freed,
    Numbered,
    Read,
    Question,
    List,
    ListNewest,
    ListUnknown,
    ListUnknownNewest,
    Request,
    Changed,
    Flagged,
    Audit,
    AuditOf,
    Append,
    TrimAudit,
    Sweep,
    Forget,
    ForgetResponses,
    ForgetRequests,
    Postpone,
    Empty,
    Duty,
    Reserve,
    Number,
    Beat,
    End,
    Leave,
    TakeDue,
    TakePending,
    Audited,
    Unclaimed,
    Note,
    KeepNote,
    TakeEnded,
    TakeUnknown,
    Census,
    ForgetInstances,
    Revisions,
    Restore,
    RestoreResponses,
    Replicas,
    FenceByHand,
    Living,
    Touch,
}

/// All of an operation's row, and its response.
macro_rules! row {
    () => {
        "op.seq, op.tag, op.state, op.owner, op.epoch, op.revision, op.sent, op.due, op.record, r.response"
    };
}

/// All operations.
macro_rules! list {
    ($order:literal) => {
        concat!(
            "SELECT ",
            row!(),
            " FROM {s}.op LEFT JOIN {s}.response r ON r.slot = op.slot AND r.seq = op.seq \
             WHERE op.seq BETWEEN $1 AND $3 ORDER BY op.seq ",
            $order,
            " LIMIT $2"
        )
    };
}

/// All that is in doubt: it is due, or a person's.
macro_rules! list_unknown {
    ($order:literal) => {
        concat!(
            "SELECT ",
            row!(),
            " FROM (SELECT seq FROM {s}.op WHERE due IS NOT NULL AND seq BETWEEN $1 AND $3 \
             UNION SELECT seq FROM {s}.op WHERE flagged AND seq BETWEEN $1 AND $3 ORDER BY seq ",
            $order,
            " LIMIT $2) AS found \
             JOIN {s}.op ON op.seq = found.seq LEFT JOIN {s}.response r ON r.slot = op.slot AND r.seq = op.seq \
             ORDER BY op.seq ",
            $order
        )
    };
}

mod replicas;

const I8: Type = Type::INT8;
const I8S: Type = Type::INT8_ARRAY;
const I2: Type = Type::INT2;
const I2S: Type = Type::INT2_ARRAY;
const BOOLS: Type = Type::BOOL_ARRAY;
const BYTEAS: Type = Type::BYTEA_ARRAY;
const UUID: Type = Type::UUID;
const UUIDS: Type = Type::UUID_ARRAY;
const TEXT: Type = Type::TEXT;
const BYTEA: Type = Type::BYTEA;

impl Statement {
    pub(super) const COUNT: usize = Self::Touch as usize + 1;

    /// Its text, and the types of its parameters.
    pub(super) const fn of(self) -> (&'static str, &'static [Type]) {
        self.writes()
    }

    /// What a batch writes.
    const fn writes(self) -> (&'static str, &'static [Type]) {
        match self {
            // In the order of keys, else batches deadlock. Without a conflict target: a number that is there already is no
            // error either.
            Self::Insert => (
                "INSERT INTO {s}.op (seq, tag, key, held, state, owner, epoch, revision, sweep, question, record) \
                 SELECT s, t, k, true, 0, $1, 1, 1, w, q, b \
                 FROM unnest($2::int8[], $3::int8[], $4::uuid[], $5::int8[], $6::int8[], $7::bytea[]) AS u(s, t, k, w, q, b) \
                 ORDER BY k ON CONFLICT DO NOTHING RETURNING seq",
                &[I8, I8S, I8S, UUIDS, I8S, I8S, BYTEAS],
            ),
            // After the insert, in the same transaction: only of what is there now, whoever put it there in an earlier try.
            Self::InsertRequests => (
                "INSERT INTO {s}.request (seq, request) SELECT s, b FROM unnest($1::int8[], $2::bytea[]) AS u(s, b) \
                 WHERE EXISTS (SELECT FROM {s}.op WHERE op.seq = s) ON CONFLICT DO NOTHING",
                &[I8S, BYTEAS],
            ),
            // In the order of numbers. A key that was given away meanwhile is not taken back. No join with the responses: with hash joins off it would be quadratic.
            Self::Update => (
                "WITH u AS (UPDATE {s}.op SET state = u.st, \
                 held = u.h AND (op.held OR NOT EXISTS (SELECT FROM {s}.op o WHERE o.key = op.key AND o.held)), revision = u.rv + 1, sent = coalesce(u.sn, op.sent), \
                 due = u.d, flagged = u.f, forget_at = u.fg, slot = coalesce(u.sl, op.slot), record = u.rc \
                 FROM unnest($1::int8[], $2::int8[], $3::int8[], $4::int8[], $5::int8[], $6::int2[], $7::bool[], $8::int8[], \
                 $9::int8[], $10::bool[], $11::int8[], $12::int2[], $13::bytea[], $14::bytea[]) \
                 AS u(s, t, o, e, rv, st, h, sn, d, f, fg, sl, rc, body) \
                 WHERE op.seq = u.s AND op.tag = u.t AND op.owner = u.o AND op.epoch = u.e AND op.revision = u.rv \
                 RETURNING op.seq, u.sl, u.body), \
                 r AS (INSERT INTO {s}.response SELECT sl, seq, body FROM u WHERE body IS NOT NULL \
                 ON CONFLICT (slot, seq) DO UPDATE SET response = excluded.response) SELECT seq FROM u",
                &[I8S, I8S, I8S, I8S, I8S, I2S, BOOLS, I8S, I8S, BOOLS, I8S, I2S, BYTEAS, BYTEAS],
            ),
            Self::DropRequests => (
                "DELETE FROM {s}.request USING {s}.op WHERE request.seq = ANY($1) AND op.seq = request.seq \
                 AND op.state IN (1, 2, 3)",
                &[I8S],
            ),
            Self::Free => (
                "UPDATE {s}.op SET held = false FROM unnest($1::int8[], $2::int8[]) AS u(s, rv) \
                 WHERE op.seq = u.s AND op.revision = u.rv AND op.held",
                &[I8S, I8S],
            ),
            _ => self.reads(),
        }
    }

    /// What is read of operations.
    const fn reads(self) -> (&'static str, &'static [Type]) {
        match self {
            Self::UnderKeys => (
                concat!(
                    "SELECT ",
                    row!(),
                    " FROM {s}.op LEFT JOIN {s}.response r ON r.slot = op.slot AND r.seq = op.seq \
                     WHERE op.held AND op.key = ANY($1)"
                ),
                &[UUIDS],
            ),
            // The latest that held a key and does not any more: nothing came of it, or its window is over.
            Self::Freed => (
                concat!(
                    "SELECT ",
                    row!(),
                    " FROM {s}.op LEFT JOIN {s}.response r ON r.slot = op.slot AND r.seq = op.seq \
                     WHERE NOT op.held AND op.key = $1 ORDER BY op.seq DESC LIMIT 1"
                ),
                &[UUID],
            ),
            Self::Numbered => (
                concat!(
                    "SELECT ",
                    row!(),
                    " FROM {s}.op LEFT JOIN {s}.response r ON r.slot = op.slot AND r.seq = op.seq \
                     WHERE op.seq = ANY($1)"
                ),
                &[I8S],
            ),
            Self::Read => (
                concat!(
                    "SELECT ",
                    row!(),
                    " FROM {s}.op LEFT JOIN {s}.response r ON r.slot = op.slot AND r.seq = op.seq \
                     WHERE op.seq = $1"
                ),
                &[I8],
            ),
            Self::Question => (
                "SELECT seq, tag, state, owner, epoch, revision, sent, due, record, NULL::bytea FROM {s}.op \
                 WHERE question = $1 ORDER BY seq DESC LIMIT $2",
                &[I8, I8],
            ),
            _ => self.listing(),
        }
    }

    /// Operations by their numbers.
    const fn listing(self) -> (&'static str, &'static [Type]) {
        match self {
            Self::List => (list!("ASC"), &[I8, I8, I8]),
            Self::ListNewest => (list!("DESC"), &[I8, I8, I8]),
            Self::ListUnknown => (list_unknown!("ASC"), &[I8, I8, I8]),
            Self::ListUnknownNewest => (list_unknown!("DESC"), &[I8, I8, I8]),
            _ => self.more(),
        }
    }

    /// What is read of an operation beside its row.
    const fn more(self) -> (&'static str, &'static [Type]) {
        match self {
            Self::Request => ("SELECT request FROM {s}.request WHERE seq = $1", &[I8]),
            Self::Changed => (
                "SELECT seq FROM {s}.op JOIN unnest($1::int8[], $2::int8[]) AS w(s, seen) ON seq = w.s WHERE revision <> seen",
                &[I8S, I8S],
            ),
            // The numbers are those of what is open: pending and unknown.
            Self::Flagged => (
                "SELECT count(*) FILTER (WHERE state IN (0, 4)), count(*) FILTER (WHERE state NOT IN (0, 4)) FROM {s}.op \
                 WHERE flagged",
                &[],
            ),
            _ => self.trails(),
        }
    }

    /// The audit trail, and what a replica has begun and not claimed.
    const fn trails(self) -> (&'static str, &'static [Type]) {
        match self {
            Self::Audit => (
                "SELECT number, at, actor, action, target, seq, tag, reason, before, after, result FROM {s}.audit \
                 WHERE number < $1 ORDER BY number DESC LIMIT $2",
                &[I8, I8],
            ),
            Self::AuditOf => (
                "SELECT number, at, actor, action, target, seq, tag, reason, before, after, result FROM {s}.audit \
                 WHERE number < $1 AND seq = $3 AND tag = $4 ORDER BY number DESC LIMIT $2",
                &[I8, I8, I8, I8],
            ),
            Self::Append => (
                "INSERT INTO {s}.audit (at, actor, action, target, seq, tag, reason, before, after, result) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING number",
                &[I8, TEXT, TEXT, TEXT, I8, I8, TEXT, TEXT, TEXT, TEXT],
            ),
            // With its change: `$1` to `$4` say that this is there, as it was just written.
            Self::Audited => (
                "INSERT INTO {s}.audit (at, actor, action, target, seq, tag, reason, before, after, result) \
                 SELECT $5, $6, $7, $8, $9, $10, $11, $12, $13, $14 \
                 WHERE EXISTS (SELECT FROM {s}.op WHERE seq = $1 AND owner = $2 AND epoch = $3 AND revision = $4 \
                 AND xmin = pg_current_xact_id()::xid)",
                &[I8, I8, I8, I8, I8, TEXT, TEXT, TEXT, I8, I8, TEXT, TEXT, TEXT, TEXT],
            ),
            // Above the lowest number that it has open, so it is few.
            Self::Unclaimed => (
                "SELECT op.seq, op.tag, op.state, op.owner, op.epoch, op.revision, op.sent, op.due, op.record, NULL::bytea \
                 FROM {s}.op WHERE op.seq >= (SELECT low FROM {s}.instance WHERE no = $1) AND op.owner = $1 AND op.state = 0 \
                 ORDER BY op.seq LIMIT 256",
                &[I8],
            ),
            Self::TrimAudit => {
                ("DELETE FROM {s}.audit WHERE number <= (SELECT max(number) - $1 FROM {s}.audit)", &[I8])
            }
            _ => self.upkeep(),
        }
    }

    /// Expiry, numbers, and who lives.
    const fn upkeep(self) -> (&'static str, &'static [Type]) {
        match self {
            Self::Sweep => {
                ("SELECT seq, slot, forget_at FROM {s}.op WHERE sweep <= $1 ORDER BY sweep LIMIT $2", &[I8, I8])
            }
            Self::Forget => ("DELETE FROM {s}.op WHERE seq = ANY($1) AND forget_at <= $2 RETURNING seq", &[I8S, I8]),
            Self::ForgetResponses => ("DELETE FROM {s}.response WHERE slot = -1 AND seq = ANY($1)", &[I8S]),
            Self::ForgetRequests => ("DELETE FROM {s}.request WHERE seq = ANY($1)", &[I8S]),
            Self::Postpone => (
                "UPDATE {s}.op SET sweep = coalesce(forget_at, $2) WHERE seq = ANY($1) AND coalesce(forget_at, $2) > $3",
                &[I8S, I8, I8],
            ),
            Self::Empty => ("SELECT EXISTS (SELECT FROM {s}.response WHERE slot = $1)", &[I2]),
            Self::Duty => (
                "UPDATE {s}.duty SET holder = $2 WHERE name = $1 AND (holder IS NULL OR holder = $2 \
                 OR NOT EXISTS (SELECT FROM {s}.instance WHERE no = holder AND ended = 0)) RETURNING holder",
                &[TEXT, I8],
            ),
            Self::Reserve => (
                "UPDATE {s}.node SET reserved = greatest(reserved, $1) + $2 WHERE node = $3 AND holder = $4 \
                 RETURNING reserved - $2",
                &[I8, I8, I2, I8],
            ),
            Self::Number => (
                "UPDATE {s}.node SET numbered = greatest(numbered, $1) + $2 WHERE node = $3 AND holder = $4 \
                 RETURNING numbered - $2",
                &[I8, I8, I2, I8],
            ),
            // A sign of life, and who else has given one: `me` says whether it was taken, by this run and no other that has got
            // its number from a copy of the store. Those that ended stay until nothing of theirs is open.
            Self::Beat => (
                "WITH me AS (UPDATE {s}.instance SET beat = beat + 1, low = $3, demand = $4, at = clock_timestamp() \
                 WHERE no = $1 AND run = $2 AND ended = 0 RETURNING no) \
                 SELECT EXISTS (SELECT FROM me), (extract(epoch FROM clock_timestamp()) * 1000)::int8, \
                 (SELECT value FROM {s}.meta WHERE name = 'census'), no, beat, ended, low, speaks, \
                 CASE WHEN ended = 0 THEN demand END FROM {s}.instance",
                &[I8, UUID, I8, BYTEA],
            ),
            Self::Note => ("SELECT value FROM {s}.meta WHERE name = $1", &[TEXT]),
            Self::KeepNote => (
                "INSERT INTO {s}.meta AS m (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = $2 \
                 WHERE m.value = $3 RETURNING true",
                &[TEXT, BYTEA, BYTEA],
            ),
            Self::End => {
                ("UPDATE {s}.instance SET ended = 2 WHERE no = $1 AND beat = $2 AND ended = 0 RETURNING no", &[I8, I8])
            }
            Self::Leave => ("UPDATE {s}.instance SET ended = 1 WHERE no = $1 AND ended = 0", &[I8]),
            _ => self.hands(),
        }
    }
}

/// Every statement, for the schema at hand.
pub(super) fn texts(schema: &str) -> Vec<String> {
    ALL.iter().map(|statement| guarded(statement.of().0).replace("{s}", schema)).collect()
}

/// As it is, but for a safeguard that a test has switched off.
fn guarded(text: &str) -> Cow<'_, str> {
    for (safeguard, part) in [
        (Safeguard::Ownership, " AND op.owner = u.o AND op.epoch = u.e AND op.revision = u.rv"),
        (Safeguard::KeyOrder, " ORDER BY k"),
    ] {
        if is_off(safeguard) && text.contains(part) {
            return text.replace(part, "").into();
        }
    }
    text.into()
}

const ALL: [Statement; Statement::COUNT] = [
    Statement::Insert,
    Statement::InsertRequests,
    Statement::Update,
    Statement::DropRequests,
    Statement::Free,
    Statement::UnderKeys,
    Statement::Freed,
    Statement::Numbered,
    Statement::Read,
    Statement::Question,
    Statement::List,
    Statement::ListNewest,
    Statement::ListUnknown,
    Statement::ListUnknownNewest,
    Statement::Request,
    Statement::Changed,
    Statement::Flagged,
    Statement::Audit,
    Statement::AuditOf,
    Statement::Append,
    Statement::TrimAudit,
    Statement::Sweep,
    Statement::Forget,
    Statement::ForgetResponses,
    Statement::ForgetRequests,
    Statement::Postpone,
    Statement::Empty,
    Statement::Duty,
    Statement::Reserve,
    Statement::Number,
    Statement::Beat,
    Statement::End,
    Statement::Leave,
    Statement::TakeDue,
    Statement::TakePending,
    Statement::Audited,
    Statement::Unclaimed,
    Statement::Note,
    Statement::KeepNote,
    Statement::TakeEnded,
    Statement::TakeUnknown,
    Statement::Census,
    Statement::ForgetInstances,
    Statement::Revisions,
    Statement::Restore,
    Statement::RestoreResponses,
    Statement::Replicas,
    Statement::FenceByHand,
    Statement::Living,
    Statement::Touch,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_statement_stands_in_its_own_place_and_names_its_schema() {
        for (at, statement) in ALL.iter().enumerate() {
            assert_eq!(*statement as usize, at);
            let (text, types) = statement.of();
            assert!(text.contains("{s}."), "{text}");
            assert!(types.iter().enumerate().all(|(at, _)| text.contains(&format!("${}", at + 1))), "{text}");
        }
    }
}
