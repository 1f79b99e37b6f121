use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    task::{LocalSet, spawn_local},
    time::timeout,
};

use super::*;

/// Runs `work` where turns are kept.
async fn with_turns<T>(work: impl Future<Output = T>) -> T {
    let local = LocalSet::new();
    local.spawn_local(keep());
    let begun = async {
        // The keeper's first.
        yield_now().await;
        work.await
    };
    local.run_until(timeout(Duration::from_secs(30), begun)).await.expect("nobody waits for ever")
}

#[tokio::test]
async fn where_nobody_keeps_them_turns_are_free() {
    let mut turn = Turn::default();
    for _ in 0..1000 {
        turn.take().await;
    }
}

#[tokio::test]
async fn each_gets_as_many_as_the_others() {
    with_turns(async {
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let takers: Vec<_> = (0..5)
            .map(|name| {
                let order = Rc::clone(&order);
                spawn_local(async move {
                    let mut turn = Turn::default();
                    for _ in 0..4 {
                        turn.take().await;
                        order.borrow_mut().push(name);
                    }
                })
            })
            .collect();
        for taker in takers {
            taker.await.expect("it ends");
        }
        let order = order.borrow();
        assert_eq!(order.len(), 20);
        for until in 0..order.len() {
            let had = |name| order[..until].iter().filter(|taker| **taker == name).count();
            let (least, most) = ((0..5).map(had).min(), (0..5).map(had).max());
            // Whoever comes first has the one that is due, and then waits like the others.
            assert!(most <= least.map(|least| least + 2), "{order:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_has_begun_goes_on_before_others_begin() {
    with_turns(async {
        let order = Rc::new(std::cell::RefCell::new(Vec::new()));
        let takers: Vec<_> = (0..5)
            .map(|name| {
                let order = Rc::clone(&order);
                spawn_local(async move {
                    let mut turn = Turn::default();
                    turn.take().await;
                    for _ in 0..4 {
                        order.borrow_mut().push(name);
                        poll_fn(|cx| turn.poll_next(cx)).await;
                    }
                })
            })
            .collect();
        for taker in takers {
            taker.await.expect("it ends");
        }
        let expected: Vec<_> = (0..5).flat_map(|name| [name; 4]).collect();
        assert_eq!(*order.borrow(), expected);
    })
    .await;
}

/// Sixty bodies and one read: between the read's bytes and its answer there is a step or two, not sixty.
#[tokio::test]
async fn what_becomes_ready_meanwhile_waits_for_few_steps() {
    with_turns(async {
        let steps = Rc::new(Cell::new(0_u32));
        let (mut ours, mut theirs) = UnixStream::pair().expect("a pair of sockets");
        let asked_at = Rc::new(Cell::new(0));
        let (counted, asked) = (Rc::clone(&steps), Rc::clone(&asked_at));
        let answerer = spawn_local(async move {
            let mut byte = [0];
            theirs.read_exact(&mut byte).await.expect("a read comes");
            counted.get() - asked.get()
        });
        let takers: Vec<_> = (0..60)
            .map(|_| {
                let steps = Rc::clone(&steps);
                spawn_local(async move {
                    let mut turn = Turn::default();
                    for _ in 0..50 {
                        turn.take().await;
                        steps.set(steps.get() + 1);
                    }
                })
            })
            .collect();
        let mut turn = Turn::default();
        turn.take().await;
        asked_at.set(steps.get());
        ours.write_all(b"r").await.expect("it is taken");
        let waited_for = answerer.await.expect("it ends");
        assert!(waited_for <= 3, "{waited_for} steps before a read that was ready");
        for taker in takers {
            taker.await.expect("it ends");
        }
        assert_eq!(steps.get(), 3000);
    })
    .await;
}

#[tokio::test]
async fn who_has_gone_costs_no_turn_and_holds_up_nobody() {
    with_turns(async {
        Turn::default().take().await;
        let gone: Vec<_> = (0..10).map(|_| spawn_local(async { Turn::default().take().await })).collect();
        yield_now().await;
        gone.iter().for_each(tokio::task::JoinHandle::abort);
        Turn::default().take().await;
    })
    .await;
}

/// A place that was taken on one thread is none on another, where nobody would ever give it.
#[tokio::test]
async fn whoever_moves_to_another_worker_asks_anew() {
    let mut turn = with_turns(async {
        let mut turn = Turn::default();
        poll_fn(|cx| {
            assert!(turn.poll_take(cx).is_pending(), "a turn is given only after a look at what is ready");
            Poll::Ready(())
        })
        .await;
        turn
    })
    .await;
    with_turns(async { turn.take().await }).await;
}

#[tokio::test]
async fn whoever_waits_when_the_keeper_ends_is_let_go() {
    let local = LocalSet::new();
    let keeper = local.spawn_local(keep());
    local
        .run_until(async {
            // Twice: until the first turn is due.
            yield_now().await;
            yield_now().await;
            Turn::default().take().await;
            let mut turn = Turn::default();
            let waiting = spawn_local(async move { turn.take().await });
            keeper.abort();
            timeout(Duration::from_secs(30), waiting).await.expect("it is woken").expect("it ends");
        })
        .await;
}
