//! `slipway`: everything on one machine, and every command of an operator.
#![expect(clippy::print_stderr, reason = "the one line that tells why")]

use std::process::ExitCode;

use clap::Parser;
use slipway::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slipway: {error:#}");
            ExitCode::FAILURE
        }
    }
}
