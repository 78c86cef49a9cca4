//! `slipway`: everything on one machine, and every command of an operator.

use std::process::ExitCode;

use clap::Parser;
use slipway::cli::{Cli, end};

#[tokio::main]
async fn main() -> ExitCode {
    end("slipway", Cli::parse().run().await)
}
