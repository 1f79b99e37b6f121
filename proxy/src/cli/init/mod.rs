//! `mainstay init`: asks what stands in front of what, looks whether it is there, and writes a first configuration with a reason
//! at each number.

mod answers;

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use self::answers::{Answers, Service, Success, ask};
use super::{
    check,
    output::{fail, print},
};
use crate::config;

const EXAMPLES: &str = "Examples:
  mainstay init
  mainstay init --port 8080 --service http://127.0.0.1:9000 --write /payments --status 'GET /payments/by-ref/{key}'";

/// What was given that is no address, path or pointer, or was not given where nobody can be asked.
const MISTYPED: u8 = 2;

/// What is known already; the rest is asked for.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct InitCommand {
    /// The port on which clients come
    #[arg(long)]
    port: Option<u16>,
    /// The service behind: `http://127.0.0.1:9000`
    #[arg(long, value_name = "URL")]
    service: Option<Service>,
    /// The path of writes that must not happen twice, with all below it: /payments. May be given several times
    #[arg(long, value_name = "PATH", value_parser = answers::path)]
    write: Vec<String>,
    /// How the service is asked what became of a write: 'GET /payments/by-ref/{key}'; `none` if it cannot be
    #[arg(long, value_name = "REQUEST", value_parser = answers::status)]
    status: Option<String>,
    /// What the answer says of a write that was done: '/state=SUCCESS', a JSON Pointer and a value. Without it, any 200
    #[arg(long, value_name = "POINTER=VALUE")]
    success: Option<Success>,
    /// Where the configuration is written
    #[arg(short, long, value_name = "FILE", default_value = "mainstay.yaml")]
    output: PathBuf,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
    /// Do not look whether the service is there
    #[arg(long)]
    offline: bool,
}

/// Writes a first configuration, and says what it found and what comes next.
pub fn init(command: InitCommand) -> ExitCode {
    let InitCommand { output, force, offline, .. } = &command;
    let (output, force, offline) = (output.clone(), *force, *offline);
    if output.exists() && !force {
        return fail(format_args!(
            "mainstay: {} is there already, and was not touched: name another with --output, or write over it with --force",
            output.display()
        ));
    }
    let answers = match ask(command) {
        Ok(answers) => answers,
        Err(why) => {
            let _ = fail(format_args!("mainstay: {why}"));
            return ExitCode::from(MISTYPED);
        }
    };
    let text = written(&answers);
    let loaded = match config::parse(&output.display().to_string(), &text) {
        Ok(loaded) => loaded,
        Err(errors) => {
            return fail(format_args!("{errors}\n\nnothing was written: what was answered makes no sense together"));
        }
    };
    if let Err(error) = write(&output, &text, force) {
        return fail(format_args!("mainstay: {}: {error}", output.display()));
    }
    let mut said = check::describe(&output.display().to_string(), &loaded);
    if !offline {
        for look in check::looks(&loaded.config).unwrap_or_default() {
            let _ = write!(said, "\n{look}");
        }
        said.push('\n');
    }
    print(format_args!("{said}\n{}", next(&answers, &output)))
}

fn write(path: &Path, text: &str, force: bool) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    // Not over what somebody else made meanwhile.
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    options.write(true).open(path)?.write_all(text.as_bytes())
}

/// The two commands that come next.
fn next(answers: &Answers, output: &Path) -> String {
    let named = if output == Path::new("mainstay.yaml") { String::new() } else { format!(" -c {}", output.display()) };
    let path = answers.writes.first().map_or("/", String::as_str);
    format!(
        "Start it:  mainstay{named}\n\
         Try it:    curl -i -H 'Idempotency-Key: first-1' -H 'Content-Type: application/json' -d '{{}}' http://127.0.0.1:{}{path}",
        answers.port
    )
}

/// How the service is asked, if it can be.
fn asking(status: Option<&str>, success: Option<&Success>) -> String {
    let success = success.map_or_else(
        || "          - { status: 200, then: succeeded }\n".to_owned(),
        |Success { pointer, value }| {
            format!(
                "          - {{ status: 200, json: {{ \"{pointer}\": {value} }}, then: succeeded }}\n          \
                 # What else it may say: add a rule with `then: failed`, and one with `then: ongoing`.\n"
            )
        },
    );
    status.map_or_else(
        || {
            "      # A write whose answer is lost waits for a person, as the service cannot be asked. docs/your-service.md says what it \
             would\n      # take.\n      status: none\n"
                .to_owned()
        },
        |request| {
            format!(
                "      # How the service is asked what became of a write whose answer was lost. `{{key}}` is what the client sent as\n      \
                 # Idempotency-Key, and the service must have stored that; if it keeps a reference of its own, see \
                 docs/your-service.md.\n      status:\n        \
                 request: \"{request}\"\n        rules:\n{success}          \
                 - {{ status: 404, then: not_found }}\n        \
                 # \"Not found\" proves nothing while the original may still be on its way: longer than every queue between here and\n        \
                 # the service's database.\n        settle_after: 2m\n"
            )
        },
    )
}

/// The configuration: `policies/presets/payment-write.yaml` with what was answered.
fn written(answers: &Answers) -> String {
    let Answers { port, service, writes, status, success } = answers;
    let routes = writes.iter().fold(String::new(), |mut routes, path| {
        let matches = format_args!("path: \"{path}/**\", methods: [POST, PUT, PATCH, DELETE]");
        let _ = writeln!(routes, "  - {{ match: {{ {matches} }}, upstream: app, policy: write }}");
        routes
    });
    let status = asking(status.as_deref(), success.as_ref());
    format!(
        "\
# Written by `mainstay init`. Each key: `mainstay config reference`; a finding: `mainstay explain CODE`.
listeners:
  # Who calls, if something in front says so: principal: {{ header: X-User }}
  inbound: {{ address: \"0.0.0.0:{port}\" }}

upstreams:
  app: {{ endpoints: [\"{service}\"] }}

# The first that matches counts.
routes:
{routes}  - {{ match: {{ path: \"/**\", methods: [GET, HEAD] }}, upstream: app, policy: read }}
  - {{ match: {{ path: \"/**\" }}, upstream: app, policy: rest }}

policies:
  write:
    # The attempt lasts longer than the service's own p99.9, so that few writes fall into doubt; the total is below the patience
    # of whoever waits.
    timeout: {{ total: 10s, attempt: 8s }}
    idempotency:
      # A write without a key cannot be made safe; refuse it early, while it is cheap to fix.
      required: true
      # PUT and DELETE are here, too: repeated by hand they are harmless, out of order they are not.
      methods: [POST, PUT, PATCH, DELETE]
      # A double click meets the first one's answer instead of an error.
      on_concurrent: {{ wait: 2s }}
{status}  read:
    # Two attempts and their short wait fit into the total.
    timeout: {{ total: 4s, attempt: 1s }}
    retry: 1
  rest:
    # These writes need no protection; say so, or name their path above. What may have arrived is not sent again.
    timeout: 10s
    idempotency: off

# A directory where Mainstay is started; in a container leave this out, and put a volume at /var/lib/mainstay.
ledger: {{ path: mainstay-ledger }}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_answered_makes_a_valid_configuration_without_doubts() {
        let service: Service = "http://127.0.0.1:9000".parse().unwrap();
        for status in [None, Some("GET /payments/by-ref/{key}".to_owned())] {
            for success in [None, Some("/state=SUCCESS".parse().unwrap()), Some("/n=1".parse().unwrap())] {
                let writes = vec!["/payments".to_owned(), "/orders".to_owned()];
                let answers = Answers { port: 8080, service: service.clone(), writes, status: status.clone(), success };
                let text = written(&answers);
                let loaded = config::parse("mainstay.yaml", &text).unwrap_or_else(|errors| panic!("{errors}\n{text}"));
                let doubts = loaded.findings.iter().filter(|found| found.severity == config::Severity::Warning);
                assert_eq!(doubts.map(|found| found.code).collect::<Vec<_>>(), [""; 0], "{text}");
            }
        }
    }
}
