//! `configurable-http-proxy`: what JupyterHub starts as its proxy, in the place of the program of that name.

use std::process::ExitCode;

use clap::Parser;
use slipway::chp::Options;
use slipway::cli::{end, start_logging};
use slipway::parts::chp;
use slipway::shutdown;

/// The other program's exit code when a signal has ended it.
const SIGNALLED: u8 = 2;

#[tokio::main]
async fn main() -> ExitCode {
    match Options::try_parse() {
        Ok(options) => match run(options).await {
            Ok(()) => ExitCode::from(SIGNALLED),
            failed => end("configurable-http-proxy", failed),
        },
        Err(error) => {
            // Nobody is left to be told of a closed terminal.
            let _ = error.print();
            ExitCode::from(u8::from(error.use_stderr()))
        }
    }
}

async fn run(options: Options) -> anyhow::Result<()> {
    start_logging(false, options.log_filter());
    let stop = shutdown::on_signal()?;
    chp::run(options.plan()?, stop).await
}
