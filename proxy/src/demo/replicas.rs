//! `mainstay demo --replicas 3`: several processes of this program on one PostgreSQL, before one payment service.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use super::{
    DemoError, DemoOptions, bind, free_address, screen::Screen, service::PaymentService, store::Store, story::Story,
};

/// A replica is there within a second; more is a fault that its log tells.
const STARTS_WITHIN: Duration = Duration::from_secs(20);

/// One replica: a process of this program. Ended when dropped.
pub(super) struct Replica {
    pub(super) address: SocketAddr,
    process: Child,
}

impl Replica {
    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Tells the story of several replicas.
pub(super) async fn tell(options: &DemoOptions, count: usize, screen: &mut Screen) -> Result<(), DemoError> {
    let listener = bind(options.service_port, 9000).await?;
    let service = PaymentService::spawn(listener).map_err(|source| DemoError::Port { port: 0, source })?;
    screen.title("Mainstay demo: several replicas, one ledger, one payment");
    screen.note(&format!(
        "http://{}  a payment service; it does not deduplicate, and loses some answers",
        service.address()
    ));
    screen.note("A PostgreSQL of the demo's own is started in a temporary directory …");
    let store = Store::start().await?;
    let mut replicas = Vec::new();
    for number in 0..count {
        let asked = if number == 0 { options.port } else { None };
        let address = free_address(asked, if number == 0 { 8080 } else { 0 }).await?;
        let yaml = configuration(address, service.address(), free_address(None, 0).await?, &store);
        if number == 0 {
            screen.note("… and each replica has this mainstay.yaml, with an address of its own:");
            screen.block(&yaml);
        }
        replicas.push(start(number, address, &yaml, &store).await?);
    }
    for (number, replica) in replicas.iter().enumerate() {
        screen.note(&format!("http://{}  replica {}, process {}", replica.address, number + 1, replica.pid()));
    }
    let told = Story::new(replicas[0].address, service.address(), screen).tell_of(&mut replicas).await;
    match told {
        Ok(()) if options.once => Ok(()),
        Ok(()) => stay(screen, &replicas, service.address()).await,
        Err(broken) => Err(broken.into()),
    }
}

async fn start(number: usize, address: SocketAddr, yaml: &str, store: &Store) -> Result<Replica, DemoError> {
    let file = store.directory().join(format!("replica-{}.yaml", number + 1));
    let log = store.directory().join(format!("replica-{}.log", number + 1));
    let failed = |error: std::io::Error| DemoError::Start(error.to_string());
    fs::write(&file, yaml).map_err(failed)?;
    let output = fs::File::create(&log).map_err(failed)?;
    let process = Command::new(std::env::current_exe().map_err(failed)?)
        .arg("-c")
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .spawn()
        .map_err(failed)?;
    let mut replica = Replica { address, process };
    let until = Instant::now() + STARTS_WITHIN;
    while TcpStream::connect(address).await.is_err() {
        let has_ended = !matches!(replica.process.try_wait(), Ok(None));
        if has_ended || Instant::now() > until {
            return Err(DemoError::Start(fs::read_to_string(&log).unwrap_or_default()));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(replica)
}

/// Stays up for the reader's own requests until Ctrl-C or SIGTERM.
async fn stay(screen: &mut Screen, replicas: &[Replica], service: SocketAddr) -> Result<(), DemoError> {
    screen.step("Your turn");
    screen.note("All but the killed one are still up. Send a write to one of them, and repeat it at another:");
    let living: Vec<_> = replicas.iter().skip(1).map(|replica| replica.address).collect();
    let mut text = String::new();
    for address in &living {
        let _ =
            writeln!(text, "curl -i http://{address}/payments -H 'Idempotency-Key: mine-1' -d '{{\"amount\":700}}'");
    }
    let _ = writeln!(text, "curl -s http://{service}/effects");
    screen.block(&text);
    screen.note("Ctrl-C ends it.");
    super::until_told().await
}

/// The configuration of one replica. A death is noticed within two seconds; in earnest the defaults are right.
fn configuration(address: SocketAddr, service: SocketAddr, probes: SocketAddr, store: &Store) -> String {
    format!(
        "\
listeners: {{ inbound: {{ address: {address} }} }}
upstreams: {{ app: {{ endpoints: [http://{service}] }} }}
routes:
  - {{ match: {{ path: /payments, methods: [POST] }}, upstream: app, policy: write }}
policies:
  write:
    timeout: 500ms
    idempotency:
      required: true
      on_concurrent: {{ wait: 400ms }}   # a duplicate waits for the first one's answer, wherever that is in flight
      status:                          # every instance of the service answers for all of them
        request: GET /payments/by-ref/{{key}}
        shared: true
        rules: [{{ status: 200, json: {{ /state: SUCCESS }}, then: succeeded }}, {{ status: 404, then: not_found }}]
ledger:                                # one for all replicas
  store: postgres
  url: \"{url}\"
  service: payments
  lease: {{ heartbeat: 400ms, ttl: 2s }}
probes: {{ address: {probes} }}
admin: off
drain: {{ delay: 0s }}
telemetry: {{ logs: {{ access: false, level: error }} }}
",
        url = store.url()
    )
}
