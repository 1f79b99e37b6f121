//! What a connection proves that a real server refuses or cuts off: rustls', openssl's and nginx' own, under TLS 1.3.
//!
//! A server that looks at our certificate late (TLS 1.3 lets us write before) says so in its own way. An alert about our
//! certificate proves that the write was not looked at. An answer is an answer, whatever it is about. A cut without a word
//! proves nothing.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
};

use mainstay_tests::{
    authority::{Authority, Issued},
    prelude::*,
    proxy::TempDir,
    tls::Server,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const POLICY: &str = "timeout: 10s, idempotency: { required: true }";

/// Whom the servers are known by, and whom they know.
struct World {
    authority: Authority,
    clients: Authority,
    strangers: Authority,
    own: Issued,
}

impl World {
    fn new() -> Self {
        let authority = Authority::new("right");
        let own = authority.issue("own", "DNS:localhost");
        Self { authority, clients: Authority::new("clients"), strangers: Authority::new("stranger"), own }
    }

    /// A proxy before `localhost` at that port, with that certificate of its own.
    async fn before(&self, addr: SocketAddr, own: Option<&Issued>) -> Proxy {
        let pair = own.map_or_else(String::new, |own| {
            format!(", cert_file: {}, key_file: {}", own.cert.display(), own.key.display())
        });
        let tls = format!("tls: {{ ca_file: {}{pair} }}", self.authority.cert().display());
        let config = Config::new().upstream_at("app", &format!("https://localhost:{}", addr.port()), &tls);
        Proxy::start(config.policy("p", POLICY).route("path: /**", "app", "p")).await
    }

    fn known(&self) -> Issued {
        self.clients.issue("known", "URI:spiffe://x/known")
    }

    fn stranger(&self) -> Issued {
        self.strangers.issue("stranger", "URI:spiffe://x/stranger")
    }
}

/// The state of a key's operation; of one that nobody has begun, or that is free again, none.
async fn state(proxy: &Proxy, key: &str) -> Option<String> {
    let reply = proxy.get(&format!("/_mainstay/operations?key={key}")).await;
    (reply.status != 404).then(|| reply.json()["state"].as_str().unwrap_or_default().to_owned())
}

/// A process, killed when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Program {
    async fn start(command: &mut Command, addr: SocketAddr) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let program = Self(quiet.spawn().expect("it is installed"));
        eventually("it serves", || async { TcpStream::connect(addr).await.ok() }).await;
        program
    }
}

/// openssl's own server, which answers whatever it is asked.
async fn openssl(addr: SocketAddr, own: &Issued, clients: &Path) -> Program {
    let mut server = Command::new("openssl");
    server.args(["s_server", "-tls1_3", "-www", "-verify_return_error", "-Verify", "2", "-accept"]);
    server.arg(addr.port().to_string()).args(["-CAfile".as_ref(), clients.as_os_str()]);
    server.args(["-cert".as_ref(), own.cert.as_os_str()]).args(["-key".as_ref(), own.key.as_os_str()]);
    Program::start(&mut server, addr).await
}

/// nginx before that upstream. It wants a certificate, resets who writes to `/cut`, and hangs up on who writes to `/end`.
async fn nginx(dir: &TempDir, world: &World, addr: SocketAddr, behind: SocketAddr) -> Program {
    let (cert, key, clients) = (world.own.cert.display(), world.own.key.display(), world.clients.cert());
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log info;
         events {{ }}
         http {{
           access_log off; client_body_temp_path a; proxy_temp_path b; fastcgi_temp_path c; uwsgi_temp_path d; scgi_temp_path e;
           server {{
             listen {addr} ssl; ssl_protocols TLSv1.3; ssl_certificate {cert}; ssl_certificate_key {key};
             ssl_client_certificate {}; ssl_verify_client on;
             location / {{ proxy_pass http://{behind}; }}
             location /cut {{ reset_timedout_connection on; return 444; }}
             location /end {{ return 444; }}
           }}
         }}",
        clients.display()
    );
    fs::write(dir.join("nginx.conf"), config).expect("write");
    // Debian keeps it off the path of users.
    let program = if Path::new("/usr/sbin/nginx").is_file() { "/usr/sbin/nginx" } else { "nginx" };
    let mut server = Command::new(program);
    server.arg("-p").arg(dir.join("")).args(["-e", "error.log", "-c"]).arg(dir.join("nginx.conf"));
    Program::start(&mut server, addr).await
}

/// A way to a server on which a connection is reset in the midst of a large request, before anything of an answer comes back.
struct Resetting {
    addr: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Drop for Resetting {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// More than handshake and head take of a connection, and less than the request has.
const BEGUN: usize = 16 * 1024;
const CUT: usize = 64 * 1024;
const BODY: usize = 256 * 1024;

impl Resetting {
    async fn before(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind to loopback");
        let addr = listener.local_addr().expect("a bound socket has an address");
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(behind).await else { continue };
                tokio::spawn(relay(client, server));
            }
        });
        Self { addr, accepting }
    }
}

async fn relay(mut client: TcpStream, mut server: TcpStream) {
    let (mut passed, mut up, mut down) = (0, vec![0; 4096], vec![0; 4096]);
    while passed < CUT {
        tokio::select! {
            read = client.read(&mut up) => match read {
                Ok(read @ 1..) => {
                    passed += read;
                    // A server that has had enough does not keep the rest from coming.
                    server.write_all(&up[..read]).await.ok();
                }
                _ => return,
            },
            read = server.read(&mut down), if passed < BEGUN => match read {
                Ok(read @ 1..) => if client.write_all(&down[..read]).await.is_err() { return },
                _ => break,
            },
        }
    }
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).ok();
}

#[tokio::test]
async fn openssl_refuses_our_certificate_before_it_looks_at_the_write() {
    let world = World::new();
    let addr = free_addr();
    let _server = openssl(addr, &world.own, &world.clients.cert()).await;
    for (own, word) in [(None, "tls:certificate_required"), (Some(world.stranger()), "tls:certificate_refused")] {
        let proxy = world.before(addr, own.as_ref()).await;
        let problem = proxy.send(Request::keyed("/pay", "k", "x")).await.expect_problem(502, "upstream-unreachable");
        assert_eq!(problem["effect"], "none", "{problem}");
        assert!([None, Some("not_executed".to_owned())].contains(&state(&proxy, "k").await), "the key is free");
        eventually("the log says why", || async {
            proxy.log().contains(&format!("\"error\":\"{word}\"")).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn nginx_refuses_our_certificate_by_an_answer_which_settles_the_write() {
    let (world, dir) = (World::new(), TempDir::new());
    let upstream = Upstream::answering(Answer::status(201).body("made")).await;
    let addr = free_addr();
    let _server = nginx(&dir, &world, addr, upstream.addr).await;
    for (own, words) in [(None, "No required SSL certificate"), (Some(world.stranger()), "SSL certificate error")] {
        let proxy = world.before(addr, own.as_ref()).await;
        let reply = proxy.send(Request::keyed("/pay", "k", "x")).await;
        assert!(reply.expect_upstream(400).text().contains(words), "{}", reply.text());
        assert_eq!(state(&proxy, "k").await.as_deref(), Some("failed"), "it was told no");
        assert_eq!(upstream.count(), 0);
    }
    let proxy = world.before(addr, Some(&world.known())).await;
    proxy.send(Request::keyed("/pay", "k", "x")).await.expect_upstream(201);
    assert_eq!((upstream.count(), state(&proxy, "k").await.as_deref()), (1, Some("succeeded")));
}

#[tokio::test]
async fn nginx_that_ends_or_resets_a_connection_without_an_answer_leaves_the_write_in_doubt() {
    let (world, dir) = (World::new(), TempDir::new());
    let upstream = Upstream::answering(Answer::status(201)).await;
    let addr = free_addr();
    let _server = nginx(&dir, &world, addr, upstream.addr).await;
    let proxy = world.before(addr, Some(&world.known())).await;
    for target in ["/cut", "/end"] {
        let reply = proxy.send(Request::keyed(target, target.trim_start_matches('/'), "x")).await;
        assert_eq!((reply.slug(), &reply.json()["effect"]), (Some("outcome-unknown"), &"unknown".into()), "{target}");
    }
}

#[tokio::test]
async fn a_write_that_is_reset_in_its_midst_is_in_doubt_whoever_serves() {
    let (world, dir) = (World::new(), TempDir::new());
    let upstream = Upstream::answering(Answer::status(201)).await;
    let front = Server { clients: Some(&world.clients), ..Server::of(&world.own) }.before(upstream.addr).await;
    let (of_openssl, of_nginx) = (free_addr(), free_addr());
    let _openssl = openssl(of_openssl, &world.own, &world.clients.cert()).await;
    let _nginx = nginx(&dir, &world, of_nginx, upstream.addr).await;
    for (server, addr) in [("rustls", front.addr), ("openssl", of_openssl), ("nginx", of_nginx)] {
        let way = Resetting::before(addr).await;
        let proxy = world.before(way.addr, Some(&world.known())).await;
        let reply = proxy.send(Request::keyed("/pay", "k", vec![b'x'; BODY])).await;
        assert_eq!((reply.slug(), &reply.json()["effect"]), (Some("outcome-unknown"), &"unknown".into()), "{server}");
        assert_eq!(state(&proxy, "k").await.as_deref(), Some("unknown"), "{server}");
    }
}
