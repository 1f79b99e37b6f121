//! `mainstay completion` and `mainstay man`: what a shell completes and what `man` shows. Both are files of `deploy/`, which a test
//! makes from the declarations that parse the command line, so that the program has no need of what makes them.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};

use super::output::{fail, print};

/// The file of each page and what it says; the first is the program's.
const PAGES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// For which shell.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  mainstay completion bash > /usr/share/bash-completion/completions/mainstay\n  mainstay completion fish"
)]
pub struct CompletionCommand {
    /// The shell
    shell: Shell,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

/// Where manual pages go.
#[derive(Args)]
#[command(after_help = "Examples:\n  mainstay man\n  mainstay man /usr/local/share/man/man1")]
pub struct ManCommand {
    /// The directory, made if it is not there; without one, the first page is printed
    #[arg(value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

/// Prints the script that teaches a shell the command line.
pub fn completion(command: &CompletionCommand) -> ExitCode {
    let script = match command.shell {
        Shell::Bash => include_str!("../../../deploy/completions/mainstay.bash"),
        Shell::Zsh => include_str!("../../../deploy/completions/_mainstay"),
        Shell::Fish => include_str!("../../../deploy/completions/mainstay.fish"),
        Shell::Powershell => include_str!("../../../deploy/completions/_mainstay.ps1"),
    };
    print(script.trim_end())
}

/// Writes a manual page for each command, or prints the first.
pub fn man(command: &ManCommand) -> ExitCode {
    let Some(directory) = &command.directory else {
        return print(PAGES.first().map_or("", |(_, page)| page.trim_end()));
    };
    match write(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format_args!("mainstay: {}: {error}", directory.display())),
    }
}

fn write(directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    PAGES.iter().try_for_each(|(name, page)| fs::write(directory.join(name), page))
}
