//! Which part of the operators' interface answers a request.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use mainstay_policies::problem::Problem;
use percent_encoding::percent_decode_str;
use tokio::{net::TcpListener, sync::watch, time::timeout};

use super::{
    accept::accept,
    ask, audit, batch, breakers, configuration, console,
    events::{self, Answer},
    find,
    guard::Caller,
    index, jobs, operations,
    operators::{BODY_TIMEOUT, BOUNDS, MAX_BODY, MAX_ORDER, OperatorRequest, Operators},
    pretty, resolve, reveal,
    secure::Secure,
    served, status, switches, upstreams, views,
};
use crate::api::{Fault, reply::Reply};

/// Serves until `shutdown` is true, or its sender is gone; connections that are open then are closed.
pub(crate) async fn serve(listener: TcpListener, state: Arc<Operators>, shutdown: watch::Receiver<bool>) {
    let answer = |state: Arc<Operators>, request: Request<Incoming>| async move { answer(&state, request).await };
    let secure = Secure::of(&state.runtime, BOUNDS.name);
    accept(listener, BOUNDS, state, answer, secure, shutdown).await;
}

async fn answer(cx: &Arc<Operators>, request: Request<Incoming>) -> Response<Answer> {
    let (mut parts, body) = request.into_parts();
    let is_head = parts.method == Method::HEAD;
    let pretty = pretty::take(&mut parts);
    let is_indented = *pretty.as_ref().unwrap_or(&true);
    let reply = match read(cx, &parts, body).await {
        Ok((caller, body)) => match pretty {
            Ok(_) => {
                let asked = OperatorRequest { cx, parts: &parts, caller, body };
                match parts.uri.path() {
                    "/events" => match events::events(&asked) {
                        Ok(response) => return response,
                        Err(fault) => Err(fault),
                    },
                    _ => asked.dispatch().await,
                }
            }
            Err(fault) => Err(fault),
        },
        Err(fault) => Err(fault),
    };
    let reply = reply.unwrap_or_else(|fault| {
        let prefix = &cx.runtime.snapshot.load().config.control.path;
        fault.into_reply(prefix, None)
    });
    let reply = if is_indented { reply.indented() } else { reply };
    reply.into_response(is_head).map(Answer::from)
}

/// The body of a request that is let in.
async fn read(cx: &Operators, parts: &Parts, body: Incoming) -> Result<(Caller, Bytes), Fault> {
    let caller = if console::is_asked(parts) {
        cx.guard.admit_page(parts)?;
        Caller::default()
    } else {
        cx.guard.admit(parts).await?
    };
    let most = if parts.uri.path() == "/operations:batch" { MAX_ORDER } else { MAX_BODY };
    match timeout(BODY_TIMEOUT, Limited::new(body, most).collect()).await {
        Ok(Ok(body)) => Ok((caller, body.to_bytes())),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Fault::new(Problem::BodyTooLarge, format!("A body here may have at most {most} bytes.")))
        }
        Ok(Err(_)) | Err(_) => {
            let fault = Fault::bad("The request's body broke off or stalled before it was complete.");
            Err(fault.with(StatusCode::REQUEST_TIMEOUT, "The body did not arrive"))
        }
    }
}

impl OperatorRequest<'_> {
    async fn dispatch(&self) -> Result<Reply, Fault> {
        let path = self.parts.uri.path();
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match segments[..] {
            [""] if console::is_asked(self.parts) => {
                self.reads()?;
                Ok(console::page())
            }
            ["console.css"] => {
                self.reads()?;
                Ok(console::style())
            }
            ["console.js"] => {
                self.reads()?;
                Ok(console::script())
            }
            ["help", page] => {
                self.reads()?;
                console::help(page).ok_or_else(nothing_here)
            }
            ["operations"] => {
                self.reads()?;
                operations::list(self).await
            }
            ["operations:find"] => {
                self.allow(&[Method::POST])?;
                find::find(self).await
            }
            ["operations:batch"] => {
                self.allow(&[Method::POST])?;
                batch::batch(self).await
            }
            ["operations", name] => self.on_operation(name).await,
            ["jobs", name] => self.on_job(name).await,
            ["breakers", name] => self.on_breaker(name).await,
            ["log-level"] => {
                self.allow(&[Method::GET, Method::HEAD, Method::PUT])?;
                switches::log_level(self).await
            }
            ["reload"] => {
                self.allow(&[Method::POST])?;
                configuration::reload(self).await
            }
            ["drain"] => {
                self.allow(&[Method::POST, Method::DELETE])?;
                switches::drain(self).await
            }
            [""] => {
                self.reads()?;
                Ok(index::index())
            }
            [name] => self.look(name).await,
            _ => Err(nothing_here()),
        }
    }

    /// What is only looked at.
    async fn look(&self, name: &str) -> Result<Reply, Fault> {
        const LOOKS: [&str; 10] = [
            "jobs",
            "status",
            "routes",
            "audit",
            "breakers",
            "limits",
            "upstreams",
            "config",
            "openapi.json",
            "metrics",
        ];
        if !LOOKS.contains(&name) {
            return Err(nothing_here());
        }
        self.reads()?;
        match name {
            "jobs" => Ok(jobs::list(self)),
            "status" => status::status(self).await,
            "routes" => Ok(served::routes(self)),
            "audit" => audit::list(self).await,
            "breakers" => Ok(breakers::list(self)),
            "limits" => Ok(views::limits(self)),
            "upstreams" => Ok(upstreams::upstreams(self)),
            "config" => Ok(configuration::config(self).await),
            "openapi.json" => Ok(views::openapi()),
            _ => Ok(views::metrics(self)),
        }
    }

    async fn on_operation(&self, name: &str) -> Result<Reply, Fault> {
        let Some((id, act)) = name.rsplit_once(':') else {
            self.reads()?;
            return operations::show(self, name).await;
        };
        if !["resolve", "query", "redispatch", "reveal"].contains(&act) {
            return Err(nothing_here());
        }
        self.allow(&[Method::POST])?;
        match act {
            "resolve" => resolve::resolve(self, id).await,
            "query" => ask::query(self, id).await,
            "redispatch" => ask::redispatch(self, id).await,
            _ => reveal::reveal(self, id).await,
        }
    }

    async fn on_job(&self, name: &str) -> Result<Reply, Fault> {
        match name.rsplit_once(':') {
            None => {
                self.reads()?;
                jobs::show(self, name)
            }
            Some((id, "cancel")) => {
                self.allow(&[Method::POST])?;
                jobs::cancel(self, id).await
            }
            Some(_) => Err(nothing_here()),
        }
    }

    async fn on_breaker(&self, name: &str) -> Result<Reply, Fault> {
        let name = percent_decode_str(name).decode_utf8().map_err(|_| nothing_here())?;
        let (name, act) = name.rsplit_once(':').ok_or_else(nothing_here)?;
        self.allow(&[Method::POST])?;
        match act {
            "force" => breakers::force(self, name).await,
            "release" => breakers::release(self, name).await,
            _ => Err(nothing_here()),
        }
    }
}

fn nothing_here() -> Fault {
    Fault::no_route(
        "Nothing is served here: see / for all that is, such as /status, /operations, /jobs, /audit, /breakers, /limits, /upstreams, /routes, /config, \
         /log-level, /drain, /metrics.",
    )
}
