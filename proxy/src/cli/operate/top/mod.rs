//! `mainstay top`: how it goes, again each second, on the whole terminal.

mod screen;

use std::{env, io, io::IsTerminal as _, pin::Pin, process::ExitCode, thread, time::Duration};

use clap::{Args, ValueEnum};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use jiff::Timestamp;
use ratatui::{buffer::Buffer, layout::Rect};
use serde_json::Value;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::sleep,
};

use self::screen::{Screen, draw};
use super::{
    ClientError, Output, Session, Target, end, json,
    ops::{ids, story::story},
    refused,
    text::cell,
};
use crate::cli::output::fail;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Operations of a kind that are shown.
const SHOWN: usize = 5;
/// Columns of a frame where nobody says how many.
const WIDTH: u16 = 120;
/// Lines that a single frame may have: it is as high as it must be.
const HEIGHT: u16 = 500;
/// Keys that may wait to be looked at.
const KEYS: usize = 32;

/// How it goes, again each second, on the whole terminal
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  mainstay top\n  mainstay top --once --sort p99")]
pub struct TopCommand {
    /// Print one frame and end, for scripts; its width is $COLUMNS, the terminal's, or 120
    #[arg(long)]
    once: bool,
    /// Which routes come first
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,
    #[command(flatten)]
    target: Target,
}

/// Which routes come first.
#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sort {
    /// As they are configured: the first that matches counts
    #[default]
    Order,
    /// Those with the most requests
    Rate,
    /// Those with the most failures
    Errors,
    /// The slowest
    P99,
    /// Those with the most writes that fell into doubt
    Doubt,
}

impl Sort {
    const fn next(self) -> Self {
        match self {
            Self::Order => Self::Rate,
            Self::Rate => Self::Errors,
            Self::Errors => Self::P99,
            Self::P99 => Self::Doubt,
            Self::Doubt => Self::Order,
        }
    }
}

/// What a look saw.
struct Seen {
    status: Value,
    routes: Vec<Value>,
    /// Operations that need a person, the oldest.
    needed: Vec<Value>,
    /// Others that are in doubt, the oldest.
    doubted: Vec<Value>,
}

impl Seen {
    async fn read(session: &Session) -> Result<Self, ClientError> {
        let client = &session.client;
        let status = client.get("/status").await?.document;
        let mut routes = client.get("/routes").await?.document;
        let of = async |filter: &str| -> Result<Vec<Value>, ClientError> {
            let target = format!("/operations?{filter}&limit={}", 2 * SHOWN);
            Ok(items_of(client.get(&target).await?.document, "operations"))
        };
        let mut needed = of("attention=true").await?;
        let mut doubted = of("state=unknown").await?;
        doubted.retain(|operation| operation["attention"].is_null());
        needed.truncate(SHOWN);
        doubted.truncate(SHOWN);
        Ok(Self { status, routes: items_of(routes.take(), "routes"), needed, doubted })
    }

    /// The operations, as they can be chosen.
    fn operations(&self) -> impl Iterator<Item = &Value> {
        self.needed.iter().chain(&self.doubted)
    }
}

fn items_of(mut document: Value, member: &str) -> Vec<Value> {
    match document[member].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    }
}

/// Carries out `mainstay top`.
pub async fn top(command: TopCommand) -> ExitCode {
    let session = match command.target.session() {
        Ok(session) => session,
        Err(error) => return refused(&error),
    };
    if command.once {
        return end(once(&session, command.sort).await);
    }
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return refused(&ClientError::Usage("this is no terminal: --once prints one frame".into()));
    }
    match Seen::read(&session).await {
        Ok(seen) => run(&session, Screen::new(seen, command.sort, session.style.clone())).await,
        Err(error) => refused(&error),
    }
}

/// One frame, as text.
async fn once(session: &Session, sort: Sort) -> Result<String, ClientError> {
    let seen = Seen::read(session).await?;
    if session.output == Output::Json {
        let Seen { status, routes, needed, doubted } = seen;
        return Ok(json(
            &serde_json::json!({ "status": status, "routes": routes, "needs_a_person": needed, "in_doubt": doubted }),
        ));
    }
    let columns = env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    let width =
        columns.or_else(|| crossterm::terminal::size().ok().map(|(width, _)| width)).unwrap_or(WIDTH).clamp(20, 500);
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, HEIGHT));
    let screen = Screen::new(seen, sort, session.style.clone());
    draw(&screen.without_choice(), &mut buffer, Timestamp::now());
    let footer = session.footer().await;
    Ok(format!("{}\n{footer}", text_of(&buffer)))
}

/// What a frame shows, without what is empty at its end.
fn text_of(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width).max(1);
    let lines = buffer.content.chunks(width).map(|line| {
        let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// Draws until somebody ends it. The terminal is as it was afterwards, also after a panic or a signal.
async fn run(session: &Session, mut screen: Screen) -> ExitCode {
    let signals = || Ok::<_, io::Error>((signal(SignalKind::terminate())?, signal(SignalKind::hangup())?));
    let (mut terminate, mut hangup) = match signals() {
        Ok(signals) => signals,
        Err(error) => return fail(format_args!("mainstay: {error}")),
    };
    // From here on the terminal is not itself; a panic has it restored before its message is written.
    let mut terminal = match ratatui::try_init() {
        Ok(terminal) => terminal,
        Err(error) => return fail(format_args!("mainstay: the terminal cannot be drawn on: {error}")),
    };
    let mut events = listen();
    let mut reading: Pin<Box<dyn Future<Output = Result<Seen, ClientError>> + '_>> = Box::pin(later(session));
    let ended = loop {
        // Clearing asks the terminal where its cursor is, which the thread that reads keys would hear.
        let cleared = if screen.was_turned() { terminal.draw(|_| ()).map(drop) } else { Ok(()) };
        let drawn =
            cleared.and_then(|()| terminal.draw(|frame| draw(&screen, frame.buffer_mut(), Timestamp::now())).map(drop));
        if let Err(error) = drawn {
            break Err(error.to_string());
        }
        tokio::select! {
            seen = &mut reading => {
                screen.take(seen);
                reading = Box::pin(later(session));
            }
            event = events.recv() => match event {
                Some(Event::Key(key)) if key.kind != KeyEventKind::Release => {
                    if is_end(key) {
                        break Ok(());
                    }
                    press(session, &mut screen, key.code).await;
                }
                // The next frame has the new size.
                Some(_) => {}
                None => break Err("the terminal can no longer be read".into()),
            },
            _ = terminate.recv() => break Ok(()),
            _ = hangup.recv() => break Ok(()),
        }
    };
    ratatui::restore();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(format_args!("mainstay: {why}")),
    }
}

async fn later(session: &Session) -> Result<Seen, ClientError> {
    sleep(EVERY).await;
    Seen::read(session).await
}

/// Keys and changes of size. The thread ends with the program: nothing else can wake it.
fn listen() -> mpsc::Receiver<Event> {
    let (sender, events) = mpsc::channel(KEYS);
    let read = move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    };
    // Without a thread nothing is received, and the caller says so.
    drop(thread::Builder::new().name("keys".into()).spawn(read));
    events
}

fn is_end(key: KeyEvent) -> bool {
    let is_control_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    is_control_c || key.code == KeyCode::Char('q')
}

async fn press(session: &Session, screen: &mut Screen, key: KeyCode) {
    match key {
        KeyCode::Esc => screen.close(),
        KeyCode::Char('?') => screen.toggle_help(),
        KeyCode::Char('s') => screen.sort = screen.sort.next(),
        KeyCode::Char('p') => screen.toggle_pause(),
        KeyCode::Up | KeyCode::Char('k') => screen.choose(-1),
        KeyCode::Down | KeyCode::Char('j') => screen.choose(1),
        KeyCode::Enter => {
            let Some(id) = screen.chosen().map(|operation| cell(&operation["id"])) else { return };
            let told = match session.client.get(&format!("/operations/{id}")).await {
                Ok(answer) => story(&answer.document, &[], Timestamp::now(), &session.style.plainly()),
                Err(error) => format!("{}: {error}", ids::short(&id)),
            };
            screen.open(told);
        }
        _ => {}
    }
}
