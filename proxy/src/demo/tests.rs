use std::{io::Write, sync::Arc};

use parking_lot::Mutex;
use serde_json::json;
use tokio::{net::TcpStream, task::JoinHandle};

use super::{
    client::{Answer, Call, CallError},
    *,
};

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Captured {
    fn screen(&self, coloured: bool) -> Screen {
        Screen::new(Box::new(self.clone()), coloured)
    }
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().clone()).unwrap()
    }
}

async fn service() -> PaymentService {
    PaymentService::spawn(bind(Some(0), 0).await.unwrap()).unwrap()
}

async fn pay(service: &PaymentService, key: &str, body: &str) -> Result<Answer, CallError> {
    Call::pay(service.address(), key, body).send().await
}

async fn get(service: &PaymentService, target: &str) -> Answer {
    Call::get(service.address(), target).send().await.unwrap()
}

/// Stands where Mainstay would and only copies bytes: no key, no ledger, no timeout.
fn bare_forwarder(listener: TcpListener, to: SocketAddr) -> JoinHandle<()> {
    tokio::spawn(async move {
        while let Ok((mut inbound, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut outbound = TcpStream::connect(to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut inbound, &mut outbound).await;
            });
        }
    })
}

#[tokio::test]
async fn service_answers_a_payment_and_tells_of_it_by_reference() {
    let service = service().await;
    let paid = pay(&service, "a b/c", r#"{"amount":7}"#).await.unwrap();
    assert_eq!(paid.status, 201);
    assert_eq!(paid.json("/amount"), Some(json!(7)));

    let known = get(&service, "/payments/by-ref/a%20b%2Fc").await;
    assert_eq!(known.status, 200);
    assert_eq!(known.json("/state"), Some(json!("SUCCESS")));
    assert_eq!(get(&service, "/payments/by-ref/other").await.status, 404);
}

#[tokio::test]
async fn service_does_not_deduplicate() {
    let service = service().await;
    let first = pay(&service, "k", r#"{"amount":7}"#).await.unwrap();
    let second = pay(&service, "k", r#"{"amount":7}"#).await.unwrap();
    assert_ne!(first.body, second.body);
    assert_eq!(get(&service, "/effects").await.json("/k"), Some(json!(2)));
}

#[tokio::test]
async fn service_does_the_work_whatever_becomes_of_the_answer() {
    for misfortune in ["lose-answer", "drop-connection"] {
        let service = service().await;
        let lost = pay(&service, "k", &json!({ "amount": 1, "test": misfortune }).to_string()).await;
        assert!(matches!(lost, Err(CallError::Died(_))), "{misfortune}: {lost:?}");
        assert_eq!(get(&service, "/effects").await.json("/k"), Some(json!(1)), "{misfortune}");
    }
}

#[tokio::test]
async fn late_work_is_done_though_the_caller_hung_up() {
    let service = service().await;
    let call = Call::pay(service.address(), "k", r#"{"amount":1,"test":"work-late"}"#);
    let hung_up = tokio::time::timeout(std::time::Duration::from_millis(100), call.send()).await;
    assert!(hung_up.is_err());
    assert_eq!(get(&service, "/effects").await.json("/k"), None);
    while get(&service, "/effects").await.json("/k") != Some(json!(1)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn service_refuses_what_it_cannot_read() {
    let service = service().await;
    assert_eq!(pay(&service, "k", "not json").await.unwrap().status, 400);
    assert_eq!(get(&service, "/nowhere").await.status, 404);
    assert_eq!(get(&service, "/effects").await.json("/k"), None);
}

#[tokio::test]
async fn story_breaks_before_a_proxy_that_keeps_no_ledger() {
    let captured = Captured::default();
    let options = DemoOptions { once: true, port: Some(0), service_port: Some(0), replicas: None };
    let start = async |yaml: String| {
        let address = |after: &str| {
            let rest = yaml.split_once(after).unwrap().1;
            rest.split([' ', ']']).next().unwrap().parse::<SocketAddr>().unwrap()
        };
        let listener = TcpListener::bind(address("inbound: { address: ")).await.unwrap();
        Ok(bare_forwarder(listener, address("http://")))
    };
    let told = tell(&options, &mut captured.screen(false), start, async |task: JoinHandle<()>| task.abort()).await;

    let broken = told.unwrap_err().to_string();
    assert!(broken.contains("Operation-Location"), "{broken}");
    let text = captured.text();
    assert!(text.contains("payments under direct-1: 2"), "{text}");
    assert!(text.contains("-H 'Idempotency-Key: order-1001' --json '{\"amount\":4200}'"), "{text}");
}

#[tokio::test]
async fn a_proxy_that_does_not_start_is_reported() {
    let options = DemoOptions { once: true, port: Some(0), service_port: Some(0), replicas: None };
    let start = async |_: String| Err::<(), _>("no such policy".to_owned());
    let told = tell(&options, &mut Captured::default().screen(false), start, async |()| {}).await;
    assert_eq!(told.unwrap_err().to_string(), "Mainstay did not start: no such policy");
}

#[tokio::test]
async fn a_port_asked_for_must_be_free_and_a_preferred_one_need_not_be() {
    let taken = bind(Some(0), 0).await.unwrap();
    let port = taken.local_addr().unwrap().port();
    assert!(matches!(bind(Some(port), 1).await, Err(DemoError::Port { .. })));
    assert_ne!(free_address(None, port).await.unwrap().port(), port);
}

#[test]
fn colours_are_used_only_where_they_were_asked_for() {
    for coloured in [false, true] {
        let captured = Captured::default();
        captured.screen(coloured).step("x");
        assert_eq!(captured.text().contains('\x1b'), coloured);
    }
}

#[test]
fn curl_lines_are_safe_to_paste() {
    let call = Call::pay(SocketAddr::from(([127, 0, 0, 1], 80)), "it's", "{}");
    assert_eq!(call.curl(), r"curl -i http://127.0.0.1:80/payments -H 'Idempotency-Key: it'\''s' --json '{}'");
}
