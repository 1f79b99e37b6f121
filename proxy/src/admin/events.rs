//! `GET /events`: what happens, as it happens (server-sent events, as HTML's living standard has them).

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body::{Body, Frame};
use http_body_util::Full;
use mainstay_policies::problem::Problem;
use serde_json::json;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{accept::Life, operators::OperatorRequest};
use crate::{
    api::{Fault, query::Params},
    telemetry::events::{Kind, NoPlace, Watch, time},
};

/// How often a stream in which nothing happens says that it is there: proxies between cut off what is silent for a minute.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// `GET /events`
pub(super) fn events(asked: &OperatorRequest<'_>) -> Result<Response<Answer>, Fault> {
    asked.reads()?;
    let params = Params::read(asked.parts.uri.query(), &["kind"])?;
    let kinds = kinds(params.of("kind"))?;
    if asked.parts.method == Method::HEAD {
        return Ok(response(Answer::from(Bytes::new())));
    }
    let watch = asked.cx.runtime.events.watch(&kinds).map_err(no_place)?;
    let words: Vec<_> = kinds.iter().map(|kind| kind.word()).collect();
    let hello = json!({ "kinds": words, "now": time(asked.cx.runtime.resources.clock.now()) });
    let first = format!("event: hello\ndata: {hello}\n\n").into();
    let life = asked.parts.extensions.get::<Life>().cloned();
    Ok(response(Answer::Events(Box::new(Stream::new(first, watch, life)))))
}

fn kinds(wanted: Option<&str>) -> Result<Vec<Kind>, Fault> {
    let Some(wanted) = wanted else { return Ok(Kind::ALL.to_vec()) };
    let known = |word: &str| Kind::ALL.into_iter().find(|kind| kind.word() == word);
    wanted.split(',').map(known).collect::<Option<Vec<_>>>().ok_or_else(|| {
        let all = Kind::ALL.map(Kind::word).join(", ");
        Fault::bad(format!("The parameter kind is one of {all}, or several with commas between them."))
    })
}

fn no_place(why: NoPlace) -> Fault {
    match why {
        NoPlace::Full => {
            let detail = "As many watch as may at once: close one of the others, or come again.";
            let mut fault = Fault::new(Problem::Overloaded, detail);
            fault = fault.with(StatusCode::SERVICE_UNAVAILABLE, "Too many watch");
            fault.header = Some((header::RETRY_AFTER, "5".into()));
            fault
        }
        NoPlace::Ending => Fault::new(Problem::Draining, "The process ends: there is nothing more to watch."),
    }
}

fn response(answer: Answer) -> Response<Answer> {
    let mut response = Response::new(answer);
    for (name, value) in [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The body of an answer of this interface.
pub(super) enum Answer {
    /// At hand as a whole.
    Whole(Full<Bytes>),
    /// As it happens.
    Events(Box<Stream>),
}

impl From<Bytes> for Answer {
    fn from(whole: Bytes) -> Self {
        Self::Whole(Full::new(whole))
    }
}

/// What one reader is sent. Its connection lives as long as it takes what it is given.
pub(super) struct Stream {
    first: Option<Bytes>,
    watch: Watch,
    alive: Interval,
    life: Option<Life>,
}

impl Stream {
    pub(super) fn new(first: Bytes, watch: Watch, life: Option<Life>) -> Self {
        let mut alive = interval(ALIVE_EVERY);
        alive.set_missed_tick_behavior(MissedTickBehavior::Delay);
        alive.reset();
        Self { first: Some(first), watch, alive, life }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(life) = &self.life {
            // Asked for more: what was given before has been taken.
            life.goes_on();
        }
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        let lost = self.watch.lost();
        if lost > 0 {
            return Poll::Ready(Some(format!("event: lost\ndata: {}\n\n", json!({ "count": lost })).into()));
        }
        match self.watch.events.poll_recv(cx) {
            Poll::Pending => self.alive.poll_tick(cx).map(|_| Some(Bytes::from_static(b": alive\n\n"))),
            event @ Poll::Ready(_) => event,
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx),
            Self::Events(stream) => stream.poll_next(cx).map(|event| event.map(|event| Ok(Frame::data(event)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Events(_) => false,
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Events(_) => http_body::SizeHint::default(),
        }
    }
}
