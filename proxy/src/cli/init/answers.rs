//! What `init` needs to know: from the command line, else asked for on the terminal.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write as _},
    str::FromStr,
};

use http::{Uri, uri::Scheme};
use mainstay_policies::idempotency::rules::is_pointer;
use serde_json::Value;

use super::InitCommand;

/// What `init` needs to know.
pub(super) struct Answers {
    pub(super) port: u16,
    pub(super) service: Service,
    pub(super) writes: Vec<String>,
    /// `None`: it cannot be asked.
    pub(super) status: Option<String>,
    pub(super) success: Option<Success>,
}

/// Where the service is.
#[derive(Clone, Debug)]
pub(super) struct Service(String);

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no address of a service: write http://127.0.0.1:9000");
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let is_http = uri.scheme().is_some_and(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
        if !is_http || uri.path() != "/" || uri.query().is_some() || text.contains('"') {
            return Err(wrong());
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the service says of a write that was done.
#[derive(Clone, Debug)]
pub(super) struct Success {
    /// JSON Pointer (RFC 6901).
    pub(super) pointer: String,
    /// What stands there, as JSON.
    pub(super) value: Value,
}

impl FromStr for Success {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no pointer and value: write /state=SUCCESS");
        let (pointer, value) = text.split_once('=').ok_or_else(wrong)?;
        if !is_pointer(pointer) || pointer.contains(['"', '\\']) || pointer.is_empty() {
            return Err(wrong());
        }
        // A number and a truth value are meant as such.
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        Ok(Self { pointer: pointer.to_owned(), value })
    }
}

/// A path of writes, without what stands for anything below it.
pub(super) fn path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches("/**").trim_end_matches('/');
    let is_plain = path.starts_with('/') && !path.contains(['"', '\\', '?', '#', ' ', '*']);
    is_plain.then(|| path.to_owned()).ok_or_else(|| format!("`{text}` is no path of writes: write /payments"))
}

/// How the service is asked; `none` if it cannot be.
pub(super) fn status(text: &str) -> Result<String, String> {
    let is_request = text.strip_prefix("GET ").is_some_and(|path| path.trim_start().starts_with('/'));
    let wrong = || format!("`{text}` is no question about a write: write 'GET /payments/by-ref/{{key}}', or none");
    (text == NONE || is_request && !text.contains(['"', '\\'])).then(|| text.to_owned()).ok_or_else(wrong)
}

const NONE: &str = "none";

/// Which port, from a terminal.
fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| format!("`{text}` is no port: write a number up to 65535, such as 8080"))
}

/// The paths of writes, with commas or spaces between them.
fn paths(text: &str) -> Result<Vec<String>, String> {
    let paths = text.split([',', ' ']).filter(|path| !path.is_empty()).map(path).collect::<Result<Vec<_>, _>>()?;
    if paths.is_empty() { Err("that names no path: write /payments".into()) } else { Ok(paths) }
}

/// What was given, and what is answered on the terminal; where there is none, what was not given has its default, if it has
/// one.
pub(super) fn ask(command: InitCommand) -> Result<Answers, String> {
    let InitCommand { port, service, write, status, success, .. } = command;
    let service = match service {
        Some(service) => service,
        None => asked("service", "Where is the service?", "http://127.0.0.1:9000", str::parse)?,
    };
    let port = match port {
        Some(port) => port,
        None => asked("", "On which port do clients come?", "8080", self::port)?,
    };
    let writes = if write.is_empty() {
        asked("write", "Which path has the writes that must not happen twice?", "/payments", paths)?
    } else {
        write
    };
    let question = "How is the service asked what became of one? (GET /payments/by-ref/{key})";
    let status_request = match status {
        Some(status) => status,
        None => asked("status", question, NONE, self::status)?,
    };
    let status = Some(status_request).filter(|status| status != NONE);
    let success = match success {
        Some(success) => Some(success),
        None if status.is_some() => {
            let read = |said: &str| if said.is_empty() { Ok(None) } else { said.parse().map(Some) };
            asked("", "What says that it was done? (/state=SUCCESS; nothing: any 200)", "", read)?
        }
        None => None,
    };
    Ok(Answers { port, service, writes, status, success })
}

/// What somebody answers on the terminal, who is asked again for as long as it makes no sense. Where there is none, the default;
/// what has an option has to be given there.
fn asked<T>(
    option: &str,
    question: &str,
    default: &str,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<T, String> {
    let is_terminal = io::stdin().is_terminal() && io::stderr().is_terminal();
    if !is_terminal {
        return if option.is_empty() {
            read(default)
        } else {
            Err(format!("nobody can be asked here: give --{option}"))
        };
    }
    let unreadable = |error: io::Error| format!("the terminal cannot be read: {error}");
    loop {
        let Some(said) = answer(question, default).map_err(unreadable)? else {
            return Err("there were no more answers: nothing was written".into());
        };
        match read(&said) {
            Ok(value) => return Ok(value),
            Err(why) => writeln!(io::stderr(), "{why}").map_err(unreadable)?,
        }
    }
}

/// A line from the terminal, or the default for an empty one; `None` if the input has ended.
fn answer(question: &str, default: &str) -> io::Result<Option<String>> {
    let shown = if default.is_empty() { String::new() } else { format!(" [{default}]") };
    let mut error = io::stderr().lock();
    write!(error, "{question}{shown} ")?;
    error.flush()?;
    let mut line = String::new();
    if io::stdin().read_line(&mut line)? == 0 {
        writeln!(error)?;
        return Ok(None);
    }
    let said = line.trim();
    Ok(Some(if said.is_empty() { default } else { said }.to_owned()))
}
