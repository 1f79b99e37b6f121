use proptest::prelude::*;

use std::time::Duration;

use http::StatusCode;

use super::{settle::proven_state, *};
use crate::{
    evidence::{Evidence, Verdict},
    operation::{
        Attention, AttentionReason, Contradiction, FingerprintVersion, InstanceId, KeptRequest, KeyHash, OperationId,
        Provenance, QuerySchedule, Redispatch, Retained, Source,
        history::{EventKind, History, SETTLE_AFTER, TOO_EARLY},
    },
    retry::{Backoff, Jitter},
};

const NOW: UnixMillis = 1_000_000;

fn policy(asking: Option<Asking>) -> StepPolicy {
    StepPolicy { patience: Duration::from_mins(1), late_response: Duration::from_secs(30), asking, redispatch: None }
}

fn asking(fenced: bool) -> Asking {
    Asking { settle_after: Duration::from_mins(1), fenced, schedule: QuerySchedule::default() }
}

fn pending() -> Operation {
    Operation {
        id: OperationId { seq: 1, tag: 1 },
        key_hash: KeyHash([0; 32]),
        principal: [0; 32],
        fingerprint: [0; 32],
        fingerprint_version: FingerprintVersion::CURRENT,
        credentials: None,
        route: "r".into(),
        upstream: "u".into(),
        state: State::Pending,
        reason: "in_flight".into(),
        source: None,
        http_status: None,
        attempts: 1,
        created_at: NOW,
        dispatched_at: Some(NOW),
        settled_at: None,
        next_check_at: Some(NOW + 60_000),
        checks: 0,
        attention: None,
        last_evidence: None,
        retained: Retained::None,
        status_target: Some("/s".into()),
        request: KeptRequest::None,
        redispatches: 0,
        origin: None,
        provenance: Provenance::default(),
        history: History::default(),
        retention_ms: 1,
        tombstone_ms: 2,
        window_ms: None,
        owner: InstanceId(1),
        epoch: 1,
        revision: 1,
    }
}

fn seen(evidence: Evidence, source: Source) -> Event {
    let reason = "seen".into();
    Event::Observed(Observation { evidence, source, reason, status: None, retained: Retained::None })
}

fn response(evidence: Evidence) -> Event {
    seen(evidence, Source::Response)
}

fn heard(verdict: Option<Verdict>) -> Event {
    Event::Queried {
        verdict,
        too_early: false,
        http_status: None,
        asked_at: UnixMillis::MAX,
        retry_after: None,
        answer: None,
    }
}

fn after_all(events: &[Event], policy: &StepPolicy) -> Operation {
    events.iter().fold(pending(), |operation, event| step(&operation, event.clone(), policy, NOW).0)
}

fn unknown(policy: &StepPolicy) -> Operation {
    after_all(&[response(Evidence::Ambiguous)], policy)
}

#[test]
fn an_answer_settles_what_is_pending_and_what_is_unknown() {
    for (evidence, expected) in [
        (Evidence::Succeeded, State::Succeeded),
        (Evidence::Failed, State::Failed),
        (Evidence::NotExecuted, State::NotExecuted),
        (Evidence::Ambiguous, State::Unknown),
        (Evidence::Ongoing, State::Unknown),
    ] {
        let policy = policy(None);
        assert_eq!(after_all(&[response(evidence)], &policy).state, expected, "{evidence:?}");
        let late = seen(evidence, Source::LateResponse);
        let settled = after_all(&[response(Evidence::Ambiguous), late], &policy);
        assert_eq!(settled.state, expected, "late {evidence:?}");
        if expected.is_terminal() {
            assert_eq!((settled.source, settled.settled_at), (Some(Source::LateResponse), Some(NOW)));
        }
    }
}

#[test]
fn a_dead_owner_leaves_a_pending_operation_unknown_and_no_other_changed() {
    let lost = || Event::OwnerLost { reason: "restart" };
    let policy = policy(None);
    let operation = after_all(&[lost()], &policy);
    assert_eq!((operation.state, &*operation.reason), (State::Unknown, "restart"));
    for evidence in [Evidence::Succeeded, Evidence::Failed, Evidence::NotExecuted, Evidence::Ambiguous] {
        let before = after_all(&[response(evidence)], &policy);
        assert_eq!(step(&before, lost(), &policy, NOW + 1), (before.clone(), vec![]), "{evidence:?}");
    }
}

#[test]
fn evidence_against_a_terminal_state_calls_a_person_and_changes_nothing_else() {
    let policy = policy(None);
    let settled = after_all(&[response(Evidence::Succeeded)], &policy);
    let (flagged, actions) = step(&settled, seen(Evidence::Failed, Source::LateResponse), &policy, NOW + 5);
    assert_eq!(actions, [Action::Record, Action::Alert(AttentionReason::Conflict)]);
    let heard = Some(Contradiction { evidence: Evidence::Failed, source: Source::LateResponse, status: None });
    let attention = Some(Attention { heard, ..Attention::new(NOW + 5, AttentionReason::Conflict) });
    let history = flagged.history.clone();
    assert_eq!(flagged, Operation { attention, last_evidence: Some(Evidence::Failed), history, ..settled });
    let (again, actions) = step(&flagged, seen(Evidence::Failed, Source::LateResponse), &policy, NOW + 9);
    assert_eq!((again, actions), (flagged, vec![]), "once");
}

#[test]
fn ambiguity_about_a_terminal_state_is_nothing() {
    let policy = policy(Some(asking(true)));
    for evidence in [Evidence::Succeeded, Evidence::Failed, Evidence::NotExecuted] {
        let settled = after_all(&[response(evidence)], &policy);
        for event in [response(Evidence::Ambiguous), heard(None), heard(Some(Verdict::NotFound)), Event::Due] {
            assert_eq!(step(&settled, event, &policy, NOW + 1), (settled.clone(), vec![]));
        }
    }
}

#[test]
fn a_contradicted_not_executed_no_longer_frees_the_key() {
    let policy = policy(None);
    let free = after_all(&[response(Evidence::NotExecuted)], &policy);
    assert!(free.frees_key());
    assert!(!step(&free, seen(Evidence::Succeeded, Source::LateResponse), &policy, NOW).0.frees_key());
    assert!(!step(&free, response(Evidence::Ongoing), &policy, NOW).0.frees_key());
}

#[test]
fn not_found_proves_nothing_until_the_write_cannot_arrive_any_more() {
    let policy = policy(Some(asking(false)));
    let before = unknown(&policy);
    let not_found = || heard(Some(Verdict::NotFound));
    let early = step(&before, not_found(), &policy, NOW + 59_999).0;
    assert_eq!(early.state, State::Unknown);
    assert_eq!(early.next_check_at, Some(NOW + 60_000), "asked again when it would prove something");
    let settled = step(&early, not_found(), &policy, NOW + 60_000).0;
    assert_eq!((settled.state, settled.source), (State::NotExecuted, Some(Source::StatusQuery)));
    let asked = settled.history.entries().iter().filter(|entry| entry.kind == EventKind::Asked);
    let causes: Vec<_> = asked.map(|entry| entry.cause).collect();
    assert_eq!(causes, [Some(TOO_EARLY), Some(SETTLE_AFTER)], "and it is told");
}

#[test]
fn settle_after_counts_from_the_last_dispatch() {
    let policy = policy(Some(asking(false)));
    let sent_again = step(&unknown(&policy), Event::Dispatched, &policy, NOW + 30_000).0;
    let not_found = |at| step(&sent_again, heard(Some(Verdict::NotFound)), &policy, at).0.state;
    assert_eq!(not_found(NOW + 60_000), State::Unknown);
    assert_eq!(not_found(NOW + 90_000), State::NotExecuted);
}

#[test]
fn an_answer_that_came_slowly_speaks_of_when_it_was_asked_for() {
    let policy = policy(Some(asking(false)));
    let asked = |asked_at| Event::Queried {
        verdict: Some(Verdict::NotFound),
        too_early: false,
        http_status: None,
        asked_at,
        retry_after: None,
        answer: None,
    };
    let at = NOW + 61_000;
    assert_eq!(step(&unknown(&policy), asked(NOW + 58_000), &policy, at).0.state, State::Unknown);
    assert_eq!(step(&unknown(&policy), asked(NOW + 60_000), &policy, at).0.state, State::NotExecuted);
}

#[test]
fn a_fenced_not_found_proves_at_once() {
    let policy = policy(Some(asking(true)));
    assert_eq!(step(&unknown(&policy), heard(Some(Verdict::NotFound)), &policy, NOW).0.state, State::NotExecuted);
}

#[test]
fn no_query_says_that_a_write_in_flight_was_not_executed() {
    let policy = policy(Some(asking(true)));
    for verdict in [Verdict::NotFound, Verdict::Evidence(Evidence::NotExecuted)] {
        assert_eq!(step(&pending(), heard(Some(verdict)), &policy, NOW).1, []);
    }
}

#[test]
fn queries_wait_longer_each_time_and_end_with_a_person() {
    let policy = policy(Some(asking(false)));
    let mut operation = unknown(&policy);
    let mut waits = Vec::new();
    let mut now = NOW;
    while let Some(due) = operation.next_check_at.filter(|_| operation.attention.is_none()) {
        waits.push(due - now);
        now = due;
        let (next, actions) = step(&operation, Event::Due, &policy, now);
        operation = if actions.contains(&Action::Ask) { step(&next, heard(None), &policy, now).0 } else { next };
    }
    for (wait, full) in waits.iter().zip([200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200, 60000]) {
        assert!((full * 9 / 10..=full).contains(wait), "{wait} of {full}");
    }
    assert_eq!(now, NOW + 24 * 60 * 60 * 1000);
    assert_eq!(operation.state, State::Unknown);
    assert_eq!(operation.attention.unwrap().reason, AttentionReason::ResolveExhausted);
}

#[test]
fn after_a_person_was_called_it_is_asked_on_once_an_hour_and_what_is_heard_lowers_the_flag() {
    let policy = policy(Some(asking(false)));
    let hour = 3_600_000;
    let mut now = NOW + 25 * hour;
    let mut operation = step(&step(&unknown(&policy), Event::Due, &policy, now).0, heard(None), &policy, now).0;
    let flag = operation.attention;
    assert!(flag.is_some());
    for _ in 0..3 {
        assert_eq!(operation.due_at(), Some(now + hour));
        now += hour;
        let (asked, actions) = step(&operation, Event::Due, &policy, now);
        assert_eq!(actions, [Action::Record, Action::Ask]);
        let (next, actions) = step(&asked, heard(None), &policy, now);
        assert_eq!(actions, [Action::Record], "a person is called once");
        assert_eq!(next.attention, flag, "since when is not forgotten");
        operation = next;
    }
    let soon = step(&operation, Event::DueBy { at: now + 1 }, &policy, now).0;
    assert_eq!(soon.due_at(), Some(now + 1), "its upstream has recovered");
    let settled = step(&operation, heard(Some(Verdict::Evidence(Evidence::Failed))), &policy, now).0;
    assert_eq!((settled.state, settled.attention), (State::Failed, None));
}

#[test]
fn retry_after_is_honoured_up_to_the_time_to_give_up() {
    let policy = policy(Some(asking(false)));
    let due = |seconds| {
        let retry_after = Some(Duration::from_secs(seconds));
        step(
            &unknown(&policy),
            Event::Queried {
                verdict: None,
                too_early: false,
                http_status: None,
                asked_at: NOW,
                retry_after,
                answer: None,
            },
            &policy,
            NOW,
        )
        .0
        .next_check_at
    };
    assert_eq!(due(90), Some(NOW + 90_000));
    assert_eq!(due(u64::MAX), Some(NOW + 24 * 60 * 60 * 1000));
}

#[test]
fn without_a_status_endpoint_a_person_is_called_when_no_late_answer_can_come() {
    let policy = policy(None);
    let before = unknown(&policy);
    assert_eq!(step(&before, Event::Due, &policy, NOW + 29_999), (before.clone(), vec![]));
    let (flagged, actions) = step(&before, Event::Due, &policy, NOW + 30_000);
    assert_eq!(actions, [Action::Record, Action::Alert(AttentionReason::ResolveExhausted)]);
    let late = step(&flagged, seen(Evidence::Succeeded, Source::LateResponse), &policy, NOW + 40_000).0;
    assert_eq!((late.state, late.attention), (State::Succeeded, None), "proof is taken at any time");
}

/// express-idempotency#32, IdempotentAPI#37: stuck in progress for days after a crash.
#[test]
fn an_operation_that_is_pending_for_too_long_becomes_unknown() {
    let policy = policy(None);
    assert_eq!(step(&pending(), Event::Due, &policy, NOW + 59_999).1, []);
    let overdue = step(&pending(), Event::Due, &policy, NOW + 60_000).0;
    assert_eq!((overdue.state, &*overdue.reason), (State::Unknown, "overdue"));
}

#[test]
fn a_person_settles_what_is_unknown_and_never_what_is_in_flight_or_settled() {
    let policy = policy(None);
    let resolved = |evidence| Event::Resolved { evidence, reason: "looked it up".into() };
    let settled = step(&unknown(&policy), resolved(Evidence::Failed), &policy, NOW).0;
    assert_eq!((settled.state, settled.source), (State::Failed, Some(Source::Operator)));
    assert_eq!(step(&pending(), resolved(Evidence::Failed), &policy, NOW).1, []);
    assert_eq!(step(&unknown(&policy), resolved(Evidence::Ambiguous), &policy, NOW).1, []);
    let flagged = step(&settled, resolved(Evidence::Succeeded), &policy, NOW).0;
    assert_eq!((flagged.state, flagged.attention.is_some()), (State::Failed, true));
    assert_eq!(step(&flagged, resolved(Evidence::Failed), &policy, NOW).0.attention, None, "agreeing acknowledges");
}

#[test]
fn a_persons_word_counts_for_what_is_unknown_or_flagged_and_agrees_with_what_is_settled() {
    let attention = Some(Attention::new(NOW, AttentionReason::Conflict));
    for (state, attention, may, agrees_with_failed) in [
        (State::Pending, None, false, true),
        (State::Unknown, None, true, true),
        (State::Unknown, attention, true, true),
        (State::Failed, None, false, true),
        (State::Failed, attention, true, true),
        (State::Succeeded, attention, true, false),
        (State::NotExecuted, None, false, false),
    ] {
        let operation = Operation { state, attention, ..pending() };
        assert_eq!(may_be_resolved(&operation).is_ok(), may, "{state:?} {attention:?}");
        assert_eq!(agrees(&operation, State::Failed).is_ok(), agrees_with_failed, "{state:?}");
    }
}

#[test]
fn an_upstreams_5xx_is_kept_while_unknown_and_dropped_when_settled_otherwise() {
    let policy = policy(Some(asking(true)));
    let stored = Retained::Stored(std::sync::Arc::new(crate::operation::StoredResponse {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::new(),
    }));
    let observed = Observation {
        evidence: Evidence::Ambiguous,
        source: Source::Response,
        reason: "http_5xx".into(),
        status: Some(StatusCode::INTERNAL_SERVER_ERROR),
        retained: stored.clone(),
    };
    let before = after_all(&[Event::Observed(observed)], &policy);
    assert_eq!((&before.retained, before.http_status), (&stored, Some(StatusCode::INTERNAL_SERVER_ERROR)));
    let settled = step(&before, heard(Some(Verdict::Evidence(Evidence::Succeeded))), &policy, NOW).0;
    assert_eq!((settled.state, settled.retained), (State::Succeeded, Retained::None));
}

#[test]
fn an_answer_that_comes_after_the_query_that_agrees_is_kept_for_replay() {
    let policy = policy(Some(asking(true)));
    let settled = step(&unknown(&policy), heard(Some(Verdict::Evidence(Evidence::Succeeded))), &policy, NOW).0;
    let observed = Observation {
        evidence: Evidence::Succeeded,
        source: Source::LateResponse,
        reason: "http_201".into(),
        status: Some(StatusCode::CREATED),
        retained: Retained::StatusOnly,
    };
    let kept = step(&settled, Event::Observed(observed), &policy, NOW).0;
    assert_eq!((kept.retained, kept.http_status), (Retained::StatusOnly, Some(StatusCode::CREATED)));
    assert_eq!((kept.state, kept.attention), (State::Succeeded, None));
}

#[test]
fn no_schedule_overflows() {
    let wild = QuerySchedule { first: Duration::MAX, factor: 1e300, max: Duration::MAX, give_up: Duration::MAX };
    let policy = StepPolicy {
        patience: Duration::MAX,
        late_response: Duration::MAX,
        asking: Some(Asking { settle_after: Duration::MAX, fenced: false, schedule: wild }),
        redispatch: None,
    };
    let before = unknown(&policy);
    assert_eq!(step(&before, heard(Some(Verdict::NotFound)), &policy, u64::MAX - 1).0.state, State::Unknown);
}

fn redispatching(attempts: u32, asking: Option<Asking>) -> StepPolicy {
    let (base, max) = (Duration::from_millis(500), Duration::from_secs(2));
    let backoff = Backoff { base, max, multiplier: 2.0, jitter: Jitter::None };
    StepPolicy { redispatch: Some(Redispatch { attempts, backoff }), ..policy(asking) }
}

fn kept() -> Operation {
    Operation { request: KeptRequest::Kept, ..pending() }
}

#[test]
fn a_write_in_doubt_is_dispatched_again_with_growing_waits_and_then_a_person_is_called() {
    let policy = redispatching(4, None);
    let mut operation = step(&kept(), response(Evidence::Ambiguous), &policy, NOW).0;
    let (mut waits, mut now) = (Vec::new(), NOW);
    while let Some(due) = operation.next_check_at {
        waits.push(due - now);
        now = due;
        let (next, actions) = step(&operation, Event::Due, &policy, now);
        operation = next;
        if actions.contains(&Action::Dispatch) {
            operation = step(&operation, Event::Redispatched, &policy, now).0;
            operation = step(&operation, seen(Evidence::Ambiguous, Source::Redispatch), &policy, now).0;
        }
    }
    assert_eq!(waits, [500, 1000, 2000, 2000, 30_000], "the last wait is for a late answer");
    assert_eq!((operation.redispatches, operation.attempts), (4, 5));
    assert_eq!(operation.attention.unwrap().reason, AttentionReason::ResolveExhausted);
}

#[test]
fn a_request_that_cannot_be_read_calls_a_person_unless_the_service_can_be_asked() {
    let policy = redispatching(4, None);
    let before = step(&kept(), response(Evidence::Ambiguous), &policy, NOW).0;
    let (flagged, actions) = step(&before, Event::Unreadable, &policy, NOW);
    assert_eq!(actions, [Action::Record, Action::Alert(AttentionReason::ResolveExhausted)]);
    assert_eq!((flagged.state, &*flagged.reason, flagged.due_at()), (State::Unknown, UNREADABLE, None));
    let late = step(&flagged, seen(Evidence::Succeeded, Source::LateResponse), &policy, NOW).0;
    assert_eq!((late.state, late.attention), (State::Succeeded, None), "proof is taken at any time");

    let asked = redispatching(4, Some(asking(false)));
    let before = step(&kept(), response(Evidence::Ambiguous), &asked, NOW).0;
    let missed = step(&before, Event::Unreadable, &asked, NOW).0;
    assert!(missed.due_at().is_some() && missed.attention.is_none());
    let actions = step(&missed, heard(None), &asked, NOW + 60_000).1;
    assert!(!actions.contains(&Action::Dispatch), "it is asked on and not tried in vain again: {actions:?}");
    let settled = step(&missed, heard(Some(Verdict::Evidence(Evidence::Succeeded))), &asked, NOW).0;
    assert_eq!(step(&settled, Event::Unreadable, &asked, NOW), (settled.clone(), vec![]));
}

#[test]
fn a_dispatch_whose_end_is_never_heard_of_does_not_stall_the_operation() {
    let policy = redispatching(2, None);
    let before = step(&kept(), response(Evidence::Ambiguous), &policy, NOW).0;
    let due = before.next_check_at.unwrap();
    let sent = step(&step(&before, Event::Due, &policy, due).0, Event::Redispatched, &policy, due).0;
    assert_eq!(sent.next_check_at, Some(due + 60_000), "as long as one may be in flight");
    assert_eq!(step(&sent, Event::Due, &policy, due + 60_000).1, [Action::Record, Action::Dispatch]);
}

#[test]
fn a_question_comes_before_a_dispatch_and_what_is_proven_or_under_way_is_not_dispatched() {
    let policy = redispatching(1, Some(asking(false)));
    let before = step(&kept(), response(Evidence::Ambiguous), &policy, NOW).0;
    let later = NOW + 500;
    assert_eq!(step(&before, Event::Due, &policy, later).1, [Action::Record, Action::Ask]);
    let after = |verdict, now| step(&before, heard(verdict), &policy, now).1.contains(&Action::Dispatch);
    assert!(!after(None, NOW + 499), "the wait before it has not passed");
    assert!(after(None, later));
    assert!(after(Some(Verdict::NotFound), later), "too early for a proof, and safe to send");
    for evidence in [Evidence::Ongoing, Evidence::Succeeded, Evidence::Failed, Evidence::NotExecuted] {
        assert!(!after(Some(Verdict::Evidence(evidence)), later), "{evidence:?}");
    }
}

#[test]
fn nothing_is_dispatched_without_its_request_or_its_policy_or_for_a_person() {
    let due = |operation: &Operation, policy: &StepPolicy| step(operation, Event::Due, policy, NOW + 60_000).1;
    let allowed = redispatching(1, None);
    let unknown = |operation: &Operation| step(operation, response(Evidence::Ambiguous), &allowed, NOW).0;
    assert!(due(&unknown(&kept()), &allowed).contains(&Action::Dispatch));
    assert!(!due(&unknown(&pending()), &allowed).contains(&Action::Dispatch));
    assert!(!due(&unknown(&kept()), &policy(None)).contains(&Action::Dispatch));
    let attention = Some(Attention::new(NOW, AttentionReason::ResolveExhausted));
    assert_eq!(
        due(&Operation { attention, ..unknown(&kept()) }, &allowed),
        [Action::Record],
        "nothing is due any more"
    );
}

#[test]
fn a_settled_operation_keeps_no_request() {
    for evidence in [Evidence::Succeeded, Evidence::Failed, Evidence::NotExecuted] {
        assert_eq!(step(&kept(), response(evidence), &policy(None), NOW).0.request, KeptRequest::None);
    }
}

/// A process that was down for days finds its operations past the time to give up.
#[test]
fn the_service_is_asked_a_last_time_before_a_person_is_called() {
    let policy = policy(Some(asking(false)));
    let late = NOW + 48 * 3_600_000;
    let (asked, actions) = step(&unknown(&policy), Event::Due, &policy, late);
    assert_eq!(actions, [Action::Record, Action::Ask]);
    assert_eq!(step(&asked, heard(None), &policy, late).0.attention.unwrap().reason, AttentionReason::ResolveExhausted);
    let proven = step(&asked, heard(Some(Verdict::Evidence(Evidence::Succeeded))), &policy, late).0;
    assert_eq!((proven.state, proven.attention), (State::Succeeded, None));
}

/// With the times as they were written down, a clock that was put forward would free the key of a write just sent.
#[test]
fn a_clock_put_forward_shortens_no_wait() {
    let policy = policy(Some(asking(false)));
    let hour = Duration::from_hours(1);
    let moved = step(&unknown(&policy), Event::ClockPutForward { by: hour }, &policy, NOW + 3_600_000).0;
    let not_found = |at| step(&moved, heard(Some(Verdict::NotFound)), &policy, at).0.state;
    assert_eq!(not_found(NOW + 3_600_000 + 59_999), State::Unknown);
    assert_eq!(not_found(NOW + 3_600_000 + 60_000), State::NotExecuted);
    assert_eq!(moved.next_check_at, unknown(&policy).next_check_at.map(|due| due + 3_600_000));
}

#[test]
fn operations_that_came_to_be_in_doubt_together_do_not_stay_together() {
    let policy = policy(Some(asking(false)));
    let dues: std::collections::BTreeSet<_> = (0..1_000)
        .map(|tag| {
            let operation = Operation { id: OperationId { seq: 1, tag }, checks: 20, ..pending() };
            step(&operation, response(Evidence::Ambiguous), &policy, NOW).0.next_check_at.unwrap() - NOW
        })
        .collect();
    assert!(dues.len() > 800, "{} of 1000 are apart", dues.len());
    assert!(dues.iter().all(|wait| (54_000..=60_000).contains(wait)));
    let halves = dues.iter().filter(|wait| **wait < 57_000).count();
    assert!((350..=650).contains(&(halves * 1_000 / dues.len())), "they are spread evenly");
}

fn evidences() -> impl Strategy<Value = Evidence> {
    prop_oneof![
        Just(Evidence::NotExecuted),
        Just(Evidence::Succeeded),
        Just(Evidence::Failed),
        Just(Evidence::Ongoing),
        Just(Evidence::Ambiguous),
    ]
}

fn events() -> impl Strategy<Value = Event> {
    let sources = prop_oneof![Just(Source::Response), Just(Source::LateResponse), Just(Source::Redispatch)];
    let retained = prop_oneof![Just(Retained::None), Just(Retained::StatusOnly)];
    let status = proptest::option::of((200_u16..600).prop_map(|status| StatusCode::from_u16(status).unwrap()));
    let verdicts = prop_oneof![Just(Verdict::NotFound), evidences().prop_map(Verdict::Evidence)];
    let waits = (0_u64..100_000).prop_map(Duration::from_millis);
    prop_oneof![
        1 => Just(Event::Dispatched),
        1 => Just(Event::Redispatched),
        1 => (0_u64..10_000_000).prop_map(|until| Event::PutOff { until }),
        1 => (0_u64..10_000_000).prop_map(|at| Event::DueBy { at }),
        1 => (0_u64..10_000_000).prop_map(|ms| Event::ClockPutForward { by: Duration::from_millis(ms) }),
        1 => Just(Event::OwnerLost { reason: "restart" }),
        4 => Just(Event::Due),
        1 => evidences().prop_map(|evidence| Event::Resolved { evidence, reason: "said so".into() }),
        2 => (proptest::option::of(verdicts), proptest::option::of(waits))
            .prop_map(|(verdict, retry_after)| Event::Queried { verdict, too_early: false, http_status: None, asked_at: UnixMillis::MAX, retry_after, answer: None }),
        2 => (evidences(), sources, status, retained).prop_map(|(evidence, source, status, retained)| {
            Event::Observed(Observation { evidence, source, reason: "seen".into(), status, retained })
        }),
    ]
}

fn policies() -> impl Strategy<Value = StepPolicy> {
    let schedule = (1_u64..5_000, 1.0..4.0, 1_000_u64..100_000, 1_000_u64..10_000_000).prop_map(
        |(first, factor, max, give_up)| QuerySchedule {
            first: Duration::from_millis(first),
            factor,
            max: Duration::from_millis(max),
            give_up: Duration::from_millis(give_up),
        },
    );
    let asking = (0_u64..200_000, any::<bool>(), schedule).prop_map(|(settle_after, fenced, schedule)| Asking {
        settle_after: Duration::from_millis(settle_after),
        fenced,
        schedule,
    });
    let redispatch = (1_u32..4, 0_u64..10_000).prop_map(|(attempts, base)| {
        let backoff = Backoff { base: Duration::from_millis(base), ..Redispatch::default().backoff };
        Redispatch { attempts, backoff }
    });
    (proptest::option::of(asking), proptest::option::of(redispatch))
        .prop_map(|(asking, redispatch)| StepPolicy { redispatch, ..policy(asking) })
}

/// Terminal; or open, and flagged or due.
fn is_cared_for(operation: &Operation) -> bool {
    if operation.state.is_terminal() {
        return operation.next_check_at.is_none() && operation.settled_at.is_some();
    }
    (operation.attention.is_some() || operation.next_check_at.is_some()) && operation.settled_at.is_none()
}

/// Whether an event may settle anything as `state`.
fn proves(event: &Event, state: State) -> bool {
    match event {
        Event::Observed(Observation { evidence, .. }) | Event::Resolved { evidence, .. } => {
            proven_state(*evidence) == Some(state)
        }
        Event::Queried { verdict: Some(Verdict::Evidence(evidence)), .. } => proven_state(*evidence) == Some(state),
        Event::Queried { verdict: Some(Verdict::NotFound), .. } => state == State::NotExecuted,
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_three_rules_hold(
        policy in policies(),
        has_target in any::<bool>(),
        has_request in any::<bool>(),
        history in proptest::collection::vec((events(), 0_u64..120_000), 0..24),
    ) {
        let request = if has_request { KeptRequest::Kept } else { KeptRequest::None };
        let mut operation = Operation { status_target: has_target.then(|| "/s".into()), request, ..pending() };
        let mut now = NOW;
        for (event, wait) in history {
            now += wait;
            let (next, actions) = step(&operation, event.clone(), &policy, now);
            prop_assert!(is_cared_for(&next), "{event:?} left {next:?}");
            if operation.state.is_terminal() {
                prop_assert_eq!(next.state, operation.state, "a terminal state is sticky");
                prop_assert_eq!(next.settled_at, operation.settled_at);
                prop_assert_eq!(&next.reason, &operation.reason);
            } else if next.state != operation.state && next.state != State::Unknown {
                prop_assert!(proves(&event, next.state), "{event:?} is no proof of {:?}", next.state);
            }
            prop_assert!(next.state != State::Pending || operation.state == State::Pending, "never back to pending");
            prop_assert_eq!(actions.contains(&Action::Record), next != operation);
            let is_new_flag = next.attention.is_some() && next.attention != operation.attention;
            prop_assert_eq!(is_new_flag, actions.iter().any(|action| matches!(action, Action::Alert(_))));
            prop_assert!(next.frees_key() <= (next.state == State::NotExecuted));
            if actions.contains(&Action::Ask) {
                prop_assert_eq!(next.state, State::Unknown);
                prop_assert!(next.status_target.is_some());
            }
            if actions.contains(&Action::Dispatch) {
                let allowed = policy.redispatch.map_or(0, |redispatch| redispatch.attempts);
                prop_assert!(next.state == State::Unknown && next.attention.is_none());
                prop_assert!(next.request == KeptRequest::Kept && next.redispatches < allowed);
                prop_assert!(matches!(event, Event::Due | Event::Queried { .. }), "by itself");
            }
            prop_assert!(next.state == State::Unknown || next.state == State::Pending || next.request == KeptRequest::None);
            prop_assert!(
                next.redispatches == operation.redispatches
                    || (event == Event::Redispatched && next.attempts == operation.attempts + 1),
                "every dispatch is counted"
            );
            prop_assert_eq!(
                (next.id, next.key_hash, next.owner, next.epoch, next.revision),
                (operation.id, operation.key_hash, operation.owner, operation.epoch, operation.revision)
            );
            operation = next;
        }
    }

    #[test]
    fn left_alone_every_operation_ends_terminal_or_with_a_person(policy in policies(), has_target in any::<bool>()) {
        let target = has_target.then(|| "/s".into());
        let mut operation = Operation { status_target: target, request: KeptRequest::Kept, ..pending() };
        let mut steps = 0;
        while let Some(due) = operation.next_check_at.filter(|_| operation.attention.is_none()) {
            let (next, actions) = step(&operation, Event::Due, &policy, due);
            operation = next;
            let mut is_sent = actions.contains(&Action::Dispatch);
            if actions.contains(&Action::Ask) {
                let (next, actions) = step(&operation, heard(None), &policy, due);
                operation = next;
                is_sent = actions.contains(&Action::Dispatch);
            }
            if is_sent {
                operation = step(&operation, Event::Redispatched, &policy, due).0;
                operation = step(&operation, seen(Evidence::Ambiguous, Source::Redispatch), &policy, due).0;
            }
            steps += 1;
            prop_assert!(steps < 100_000, "it goes on for ever");
        }
        prop_assert_eq!(operation.state, State::Unknown, "time alone proves nothing");
        prop_assert!(operation.redispatches <= policy.redispatch.map_or(0, |redispatch| redispatch.attempts));
        prop_assert!(operation.attention.is_some());
    }
}
