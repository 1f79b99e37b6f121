//! `mainstay completion` and `mainstay man`: what a shell completes and what `man` shows, from the declarations that parse the
//! command line.

use std::{fs, io, path::PathBuf, process::ExitCode};

use clap::{Args, Command};
use clap_complete::Shell;

use super::output::{fail, print};

/// For which shell.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  mainstay completion bash > /usr/share/bash-completion/completions/mainstay\n  mainstay completion fish"
)]
pub struct CompletionCommand {
    /// The shell
    shell: Shell,
}

/// Where manual pages go.
#[derive(Args)]
#[command(after_help = "Examples:\n  mainstay man\n  mainstay man /usr/local/share/man/man1")]
pub struct ManCommand {
    /// The directory, made if it is not there; without one, the first page is printed
    #[arg(value_name = "DIRECTORY")]
    directory: Option<PathBuf>,
}

/// Prints the script that teaches a shell the command line of `program`.
pub fn completion(command: &CompletionCommand, mut program: Command) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut program, "mainstay", &mut script);
    print(String::from_utf8_lossy(&script).trim_end())
}

/// Writes a manual page for each command of `program`, or prints the first.
pub fn man(command: &ManCommand, program: Command) -> ExitCode {
    let Some(directory) = &command.directory else {
        let mut page = Vec::new();
        return match clap_mangen::Man::new(program).render(&mut page) {
            Ok(()) => print(String::from_utf8_lossy(&page).trim_end()),
            Err(error) => fail(error),
        };
    };
    let written: io::Result<()> =
        fs::create_dir_all(directory).and_then(|()| clap_mangen::generate_to(program, directory));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format_args!("mainstay: {}: {error}", directory.display())),
    }
}
