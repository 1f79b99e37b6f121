//! How things look on a terminal: what needs somebody is in colour, and nothing else; and in whose time moments are told.

use std::io::{self, IsTerminal as _};

use clap::{Args, ValueEnum};
use jiff::{Timestamp, tz::TimeZone};

use super::COMMON;

/// Bold and red, and back.
const ALARM: (&str, &str) = ("\u{1b}[1;31m", "\u{1b}[0m");

/// What was asked for.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Look {
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "WHEN",
        default_value_t,
        help_heading = COMMON,
        help = "Colour, for what needs somebody; auto: on a terminal unless $NO_COLOR is set, elsewhere if $CLICOLOR_FORCE is"
    )]
    color: Color,
    /// Moments in UTC, which they are in anyway
    #[arg(long, global = true, conflicts_with = "local", help_heading = COMMON)]
    utc: bool,
    /// Moments in the time of this machine
    #[arg(long, global = true, help_heading = COMMON)]
    local: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Color {
    /// As the terminal and the environment say.
    #[default]
    Auto,
    /// Also into files and pipes.
    Always,
    /// Never.
    Never,
}

/// How things look.
#[derive(Clone, Debug)]
pub(super) struct Style {
    is_coloured: bool,
    zone: TimeZone,
}

impl Style {
    /// As asked for, on this standard output.
    pub(super) fn of(look: Look) -> Self {
        let is_set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_forced = std::env::var("CLICOLOR_FORCE").is_ok_and(|value| !value.is_empty() && value != "0");
        let is_coloured = is_coloured(look.color, is_set("NO_COLOR"), is_forced, io::stdout().is_terminal());
        Self { is_coloured, zone: if look.local { TimeZone::system() } else { TimeZone::UTC } }
    }

    /// Without colours, in UTC.
    #[cfg(test)]
    pub(super) const fn plain() -> Self {
        Self { is_coloured: false, zone: TimeZone::UTC }
    }

    /// The same without colours.
    #[cfg(feature = "top")]
    pub(super) fn plainly(&self) -> Self {
        Self { is_coloured: false, zone: self.zone.clone() }
    }

    #[cfg(feature = "top")]
    pub(super) const fn is_coloured(&self) -> bool {
        self.is_coloured
    }

    /// What needs somebody.
    pub(super) fn alarm(&self, text: &str) -> String {
        if self.is_coloured { format!("{}{text}{}", ALARM.0, ALARM.1) } else { text.to_owned() }
    }

    /// The text, as an alarm if it is one.
    pub(super) fn alarm_if(&self, is_alarm: bool, text: &str) -> String {
        if is_alarm { self.alarm(text) } else { text.to_owned() }
    }

    /// The time of the day with its zone: `14:03:22 UTC`.
    pub(super) fn clock(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%H:%M:%S %Z").to_string()
    }

    /// The time of the day, with its date where that is not the day of `now`.
    pub(super) fn brief(&self, at: Timestamp, now: Timestamp) -> String {
        let format = if self.day(at) == self.day(now) { "%H:%M:%S" } else { "%m-%d %H:%M:%S" };
        at.to_zoned(self.zone.clone()).strftime(format).to_string()
    }

    /// The time of the day, with milliseconds.
    pub(super) fn time_of_day(&self, at: Timestamp) -> String {
        at.to_zoned(self.zone.clone()).strftime("%H:%M:%S%.3f").to_string()
    }

    /// RFC 3339 with exactly three decimals.
    pub(super) fn moment(&self, at: Timestamp) -> String {
        let zoned = at.to_zoned(self.zone.clone());
        let offset = if self.zone == TimeZone::UTC { "Z".to_owned() } else { zoned.strftime("%:z").to_string() };
        format!("{}{offset}", zoned.strftime("%Y-%m-%dT%H:%M:%S%.3f"))
    }

    /// The day that it is then.
    pub(super) fn day(&self, at: Timestamp) -> jiff::civil::Date {
        at.to_zoned(self.zone.clone()).date()
    }
}

/// <https://no-color.org> and <https://bixense.com/clicolors>: whoever says it on the command line is right.
const fn is_coloured(asked: Color, is_refused: bool, is_forced: bool, is_terminal: bool) -> bool {
    match asked {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => !is_refused && (is_forced || is_terminal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_for_terminals_unless_somebody_says_otherwise() {
        for (asked, refused, forced, terminal, expected) in [
            (Color::Auto, false, false, true, true),
            (Color::Auto, false, false, false, false),
            (Color::Auto, true, true, true, false),
            (Color::Auto, false, true, false, true),
            (Color::Always, true, false, false, true),
            (Color::Never, false, true, true, false),
        ] {
            assert_eq!(
                is_coloured(asked, refused, forced, terminal),
                expected,
                "{asked:?} {refused} {forced} {terminal}"
            );
        }
    }

    #[test]
    fn moments_have_three_decimals_and_their_offset() {
        let (utc, east) = (Style::plain(), Style { is_coloured: true, zone: TimeZone::fixed(jiff::tz::offset(5)) });
        let at: Timestamp = "2026-11-24T22:48:00Z".parse().unwrap();
        assert_eq!((utc.moment(at).as_str(), utc.clock(at).as_str()), ("2026-11-24T22:48:00.000Z", "22:48:00 UTC"));
        assert_eq!(east.moment(at), "2026-11-25T03:48:00.000+05:00");
        assert_eq!((east.time_of_day(at).as_str(), east.day(at).day()), ("03:48:00.000", 25));
        assert_eq!((utc.alarm("X").as_str(), east.alarm("X").as_str()), ("X", "\u{1b}[1;31mX\u{1b}[0m"));
    }
}
