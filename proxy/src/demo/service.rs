//! The service behind: takes payments, counts every one, deduplicates nothing.
//!
//! `POST /payments` pays under the reference in `Idempotency-Key`; the body's `"test"` chooses a misfortune. In each of
//! them the work **is** done, which is what makes them hard. `GET /payments/by-ref/{key}` tells what became of a
//! reference, and `GET /effects` how often each was paid.

use std::{collections::BTreeMap, convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

/// How long a payment takes: long enough that duplicates sent together really overlap.
const WORK: Duration = Duration::from_millis(25);
/// How long a misfortune lasts: well beyond the 500 ms that the demo's policy waits.
const SILENCE: Duration = Duration::from_secs(1);
/// Bytes of a request body.
const MAX_BODY: usize = 64 * 1024;
/// Payments kept; one more is refused, so that a service left running stays small.
const MAX_PAYMENTS: usize = 100_000;

/// A running payment service; dropped, it stops.
pub(super) struct PaymentService {
    address: SocketAddr,
    accepting: JoinHandle<Infallible>,
}

/// What goes wrong after, or around, the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Misfortune {
    /// Works, then says nothing and hangs up: the answer is lost.
    LoseAnswer,
    /// Works, then the connection dies at once.
    DropConnection,
    /// Says nothing for long, and only then works and answers.
    WorkLate,
}

/// Returned to hyper to make it close the connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer is lost on purpose")]
struct AnswerLost;

#[derive(Default)]
struct Book {
    payments: Mutex<BTreeMap<String, Vec<Payment>>>,
}

#[derive(Clone)]
struct Payment {
    id: usize,
    amount: Value,
}

impl PaymentService {
    /// Serves on `listener`.
    pub(super) fn spawn(listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        Ok(Self { address, accepting: tokio::spawn(accept(listener)) })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for PaymentService {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener) -> Infallible {
    let book = Arc::new(Book::default());
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, as a rule: give connections time to end.
            tokio::time::sleep(WORK).await;
            continue;
        };
        let book = Arc::clone(&book);
        let serve = hyper::service::service_fn(move |request| handle(Arc::clone(&book), request));
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), serve);
        tokio::spawn(connection);
    }
}

async fn handle(book: Arc<Book>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, AnswerLost> {
    let path = request.uri().path();
    if request.method() == Method::GET && path == "/effects" {
        return Ok(answer(StatusCode::OK, &book.effects()));
    }
    if request.method() == Method::GET
        && let Some(reference) = path.strip_prefix("/payments/by-ref/")
    {
        let reference = percent_encoding::percent_decode_str(reference).decode_utf8_lossy();
        return Ok(book.by_reference(&reference));
    }
    if request.method() == Method::POST && path == "/payments" {
        return pay(book, request).await;
    }
    Ok(answer(StatusCode::NOT_FOUND, &json!({ "error": "no such resource" })))
}

async fn pay(book: Arc<Book>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, AnswerLost> {
    let key = request.headers().get("idempotency-key").and_then(|value| value.to_str().ok());
    let Some(reference) = key.map(|key| key.trim_matches('"').to_owned()) else {
        return Ok(answer(StatusCode::BAD_REQUEST, &json!({ "error": "Idempotency-Key is the payment's reference" })));
    };
    let Ok(body) = Limited::new(request.into_body(), MAX_BODY).collect().await else {
        return Ok(answer(StatusCode::BAD_REQUEST, &json!({ "error": "the body cannot be read" })));
    };
    let Ok(order) = serde_json::from_slice::<Value>(&body.to_bytes()) else {
        return Ok(answer(StatusCode::BAD_REQUEST, &json!({ "error": "the body is not JSON" })));
    };
    let misfortune = Misfortune::of(&order);
    let amount = order.get("amount").cloned().unwrap_or(Value::Null);
    // A task of its own: a service does not stop working because its caller hung up.
    let work = tokio::spawn(async move {
        tokio::time::sleep(if misfortune == Some(Misfortune::WorkLate) { SILENCE } else { WORK }).await;
        book.record(&reference, amount)
    });
    let paid = work.await.map_err(|_| AnswerLost)?;
    match misfortune {
        Some(Misfortune::DropConnection) => Err(AnswerLost),
        Some(Misfortune::LoseAnswer) => {
            tokio::time::sleep(SILENCE).await;
            Err(AnswerLost)
        }
        Some(Misfortune::WorkLate) | None => Ok(paid),
    }
}

impl Misfortune {
    fn of(order: &Value) -> Option<Self> {
        match order.get("test")?.as_str()? {
            "lose-answer" => Some(Self::LoseAnswer),
            "drop-connection" => Some(Self::DropConnection),
            "work-late" => Some(Self::WorkLate),
            _ => None,
        }
    }
}

impl Book {
    /// The effect: one more payment, whether or not there is one under this reference.
    fn record(&self, reference: &str, amount: Value) -> Response<Full<Bytes>> {
        let mut payments = self.payments.lock();
        let id = payments.values().map(Vec::len).sum::<usize>() + 1;
        if id > MAX_PAYMENTS {
            return answer(StatusCode::INSUFFICIENT_STORAGE, &json!({ "error": "the book is full" }));
        }
        let payment = Payment { id, amount };
        let body = payment.document(reference);
        payments.entry(reference.to_owned()).or_default().push(payment);
        answer(StatusCode::CREATED, &body)
    }

    fn by_reference(&self, reference: &str) -> Response<Full<Bytes>> {
        match self.payments.lock().get(reference).and_then(|paid| paid.last()) {
            Some(payment) => answer(StatusCode::OK, &payment.document(reference)),
            None => answer(StatusCode::NOT_FOUND, &json!({ "error": "no payment under this reference" })),
        }
    }

    fn effects(&self) -> Value {
        self.payments.lock().iter().map(|(reference, paid)| (reference.clone(), json!(paid.len()))).collect()
    }
}

impl Payment {
    fn document(&self, reference: &str) -> Value {
        json!({ "payment": format!("pay_{}", self.id), "reference": reference, "amount": self.amount, "state": "SUCCESS" })
    }
}

fn answer(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{body}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    response
}
