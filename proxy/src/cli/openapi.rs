//! `mainstay openapi`: what may be asked of a proxy, as a document for programs, and without a proxy.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::output::print;
use crate::{admin::views, control::pages};

/// Which of the documents.
#[derive(Args)]
#[command(after_help = "Examples:\n  mainstay openapi client > mainstay.json\n  mainstay openapi admin")]
pub struct OpenapiCommand {
    /// Whose it is
    #[arg(value_name = "WHOSE", value_enum)]
    whose: Whose,
}

#[derive(ValueEnum, Clone, Copy)]
enum Whose {
    /// Of those who send writes: what is served at /_mainstay.
    Client,
    /// Of operators: what the admin listener serves.
    Admin,
}

/// Prints the document: the one that a proxy of this build serves, but for the address of its own that it puts in.
pub fn openapi(command: &OpenapiCommand) -> ExitCode {
    let document = match command.whose {
        Whose::Client => pages::OPENAPI,
        Whose::Admin => views::OPENAPI,
    };
    print(document.trim_end())
}
