//! The `mainstay` program: arguments, runtime, exit codes.

use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use mainstay::{
    app::{App, ConfigFile, Foundation, StartError, findings},
    cli,
    config::{
        self, Loaded,
        watch::{Watcher, orders},
    },
    demo::{self, DemoOptions},
    telemetry::{logs, metrics::Metrics},
};
use mainstay_policies::clock::WallClock;
use tokio::signal::unix::{SignalKind, signal};

/// musl's own allocator is slow under threads. On glibc mimalloc saved no CPU (within noise) and cost 8 MiB of idle memory.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What `--version` says; nobody shall take a build that can be broken on purpose for a release.
#[cfg(not(feature = "faults"))]
const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("MAINSTAY_BUILD"), ")");
#[cfg(feature = "faults")]
const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (",
    env!("MAINSTAY_BUILD"),
    ") WITH FAULTS: for tests only, never for real traffic"
);

/// A resilience sidecar proxy that never leaves a write in doubt.
#[derive(Parser)]
#[command(version = VERSION, after_help = AFTER_HELP)]
struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    #[command(subcommand)]
    command: Option<Command>,
}

impl Arguments {
    /// Whether who was given a configuration reads one: whoever asks a running proxy would ask another one than meant.
    fn config_is_read(&self) -> Result<(), clap::Error> {
        let reads = matches!(self.command, None | Some(Command::Run(_) | Command::Check(_) | Command::Config(_)));
        if self.run.config.is_none() || reads {
            return Ok(());
        }
        let words = "-c FILE is for run, check and config; this command reads no configuration. Whoever asks a running proxy says \
                     which with --admin URL (or MAINSTAY_ADMIN), `probe` with --probes URL (or MAINSTAY_PROBES)";
        Err(Self::command().error(clap::error::ErrorKind::ArgumentConflict, words))
    }
}

#[derive(Args, Clone)]
#[command(after_help = "Examples:\n  mainstay run\n  mainstay run -c /etc/mainstay")]
struct RunArguments {
    /// The configuration: a YAML file, or a directory of them. Default: mainstay.yaml, if it is there
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Command {
    /// Serve (the same as no command)
    Run(RunArguments),
    /// Ask what stands before what, look whether it is there, and write a first configuration
    Init(cli::InitCommand),
    /// Validate a configuration; print worst cases per route, and warn about what cannot work
    Check(cli::CheckCommand),
    /// Show the effective configuration, what differs between two, and what may be written
    #[command(subcommand)]
    Config(cli::ConfigCommand),
    /// Say what a finding or a problem means, and what to do about it
    Explain(cli::ExplainCommand),
    /// How it goes, on one screen: exit code 0 if all is well, 1 if something needs somebody
    Status(cli::StatusCommand),
    /// The same again each second on the whole terminal, with the routes and the writes that are open
    #[cfg(feature = "top")]
    Top(cli::TopCommand),
    /// Look at operations, and settle what the machine could not
    Ops(Box<cli::OpsCommand>),
    /// Look at circuit breakers, and hold them open, closed or disabled
    Breakers(cli::BreakersCommand),
    /// List what is served, and how the last minute of it went
    Routes(cli::RoutesCommand),
    /// List where calls go, and how many are on their way there
    Upstreams(cli::UpstreamsCommand),
    /// List rate and concurrency limits, and how much of them is used
    Limits(cli::LimitsCommand),
    /// Say how much is logged, or have more or less of it
    LogLevel(cli::LogLevelCommand),
    /// Read the configuration again, and take it if it is valid
    Reload(cli::ReloadCommand),
    /// Show who did what, the latest first
    Audit(cli::AuditCommand),
    /// Turn traffic away: readiness fails and clients are told to go elsewhere, while what comes is served; a preStop hook
    Drain(cli::DrainCommand),
    /// Ask whether a proxy is alive, or ready for traffic: exit code 0 or 1
    Probe(cli::ProbeCommand),
    /// Look into a ledger, copy it, put a copy in place: check, stats, backup, restore and more
    #[command(subcommand)]
    Ledger(cli::LedgerCommand),
    /// Print what may be asked of a proxy, for programs: by clients, or by operators
    Openapi(cli::OpenapiCommand),
    /// Print what a shell needs to complete this command line: mainstay completion bash
    Completion(cli::CompletionCommand),
    /// Write the manual pages
    Man(cli::ManCommand),
    /// Say which build this is: version, commit, profile, target
    Version(cli::VersionCommand),
    /// Tell the story of one timed-out write, from 504 to its settled outcome, on this machine
    Demo(DemoOptions),
}

/// What stands beneath the help of the program: what each command ends with, and how one begins.
const AFTER_HELP: &str = "\
Exit codes:
  0  well, ended
  1  no, or refused: a configuration, a check, an act
  2  mistyped, or cannot start
  3  nobody answers
  4  the ledger died
  5  done, but some writes are left in doubt

Examples:
  mainstay -c mainstay.yaml
  mainstay status --watch";
/// Well, ended.
const OK: u8 = 0;
/// The configuration is not valid, or the command line is not.
const EXIT_INVALID: u8 = 1;
/// The program could not start, or not go on.
const EXIT_FAILED: u8 = 2;
/// The ledger died: only a restart opens it again.
const EXIT_LEDGER: u8 = 4;
/// How long the last lines of the log may take when nobody wants to wait.
const LAST_LINES: Duration = Duration::from_millis(200);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Err(error) = arguments.config_is_read() {
        error.exit();
    }
    mainstay::wire::tls::install_provider();
    match arguments.command {
        None => run(arguments.run),
        Some(Command::Run(RunArguments { config })) => run(RunArguments { config: config.or(arguments.run.config) }),
        Some(Command::Init(command)) => cli::init(command),
        Some(Command::Openapi(command)) => cli::openapi(&command),
        Some(Command::Completion(command)) => cli::completion(&command),
        Some(Command::Man(command)) => cli::man(&command),
        Some(Command::Version(command)) => cli::version(&command, VERSION),
        Some(Command::Check(command)) => cli::check(&command, arguments.run.config),
        Some(Command::Config(command)) => on_runtime(cli::config(command, arguments.run.config)),
        Some(Command::Explain(command)) => cli::explain(&command),
        Some(Command::Status(command)) => on_runtime(cli::status(command)),
        #[cfg(feature = "top")]
        Some(Command::Top(command)) => on_runtime(cli::top(command)),
        Some(Command::Routes(command)) => on_runtime(cli::routes(command)),
        Some(Command::Upstreams(command)) => on_runtime(cli::upstreams(command)),
        Some(Command::Limits(command)) => on_runtime(cli::limits(command)),
        Some(Command::LogLevel(command)) => on_runtime(cli::log_level(command)),
        Some(Command::Reload(command)) => on_runtime(cli::reload(command)),
        Some(Command::Ops(command)) => on_runtime(cli::ops(*command)),
        Some(Command::Breakers(command)) => on_runtime(cli::breakers(command)),
        Some(Command::Audit(command)) => on_runtime(cli::audit(command)),
        Some(Command::Drain(command)) => on_runtime(cli::drain(command)),
        Some(Command::Probe(command)) => on_runtime(cli::probe(command)),
        Some(Command::Ledger(command)) => cli::ledger(command),
        Some(Command::Demo(options)) => on_runtime(tell(options)),
    }
}

fn run(arguments: RunArguments) -> ExitCode {
    let Some(path) = cli::configuration(arguments.config) else {
        eprintln!("{}", cli::NO_CONFIGURATION);
        return ExitCode::from(EXIT_INVALID);
    };
    let loaded = match config::load(&path) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprintln!("{errors}");
            return ExitCode::from(EXIT_INVALID);
        }
    };
    on_runtime(async {
        match serve(path, loaded).await {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                eprintln!("mainstay: {error}");
                let is_refusal = error.downcast_ref().is_some_and(StartError::is_refusal);
                ExitCode::from(if is_refusal { EXIT_INVALID } else { EXIT_FAILED })
            }
        }
    })
}

/// Runs on the main thread's runtime: signals, probes, housekeeping. Traffic has threads of its own.
fn on_runtime(work: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => {
            eprintln!("mainstay: cannot start: {error}");
            ExitCode::from(EXIT_FAILED)
        }
    }
}

/// What a running proxy is made of, with its logs set up.
fn foundation(loaded: &Loaded) -> Result<Foundation, logs::LogError> {
    let clock = WallClock::system();
    let metrics = Arc::new(Metrics::new(&clock));
    let logging = logs::init(&loaded.config.telemetry.logs, clock.clone(), metrics.log_lines_dropped())?;
    Ok(Foundation { clock, metrics, logging: Arc::new(logging), file: None })
}

/// The demo, with this program's own proxy in it.
async fn tell(options: DemoOptions) -> ExitCode {
    let start = async |yaml: String| {
        let loaded = config::parse("demo.yaml", &yaml).map_err(|errors| errors.to_string())?;
        let foundation = foundation(&loaded).map_err(|error| error.to_string())?;
        App::start(loaded.config, foundation).await.map_err(|error| error.to_string())
    };
    demo::run(options, start, App::shutdown).await
}

/// Serves until a signal says to end, or the ledger is dead; the exit code.
async fn serve(path: PathBuf, loaded: Loaded) -> Result<u8, Box<dyn std::error::Error>> {
    let mut foundation = foundation(&loaded)?;
    #[cfg(feature = "faults")]
    mainstay::faults::arm()?;
    findings::tell(&foundation.metrics, &loaded.findings);
    let (config, digest) = (loaded.config.clone(), loaded.origin.digest);
    let (orders, ordered) = orders();
    let findings = loaded.findings.clone();
    foundation.file = Some(ConfigFile { path: path.clone(), digest, findings, orders: orders.clone() });
    // What was written is kept no longer than it is needed for the places of findings.
    drop(loaded);
    let app = App::start(config, foundation).await?;
    app.announce(&path);
    let (watcher, mut reloads) = Watcher::start(path.clone(), digest, (orders, ordered));
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let code = loop {
        tokio::select! {
            _ = terminate.recv() => break OK,
            _ = interrupt.recv() => break OK,
            () = app.ledger_dies() => {
                tracing::error!("the ledger is dead, and only a restart opens it again: the process drains and ends");
                break EXIT_LEDGER;
            }
            _ = hangup.recv() => watcher.reload(),
            Some(reading) = reloads.recv() => app.reread(&path, reading).await,
        }
    };
    watcher.stop().await;
    let logging = app.logging();
    tokio::select! {
        () = app.shutdown() => {}
        // kill -9 is safe at any moment, so this is, too.
        _ = terminate.recv() => end_at_once(&logging, code),
        _ = interrupt.recv() => end_at_once(&logging, code),
    }
    Ok(code)
}

/// A second signal: whoever sends it does not want to wait.
fn end_at_once(logging: &logs::Logging, code: u8) -> ! {
    tracing::warn!("a second signal: this process ends at once, and what is in flight is in doubt");
    logging.flush(LAST_LINES);
    std::process::exit(i32::from(code))
}

// The files of a build without `top` would be others.
#[cfg(all(test, feature = "top"))]
mod papers_tests;

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Each command with the words that lead to it.
    fn commands(command: &clap::Command, words: &str, found: &mut Vec<(String, clap::Command)>) {
        found.push((words.to_owned(), command.clone()));
        for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
            commands(below, &format!("{words} {}", below.get_name()), found);
        }
    }

    /// The words of a line as a shell would pass them on, without what it keeps for itself.
    fn words(line: &str) -> Vec<String> {
        let line = line.split(" | ").find(|part| part.trim_start().starts_with("mainstay")).unwrap_or(line);
        let line = line.split(" > ").next().unwrap_or(line);
        let quoted = line.split('\'').enumerate();
        quoted
            .flat_map(|(at, part)| match at % 2 {
                0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
                _ => vec![part.to_owned()],
            })
            .collect()
    }

    #[test]
    fn each_command_shows_two_examples_that_are_right() {
        let mut all = Vec::new();
        commands(&Arguments::command(), "mainstay", &mut all);
        assert!(all.len() > 35, "{}", all.len());
        for (name, mut command) in all {
            let help = command.render_help().to_string();
            let examples: Vec<&str> = help.split("Examples:\n").nth(1).unwrap_or_default().lines().collect();
            assert!(examples.len() >= 2, "{name} has {} examples:\n{help}", examples.len());
            for line in examples {
                let typed = words(line);
                // Those of a command that has others beneath it are of these.
                assert!(typed.join(" ").starts_with(&name), "{name}: {line}");
                if let Err(error) = Arguments::try_parse_from(&typed) {
                    panic!("{name}: {line}: {error}");
                }
            }
        }
    }

    #[test]
    fn own_options_stand_before_those_that_all_commands_have() {
        let mut all = Vec::new();
        commands(&Arguments::command(), "mainstay", &mut all);
        for (name, _) in all.iter().filter(|(name, _)| name.starts_with("mainstay ops")) {
            // Global options reach a command only as it is parsed.
            let mut typed: Vec<&str> = name.split(' ').collect();
            typed.push("--help");
            let help = Arguments::try_parse_from(typed).err().map(|help| help.to_string()).unwrap_or_default();
            let (own, common) = help.split_once("Common options:").unwrap_or_else(|| panic!("{name}: {help}"));
            assert!(
                own.contains("\nOptions:") && !own.contains("--admin") && common.contains("--admin"),
                "{name}: {help}"
            );
        }
    }
}
