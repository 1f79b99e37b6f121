//! How requests went in the last minute, as documents tell it; and the quarter of an hour before now, for a picture.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    api::document::time,
    telemetry::metrics::{
        lately::{STAGES, Stage, Stages},
        recent::{Counted, Counts, INTERVAL, Series},
    },
};

/// The last minute, of all routes.
pub(super) fn of_all(counts: &Counts, window: Duration) -> Value {
    let of = |kind| u64::from(counts[kind]);
    let answers = of(Counted::Answers);
    json!({
        "window_ms": window.as_millis() as u64,
        "rate": per_second(answers, window),
        "error_share": share(of(Counted::Errors), answers),
        "p50_ms": counts.took_ms(0.5).map(rounded),
        "p99_ms": counts.took_ms(0.99).map(rounded),
        "requests": answers,
        "errors": of(Counted::Errors),
        "cancelled": of(Counted::Cancelled),
        "retried": of(Counted::Retried),
        "retried_share": share(of(Counted::Retried), answers),
        "limited": of(Counted::Limited),
        "replayed": of(Counted::Replayed),
    })
}

/// Adds the last minute of one route to its document.
pub(super) fn put(document: &mut Value, counts: Option<&Counts>, window: Duration) {
    let of = |kind| counts.map(|counts| u64::from(counts[kind]));
    let (answers, errors) = (of(Counted::Answers), of(Counted::Errors));
    let ok = answers.zip(errors).and_then(|(answers, errors)| share(answers.saturating_sub(errors), answers));
    document["rate"] = answers.map(|answers| per_second(answers, window)).into();
    document["ok_share"] = ok.into();
    for (name, quantile) in [("p50_ms", 0.5), ("p99_ms", 0.99)] {
        document[name] = counts.and_then(|counts| counts.took_ms(quantile)).map(rounded).into();
    }
    for (name, kind) in [
        ("requests", Counted::Answers),
        ("errors", Counted::Errors),
        ("retried", Counted::Retried),
        ("limited", Counted::Limited),
        ("replayed", Counted::Replayed),
        ("doubted", Counted::Doubted),
    ] {
        document[name] = of(kind).into();
    }
}

/// Adds the last minute of the attempts at one endpoint to its document.
pub(super) fn put_attempts(document: &mut Value, counts: Option<&Counts>, window: Duration) {
    let of = |kind| counts.map(|counts| u64::from(counts[kind]));
    document["rate"] = of(Counted::Answers).map(|attempts| per_second(attempts, window)).into();
    document["p99_ms"] = counts.and_then(|counts| counts.took_ms(0.99)).map(rounded).into();
    document["attempts"] = of(Counted::Answers).into();
    document["errors"] = of(Counted::Errors).into();
}

/// What became of requests in the last five minutes, by the stages of their way.
pub(super) fn of_stages(stages: &Stages) -> Value {
    let count = |stage: Stage| match stage {
        Stage::Admitted => stages[stage as usize].saturating_sub(stages[Stage::Limited as usize]),
        stage => stages[stage as usize],
    };
    STAGES.into_iter().map(|(stage, name)| (name, count(stage))).collect()
}

/// The quarter of an hour before now.
pub(super) fn of_series(series: &Series) -> Value {
    let rounded = |values: &[f32]| values.iter().map(|value| rounded(f64::from(*value))).collect::<Vec<_>>();
    json!({
        "interval_ms": INTERVAL.as_millis() as u64,
        "ends_at": (series.ended_at > 0).then(|| time(series.ended_at)),
        "rate": rounded(&series.rate),
        "errors": rounded(&series.errors),
        "p99_ms": series.p99_ms.iter().map(|value| value.map(|ms| self::rounded(f64::from(ms)))).collect::<Vec<_>>(),
        "in_doubt": series.in_doubt,
    })
}

fn per_second(count: u64, window: Duration) -> f64 {
    rounded(count as f64 / window.as_secs_f64().max(1.0))
}

/// `None` of nothing.
fn share(part: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| (part as f64 / all as f64 * 1e4).round() / 1e4)
}

/// To three decimals: more would only look exact.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A refusal is counted before the request that it ends.
    #[test]
    fn more_were_refused_than_have_ended_yet() {
        let mut stages = Stages::default();
        stages[Stage::Limited as usize] = 3;
        for (ended, admitted) in [(0, 0), (2, 0), (3, 0), (8, 5)] {
            stages[Stage::Admitted as usize] = ended;
            assert_eq!(
                (&of_stages(&stages)["admitted"], &of_stages(&stages)["limited"]),
                (&admitted.into(), &3.into())
            );
        }
    }
}
