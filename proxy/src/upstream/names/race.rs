//! One connection to one of several addresses (RFC 8305 section 5, "Happy Eyeballs"): each has a head start before the next is
//! tried beside it, so that one that is silent costs no more than that. The first that connects wins, and the others are dropped.

use std::{future::Future, time::Duration};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::{Instant, sleep_until};

/// What RFC 8305 section 8 recommends.
const HEAD_START: Duration = Duration::from_millis(250);
/// Addresses that one attempt tries: more would hide from the breaker that most of them are gone.
const MOST: usize = 3;

/// The first connection that is made to any of the addresses, of which the first few are tried; the last error, if none is.
/// `None`: there is no address.
pub(in crate::upstream) async fn race<A, T, E, F>(addresses: &[A], connect: impl Fn(A) -> F) -> Option<Result<T, E>>
where
    A: Copy,
    F: Future<Output = Result<T, E>>,
{
    let mut left = addresses.iter().take(MOST).copied();
    let mut under_way = FuturesUnordered::new();
    under_way.push(connect(left.next()?));
    let mut next_at = Instant::now() + HEAD_START;
    loop {
        let ended = tokio::select! {
            biased;
            ended = under_way.next() => ended,
            () = sleep_until(next_at), if left.len() > 0 => None,
        };
        match ended {
            Some(Err(error)) if left.len() == 0 && under_way.is_empty() => return Some(Err(error)),
            Some(Ok(connected)) => return Some(Ok(connected)),
            // It failed, or its head start is over.
            Some(Err(_)) | None => {
                under_way.extend(left.next().map(&connect));
                next_at = Instant::now() + HEAD_START;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    /// What becomes of a connection to an address, by its last digit: refused, silent, or made after 10 ms.
    async fn connect(address: SocketAddr) -> Result<u8, &'static str> {
        let SocketAddr::V4(address) = address else { panic!("these are of IPv4") };
        match address.ip().octets()[3] {
            number @ 1..=9 => {
                tokio::time::sleep(Duration::from_millis(10)).await;
                Ok(number)
            }
            10..=19 => Err("refused"),
            _ => std::future::pending().await,
        }
    }

    async fn of(numbers: &[u8]) -> (Option<Result<u8, &'static str>>, Duration) {
        let addresses: Vec<_> = numbers.iter().map(|number| SocketAddr::from(([127, 0, 0, *number], 80))).collect();
        let began = Instant::now();
        let won = race(&addresses, connect).await;
        (won, began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_address_costs_its_head_start_and_a_dead_one_nothing() {
        let ms = Duration::from_millis;
        for (numbers, won, took) in [
            (&[1, 2][..], Some(Ok(1)), ms(10)),
            (&[20, 2], Some(Ok(2)), ms(260)),
            (&[20, 21, 3], Some(Ok(3)), ms(510)),
            (&[10, 2], Some(Ok(2)), ms(10)),
            (&[10, 11], Some(Err("refused")), ms(0)),
            (&[20, 10, 3], Some(Ok(3)), ms(260)),
            (&[], None, ms(0)),
        ] {
            assert_eq!(of(numbers).await, (won, took), "{numbers:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_three_are_tried() {
        assert_eq!(of(&[10, 11, 12, 1]).await.0, Some(Err("refused")));
    }
}
