//! The command line.

mod archive;
mod clusters;
mod connect;
mod diff;
mod explain;
mod front;
mod kubernetes;
mod log;
mod operate;
mod options;
mod out;
mod parked;
mod partitions;
mod people;
mod pool_file;
mod pools;
pub mod profile_file;
mod profiles;
mod progress;
mod proxy;
mod restore;
mod shares;
mod table;
mod text;
mod tokens;
mod up;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::runtime::local::stack;
use out::tell;

pub use front::FrontArgs;
pub use kubernetes::KubernetesOptions;
pub use options::{
    ApiOptions, DatabaseOptions, KeyOptions, OfferOptions, ProfileOptions, WorkerArgs, start_logging,
};
pub use profiles::ProfilesOptions;
pub use proxy::ProxyArgs;

/// Push a button, get a cluster: Jupyter and Dask for a whole class, event-sourced on Postgres.
///
/// `slipway up` runs everything on this machine. The other commands look at and change the same
/// installation through its database, also while it is stopped.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    after_help = "Exit codes: 0 done, 1 failed, 2 not understood, 141 nobody reads on."
)]
pub struct Cli {
    #[command(flatten)]
    database: DatabaseOptions,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run database, API, worker and proxy on this machine until Ctrl-C
    Up(Box<up::Up>),
    /// Launch a cluster and follow it until it is ready
    Launch(clusters::Launch),
    /// List clusters
    List(clusters::List),
    /// Show one cluster
    Show(clusters::Show),
    /// Change a cluster's number of workers
    Scale(clusters::Scale),
    /// Stop clusters
    Stop(clusters::Stop),
    /// Say who may enter a cluster beside its owner: owner (nobody), class, public
    Access(shares::SetAccess),
    /// Make a link that lets whoever has it enter a cluster for a while
    Share(shares::Share),
    /// List the share links of a cluster
    Shares(shares::List),
    /// Revoke a share link
    Unshare(shares::Unshare),
    /// Show what a cluster's processes print (local runtime)
    Logs(clusters::Logs),
    /// Tell the whole story of one cluster, and what it is waiting for
    Explain(explain::Explain),
    /// Show the events of one cluster or of all
    Events(log::Events),
    /// List who launched what, when, and how it went
    Audit(log::Audit),
    /// Rebuild every read model from the log; safe while slipway runs
    Replay(log::Replay),
    /// Check hash chains, order, read models, and Kubernetes and routes if asked; exit code 1 if anything is wrong
    Verify(Box<verify::Verify>),
    /// Bring back all live clusters after what ran them was lost; exit code 1 if not all come
    Restore(restore::Restore),
    /// Show what was there at a time, from the log alone
    State(log::State),
    /// Show what changed between two times, from the log alone
    Diff(diff::Diff),
    /// List work that was given up or put aside
    Dead(parked::Dead),
    /// Work at once on what was given up or put aside
    Requeue(parked::Requeue),
    /// Put a cluster aside: no worker touches it until it is requeued, scaled or stopped
    Park(parked::Park),
    /// Write the whole log to a file
    Export(archive::Export),
    /// Read an exported log into an empty database
    Import(archive::Import),
    /// List the log's partitions, take old ones out into files, bring them back
    #[command(subcommand)]
    Archive(partitions::Archive),
    /// Show how many clusters each profile keeps ready, and has
    Pools(pools::Pools),
    /// Check a file of profiles and show what it comes to; exit code 1 with the line of the first mistake
    Profiles(profiles::Profiles),
    /// Make, list and revoke API tokens
    #[command(subcommand)]
    Token(tokens::Token),
    /// Say who is who: list, find and name the people behind the subjects
    #[command(subcommand)]
    People(people::People),
    /// Forget who a subject is, for good; the log stays as it is
    ///
    /// Removes name, addresses, tokens and request keys, and stops what they run. The log's subject then points to nobody, and
    /// the cookie of that browser counts no more. What a notebook has written to its folder, access logs and backups are
    /// not slipway's to search: remove them where you keep them.
    Forget(people::Forget),
    /// Bring the database's schema up to this version's
    Migrate,
    /// Make the Python environment of notebooks and Dask in the data folder, and print where it is
    Stack,
}

/// How a program ends: its exit code, and if it failed, one line that tells why.
pub fn end(program: &str, outcome: anyhow::Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            out::aside(format_args!("{program}: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// With all its causes, for the one line that tells the user.
    pub async fn run(self) -> anyhow::Result<()> {
        let Self { database, command } = self;
        match command {
            Command::Up(up) => up.run(database).await,
            Command::Launch(launch) => launch.run(&database).await,
            Command::List(list) => list.run(&database).await,
            Command::Show(show) => show.run(&database).await,
            Command::Scale(scale) => scale.run(&database).await,
            Command::Stop(stop) => stop.run(&database).await,
            Command::Access(access) => access.run(&database).await,
            Command::Share(share) => share.run(&database).await,
            Command::Shares(list) => list.run(&database).await,
            Command::Unshare(unshare) => unshare.run(&database).await,
            Command::Logs(logs) => logs.run(&database).await,
            Command::Events(events) => events.run(&database).await,
            Command::Audit(audit) => audit.run(&database).await,
            Command::Replay(replay) => replay.run(&database).await,
            Command::Verify(verify) => verify.run(&database).await,
            Command::Restore(restore) => restore.run(&database).await,
            Command::State(state) => state.run(&database).await,
            Command::Diff(diff) => diff.run(&database).await,
            Command::Dead(dead) => dead.run(&database).await,
            Command::Requeue(requeue) => requeue.run(&database).await,
            Command::Park(park) => park.run(&database).await,
            Command::Export(export) => export.run(&database).await,
            Command::Import(import) => import.run(&database).await,
            Command::Archive(archive) => archive.run(&database).await,
            Command::Explain(explain) => explain.run(&database).await,
            Command::Profiles(profiles) => profiles.run(),
            Command::Pools(pools) => pools.run(&database).await,
            Command::Token(token) => token.run(&database).await,
            Command::People(people) => people.run(&database).await,
            Command::Forget(forget) => forget.run(&database).await,
            Command::Stack => {
                let say = |line: &str| tracing::info!("{line}");
                start_logging(false, "warn,slipway=info");
                tell!("{}", stack::prepare(&database.data_dir()?, None, say).await?.display());
                Ok(())
            }
            Command::Migrate => {
                connect::store(&database).await?.migrate().await?;
                tell!("the database is up to date");
                Ok(())
            }
        }
    }
}
