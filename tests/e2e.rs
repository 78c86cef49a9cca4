//! The real binaries, with real Postgres, Jupyter, Dask and a headless Chromium: what a student and an
//! operator see, from an empty data folder to nothing left running.
//!
//! Needs PostgreSQL's server programs, `chromium` and `chromedriver` (Debian: chromium-driver).
//! `SLIPWAY_TEST_STACK` names a Python environment to use; without it one is made, which takes minutes once.
//! Each test takes its turn, since every installation has a dozen processes: `cargo test --test e2e` is
//! enough, whatever `--test-threads` says. Logs and screenshots are left in `target/e2e`.
#![allow(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "tests read their configuration and tell how long things took"
)]

#[path = "e2e/browser.rs"]
mod browser;
#[path = "e2e/click.rs"]
mod click;
#[path = "e2e/commands.rs"]
mod commands;
#[path = "e2e/culling.rs"]
mod culling;
#[path = "e2e/http.rs"]
mod http;
#[path = "e2e/installation.rs"]
mod installation;
#[path = "local_runtime/kernel.rs"]
mod kernel;
#[path = "e2e/links.rs"]
mod links;
#[path = "e2e/log.rs"]
mod log;
#[path = "e2e/once.rs"]
mod once;
#[path = "e2e/parts.rs"]
mod parts;
#[path = "e2e/pool.rs"]
mod pool;
#[path = "e2e/processes.rs"]
mod processes;
#[path = "e2e/restart.rs"]
mod restart;
#[path = "e2e/shares.rs"]
mod shares;
#[path = "e2e/student.rs"]
mod student;
