//! Pipelines against a second reader: what the proxy makes of a client's bytes is what a slow and simple reader makes of them.
//!
//! The reader below knows RFC 9112 and shares no code with the proxy. Thousands of connections are made up of good messages, bad
//! ones, some that no route takes, and some that change protocol, with a byte changed here and there, and cut into pieces anywhere.
//! On each of them the service must get the requests that the reader finds, whole and in their order, and the client must get
//! the answers to them, and nothing after a message that was refused.

use mainstay_tests::prelude::*;

/// What a connection's bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    /// A whole request.
    Request { method: String, target: String, body: Vec<u8>, closes: bool },
    /// The protocol changes: what follows is no HTTP.
    Upgrade { rest: Vec<u8> },
    /// A message that is none; nothing behind it counts. Whether its head was good, so that the service may know of it.
    Refused { begun: bool },
    /// A request whose framing is clear, and of which something else is not: it is refused, and the next one is not.
    Unclear { closes: bool },
    /// A message that does not end.
    Unfinished,
}

/// The second reader.
struct Reader<'a> {
    left: &'a [u8],
}

type Line<'a> = Result<&'a [u8], Event>;

impl<'a> Reader<'a> {
    fn events(bytes: &'a [u8]) -> Vec<Event> {
        let mut reader = Self { left: bytes };
        let mut events = Vec::new();
        while !reader.left.is_empty() {
            let event = reader.message().unwrap_or_else(|event| event);
            let goes_on = matches!(event, Event::Request { closes: false, .. } | Event::Unclear { closes: false });
            events.push(event);
            if !goes_on {
                break;
            }
        }
        events
    }

    /// A line without its end, which is LF with an optional CR before it.
    fn line(&mut self) -> Line<'a> {
        let Some(at) = self.left.iter().position(|byte| *byte == b'\n') else { return Err(Event::Unfinished) };
        let (line, rest) = (&self.left[..at], &self.left[at + 1..]);
        self.left = rest;
        Ok(line.strip_suffix(b"\r").unwrap_or(line))
    }

    fn message(&mut self) -> Result<Event, Event> {
        const BAD: Event = Event::Refused { begun: false };
        // Empty lines before a request are passed over, and a CR that belongs to none is not.
        while let [b'\n', rest @ ..] | [b'\r', b'\n', rest @ ..] = self.left {
            self.left = rest;
        }
        match self.left {
            [] | [b'\r'] => return Err(Event::Unfinished),
            [b'\r', ..] => return Err(BAD),
            _ => {}
        }
        // The head is looked at once it is whole.
        let mut lines = Vec::new();
        loop {
            match self.line()? {
                [] => break,
                line => lines.push(line),
            }
        }
        let text: Vec<String> = lines.iter().map(|line| line.iter().map(|byte| char::from(*byte)).collect()).collect();
        let words: Vec<&str> = text[0].split(' ').collect();
        let [method, target, version] = words[..] else { return Err(BAD) };
        let minor =
            version.strip_prefix("HTTP/1.").filter(|minor| minor.len() == 1).and_then(|minor| minor.parse::<u8>().ok());
        let Some(minor) = minor else { return Err(BAD) };
        let is_target = target.starts_with('/') && !target.contains(|c| c <= ' ' || c == '\x7f' || c == '#' || c > '~');
        if !is_token(method) || !is_target || method == "CONNECT" {
            return Err(BAD);
        }
        let mut fields = Vec::new();
        for line in &text[1..] {
            let Some((name, value)) = line.split_once(':') else { return Err(BAD) };
            let is_value = !value.contains(|c: char| c < ' ' && c != '\t' || c == '\x7f');
            if !is_token(name) || !is_value {
                return Err(BAD);
            }
            fields.push((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()));
        }
        self.framed(method, target, minor, &fields)
    }

    fn framed(&mut self, method: &str, target: &str, minor: u8, fields: &[(String, String)]) -> Result<Event, Event> {
        let all = |name: &str| -> Vec<&str> {
            fields.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect()
        };
        let (lengths, codings) = (all("content-length"), all("transfer-encoding"));
        let options = all("connection").join(",").to_ascii_lowercase();
        let has = |option: &str| options.split(',').any(|one| one.trim_matches([' ', '\t']) == option);
        let begun = false;
        let length = match (&lengths[..], &codings[..]) {
            ([], []) => Some(0),
            ([length], [])
                if !length.is_empty() && length.len() < 19 && length.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                length.parse().ok()
            }
            ([], [coding]) if coding.eq_ignore_ascii_case("chunked") && minor > 0 => None,
            _ => return Err(Event::Refused { begun }),
        };
        let is_upgrade = minor > 0 && has("upgrade") && !all("upgrade").is_empty() && target == "/upgrade";
        let hosts = all("host");
        let has_host = match hosts[..] {
            [host] => is_host(host),
            [] => minor == 0,
            _ => false,
        };
        let body = match length {
            Some(length) if length <= self.left.len() => {
                let (body, rest) = self.left.split_at(length);
                self.left = rest;
                body.to_vec()
            }
            Some(_) => return Err(Event::Unfinished),
            None => self.chunks()?,
        };
        let closes = has("close") || minor == 0 && !has("keep-alive");
        if !has_host {
            return Ok(Event::Unclear { closes });
        }
        if is_upgrade {
            return Ok(Event::Upgrade { rest: std::mem::take(&mut self.left).to_vec() });
        }
        Ok(Event::Request { method: method.to_owned(), target: target.to_owned(), body, closes })
    }

    fn chunks(&mut self) -> Result<Vec<u8>, Event> {
        const BAD: Event = Event::Refused { begun: true };
        let mut body = Vec::new();
        loop {
            let size = self.strict_line()?;
            let (digits, extension) = size.split_once(';').map_or((size.as_str(), ""), |(digits, rest)| (digits, rest));
            let digits = if size.contains(';') { digits.trim_end_matches([' ', '\t']) } else { digits };
            let is_size = !digits.is_empty() && digits.len() <= 16 && digits.chars().all(|c| c.is_ascii_hexdigit());
            let is_extension = !extension.contains(|c: char| c < ' ' && c != '\t' || c == '\x7f');
            if !is_size || !is_extension || extension.ends_with([' ', '\t']) {
                return Err(BAD);
            }
            let length = u64::from_str_radix(digits, 16).map_err(|_| BAD)?;
            if length == 0 {
                break;
            }
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if self.left.len() < length {
                return Err(Event::Unfinished);
            }
            let (data, rest) = self.left.split_at(length);
            body.extend_from_slice(data);
            self.left = match rest {
                [b'\r', b'\n', rest @ ..] => rest,
                [] | [b'\r'] => return Err(Event::Unfinished),
                _ => return Err(BAD),
            };
        }
        loop {
            let trailer = self.strict_line()?;
            if trailer.is_empty() {
                return Ok(body);
            }
            let Some((name, value)) = trailer.split_once(':') else { return Err(BAD) };
            if !is_token(name) || value.contains(|c: char| c < ' ' && c != '\t' || c == '\x7f') {
                return Err(BAD);
            }
        }
    }

    /// A line that ends with CRLF, and has no other CR in it.
    fn strict_line(&mut self) -> Result<String, Event> {
        const BAD: Event = Event::Refused { begun: true };
        let end = self.left.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let Some(at) = end else { return Err(Event::Unfinished) };
        let line = self.left[..at].iter().map(|byte| char::from(*byte)).collect();
        match &self.left[at..] {
            [b'\r', b'\n', rest @ ..] => self.left = rest,
            [b'\r'] => return Err(Event::Unfinished),
            _ => return Err(BAD),
        }
        Ok(line)
    }
}

/// A name with an optional port, as far as these pipelines have any.
fn is_host(text: &str) -> bool {
    let (name, port) = text.rsplit_once(':').unwrap_or((text, ""));
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || ",;".contains(c));
    text.is_empty() || is_name && port.len() <= 5 && port.chars().all(|c| c.is_ascii_digit())
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c))
}

/// Numbers that look random and are the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

const HOST: &str = "Host: a\r\n";

/// A message, good or bad.
fn message(dice: &mut Dice, n: &str) -> String {
    let target = dice.one(&["/a", "/b?c=d", "/nowhere", "/a"]);
    let body = &"0123456789abcdef"[..dice.roll(16)];
    match dice.roll(20) {
        0..5 => format!("GET {target}/{n} HTTP/1.1\r\n{HOST}\r\n"),
        5..8 => format!("POST {target}/{n} HTTP/1.1\r\n{HOST}Content-Length: {}\r\n\r\n{body}", body.len()),
        8..12 => {
            let (first, second) = body.split_at(body.len() / 2);
            let extension = dice.one(&["", ";a", ";a=b", " ;c", "; a=\"b c\""]);
            let chunk = |part: &str| {
                if part.is_empty() { String::new() } else { format!("{:x}{extension}\r\n{part}\r\n", part.len()) }
            };
            let trailer = dice.one(&["", "X-Sum: 1\r\n"]);
            format!(
                "PUT {target}/{n} HTTP/1.1\r\n{HOST}Transfer-Encoding: chunked\r\n\r\n{}{}0\r\n{trailer}\r\n",
                chunk(first),
                chunk(second)
            )
        }
        12 => format!("GET {target}/{n} HTTP/1.1\r\n{HOST}Connection: close\r\n\r\n"),
        13 => format!("GET {target}/{n} HTTP/1.{}\r\n{HOST}Connection: keep-alive\r\n\r\n", dice.roll(4)),
        14 => format!("\r\nGET {target}/{n} HTTP/1.1\n{HOST}X: y\n\n"),
        15 => {
            format!("GET /upgrade HTTP/1.1\r\n{HOST}Connection: upgrade\r\nUpgrade: chat\r\n\r\nnot HTTP {n}\r\n\r\n")
        }
        _ => {
            let framing = dice.one(&[
                "Content-Length: 3\r\nContent-Length: 3\r\n",
                "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                "Content-Length: +3\r\n",
                "Content-Length : 3\r\n",
                "Transfer-Encoding: gzip\r\n",
                "Transfer-Encoding:\tchunked \r\n",
                "Transfer-Encoding: xchunked\r\n",
                " Content-Length: 3\r\n",
                "Content-Length: 3\r",
                "X: \rContent-Length: 3\r\n",
                "Host: b\r\nContent-Length: 3\r\n",
            ]);
            let body = dice.one(&[
                "abc",
                "3\r\nabc\r\n0\r\n\r\n",
                "3 \r\nabc\r\n0\r\n\r\n",
                "3\nabc\r\n0\r\n\r\n",
                "0\r\n\r\n",
            ]);
            format!("POST {target}/{n} HTTP/1.1\r\n{HOST}{framing}\r\n{body}")
        }
    }
}

/// Bytes of a client, with what they are cut into.
fn pipeline(seed: u64, dice: &mut Dice) -> (Vec<u8>, Vec<usize>) {
    let count = 1 + dice.roll(5);
    let mut bytes: Vec<u8> = (0..count).map(|n| message(dice, &format!("{seed}.{n}"))).collect::<String>().into_bytes();
    for _ in 0..dice.roll(3) / 2 {
        let at = dice.roll(bytes.len());
        let byte = b"\r\n :;0\0x\t,#\x7f"[dice.roll(12)];
        match dice.roll(3) {
            0 => bytes[at] = byte,
            1 => bytes.insert(at, byte),
            _ => drop(bytes.remove(at)),
        }
    }
    let mut cuts: Vec<usize> = (0..dice.roll(5)).map(|_| dice.roll(bytes.len().max(1))).collect();
    cuts.sort_unstable();
    cuts.push(bytes.len());
    (bytes, cuts)
}

#[tokio::test]
async fn a_client_is_understood_as_a_second_reader_understands_it() {
    let upstream = Upstream::start(|seen| match seen.target.as_str() {
        "/upgrade" => {
            let granted = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n";
            vec![Step::Body, Step::Send(granted.into()), Step::Echo]
        }
        target => Answer::ok(format!("{} {target}", seen.method)).steps(),
    })
    .await;
    let config = Config::new().upstream("app", upstream.addr, "").policy("p", "timeout: { total: 5s, idle: 500ms }");
    let config = config.route("path: /a/**", "app", "p").route("path: /b/**", "app", "p").route("path: /b", "app", "p");
    let proxy = Proxy::start(config.route("path: /upgrade", "app", "p")).await;
    for seed in 1..=1500_u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let (bytes, cuts) = pipeline(seed, &mut dice);
        let events = Reader::events(&bytes);
        let name = format!("seed {seed}: {:?}\ncut at {cuts:?}: {events:#?}", String::from_utf8_lossy(&bytes));
        let before = upstream.count();
        let mut client = proxy.connect().await;
        let mut from = 0;
        for cut in cuts {
            if client.wire.send(&bytes[from..cut]).await.is_err() {
                break;
            }
            from = cut;
            tokio::time::sleep(Duration::from_millis(u64::from(seed % 3 == 0))).await;
        }
        let mut expected = Vec::new();
        for event in &events {
            match event {
                Event::Request { method, target, body, closes } => {
                    let reply = client.reply_to(method).await;
                    let is_routed = ["/a", "/b"].into_iter().any(|prefix| {
                        let path = target.split('?').next().unwrap_or_default();
                        path == prefix || path.starts_with(&format!("{prefix}/"))
                    });
                    // The service grants there what nobody asked for.
                    let is_odd = target == "/upgrade" || target.starts_with("/upgrade?");
                    let status = if is_odd {
                        502
                    } else if is_routed {
                        200
                    } else {
                        404
                    };
                    assert_eq!(reply.status, status, "{reply:#?}\n{name}");
                    if is_odd {
                        expected.push((method.clone(), target.clone(), body.clone()));
                    }
                    if is_routed {
                        assert_eq!(reply.text(), format!("{method} {target}"), "{name}");
                        expected.push((method.clone(), target.clone(), body.clone()));
                    }
                    // A refusal whose body was still on its way may end the connection, and says so.
                    let ends = reply.header("connection") == Some("close");
                    assert!(ends == *closes || ends && !is_routed && !body.is_empty(), "{reply:#?}\n{name}");
                    if ends {
                        client.expect_closed().await;
                        break;
                    }
                }
                Event::Upgrade { rest } => {
                    assert_eq!(client.reply().await.status, 101, "{name}");
                    assert_eq!(within("the echo", client.wire.take(rest.len())).await.unwrap(), *rest, "{name}");
                    expected.push(("GET".to_owned(), "/upgrade".to_owned(), Vec::new()));
                }
                Event::Refused { .. } => {
                    let reply = client.reply().await;
                    assert!(matches!(reply.status, 400 | 404 | 501 | 505), "{reply:#?}\n{name}");
                }
                Event::Unclear { closes } => {
                    let reply = client.reply().await;
                    assert_eq!(reply.status, 400, "{reply:#?}\n{name}");
                    if reply.header("connection") == Some("close") || *closes {
                        client.expect_closed().await;
                        break;
                    }
                }
                Event::Unfinished => {}
            }
        }
        drop(client);
        let seen: Vec<_> = upstream.requests()[before..]
            .iter()
            .filter(|seen| seen.body.complete)
            .map(|seen| (seen.method.clone(), seen.target.clone(), seen.body.data.clone()))
            .collect();
        assert_eq!(seen, expected, "{name}");
    }
}
