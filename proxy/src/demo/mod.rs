//! `mainstay demo`: the whole promise, shown on one terminal.
//!
//! Starts a small payment service that does not deduplicate and loses some of its answers, Mainstay before it, and sends
//! a handful of scripted writes. Every line it prints is what really came back, and every step is checked: a story that
//! did not hold ends with a non-zero code and says which step broke. With several replicas it starts a PostgreSQL, too, and a
//! process for each of them, and ends them all.

mod client;
mod replicas;
mod screen;
mod service;
mod store;
mod story;

use std::{
    fmt::Write as _,
    io,
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
};

use tokio::net::TcpListener;

use self::{screen::Screen, service::PaymentService, story::Story};

/// What the command line may say.
#[derive(Clone, Debug, Default, PartialEq, Eq, clap::Args)]
#[command(after_help = "Examples:\n  mainstay demo\n  mainstay demo --once --replicas 3")]
pub struct DemoOptions {
    /// End after the story instead of staying up; exits with 0 only if every step held.
    #[arg(long)]
    pub once: bool,
    /// Mainstay's port on 127.0.0.1 [default: 8080 if free, else any free one].
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// The payment service's port on 127.0.0.1 [default: 9000 if free, else any free one].
    #[arg(long, value_name = "PORT")]
    pub service_port: Option<u16>,
    /// So many processes of Mainstay on one ledger, in a PostgreSQL that is found on this machine: from 2 to 9.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(2..=9))]
    pub replicas: Option<u8>,
}

/// Why the demo ended early.
#[derive(Debug, thiserror::Error)]
enum DemoError {
    #[error("cannot listen on 127.0.0.1:{port}: {source}")]
    Port { port: u16, source: io::Error },
    #[error("Mainstay did not start: {0}")]
    Start(String),
    #[error("the story did not hold: {0}")]
    Story(#[from] story::Broken),
    #[error(transparent)]
    Store(#[from] store::StoreError),
    #[error("cannot wait for a signal: {0}")]
    Signal(io::Error),
}

/// Tells the story.
///
/// `start` takes the text of a `mainstay.yaml` and returns once that proxy serves; `stop` ends what `start` began.
pub async fn run<P>(
    options: DemoOptions,
    start: impl AsyncFnOnce(String) -> Result<P, String>,
    stop: impl AsyncFnOnce(P),
) -> ExitCode {
    let mut screen = Screen::stdout();
    let told = match options.replicas {
        Some(replicas) => replicas::tell(&options, replicas.into(), &mut screen).await,
        None => tell(&options, &mut screen, start, stop).await,
    };
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            screen.failure(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

async fn tell<P>(
    options: &DemoOptions,
    screen: &mut Screen,
    start: impl AsyncFnOnce(String) -> Result<P, String>,
    stop: impl AsyncFnOnce(P),
) -> Result<(), DemoError> {
    let listener = bind(options.service_port, 9000).await?;
    let service = PaymentService::spawn(listener).map_err(|source| DemoError::Port { port: 0, source })?;
    // Mainstay binds these itself a moment later; a port lost in between is reported by its own start.
    let proxy = free_address(options.port, 8080).await?;
    let probes = free_address(None, 9190).await?;
    let operators = free_address(None, 9191).await?;

    let yaml = configuration(proxy, service.address(), probes, operators);
    introduce(screen, [proxy, service.address(), operators], &yaml);
    let running = start(yaml).await.map_err(DemoError::Start)?;

    let told = Story::new(proxy, service.address(), screen).tell().await;
    let ended = match told {
        Ok(()) if options.once => Ok(()),
        Ok(()) => stay(screen, [proxy, service.address(), probes, operators]).await,
        Err(broken) => Err(broken.into()),
    };
    stop(running).await;
    ended
}

fn introduce(screen: &mut Screen, [proxy, service, operators]: [SocketAddr; 3], yaml: &str) {
    screen.title("Mainstay demo: a timeout says nothing about whether the write happened");
    screen.note(&format!("http://{service}  a payment service; it does not deduplicate, and loses some answers"));
    screen.note(&format!("http://{operators}  Mainstay's console, for a browser"));
    screen.note(&format!("http://{proxy}  Mainstay before it, with this mainstay.yaml:"));
    screen.block(yaml);
}

/// Stays up for the reader's own requests until Ctrl-C or SIGTERM.
async fn stay(screen: &mut Screen, [proxy, service, probes, operators]: [SocketAddr; 4]) -> Result<(), DemoError> {
    screen.step("Your turn");
    screen.note("Everything is still up. A body with \"test\": \"lose-answer\", \"drop-connection\" or \"work-late\"");
    screen.note("makes the service misbehave; any other is an ordinary payment.");
    let mut text = String::new();
    let _ = writeln!(text, "curl -i http://{proxy}/payments -H 'Idempotency-Key: mine-1' -d '{{\"amount\":700}}'");
    let _ = writeln!(text, "curl -s 'http://{proxy}/_mainstay/operations?key=mine-1'");
    let _ = writeln!(text, "curl -s http://{service}/effects");
    let _ = writeln!(text, "curl -s http://{probes}/metrics");
    let _ = writeln!(text, "mainstay ops ls --all --admin http://{operators}");
    screen.block(&text);
    screen.note(&format!("http://{operators}/  the same for a browser"));
    screen.note("Ctrl-C ends it.");
    until_told().await
}

/// Waits for Ctrl-C or SIGTERM.
async fn until_told() -> Result<(), DemoError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).map_err(DemoError::Signal)?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted.map_err(DemoError::Signal),
        _ = terminate.recv() => Ok(()),
    }
}

/// Binds the port asked for, or else the preferred one, or else any.
async fn bind(asked: Option<u16>, preferred: u16) -> Result<TcpListener, DemoError> {
    let listen = async |port: u16| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|source| DemoError::Port { port, source })
    };
    match asked {
        Some(port) => listen(port).await,
        None => match listen(preferred).await {
            Ok(listener) => Ok(listener),
            Err(_) => listen(0).await,
        },
    }
}

async fn free_address(asked: Option<u16>, preferred: u16) -> Result<SocketAddr, DemoError> {
    let listener = bind(asked, preferred).await?;
    listener.local_addr().map_err(|source| DemoError::Port { port: preferred, source })
}

/// The configuration that the demo runs, and prints.
fn configuration(proxy: SocketAddr, service: SocketAddr, probes: SocketAddr, operators: SocketAddr) -> String {
    format!(
        "\
listeners: {{ inbound: {{ address: {proxy} }} }}
upstreams: {{ app: {{ endpoints: [http://{service}] }} }}
routes:
  - {{ match: {{ path: /payments, methods: [POST] }}, upstream: app, policy: write }}
  - {{ match: {{ path: /**, methods: [GET, HEAD] }}, upstream: app, policy: read }}
policies:
  read: {{ timeout: {{ total: 1s, attempt: 300ms }}, retry: 2 }}
  write:
    timeout: 500ms
    idempotency:
      required: true
      on_concurrent: {{ wait: 400ms }}   # a duplicate waits for the first one's answer
      status:                          # how to ask the service what became of a write
        request: GET /payments/by-ref/{{key}}
        rules: [{{ status: 200, json: {{ /state: SUCCESS }}, then: succeeded }}, {{ status: 404, then: not_found }}]
ledger: {{ store: memory }}
probes: {{ address: {probes} }}
admin: {{ address: {operators}, reveal: true }}
drain: {{ delay: 0s }}
telemetry: {{ logs: {{ access: false, level: error }} }}
"
    )
}

#[cfg(test)]
mod tests;
