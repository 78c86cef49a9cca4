//! `slipway archive`: old partitions of the log, out into files and back.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};

use super::archive::{into_file, read_line};
use super::log::moment;
use super::options::DatabaseOptions;
use super::out::{aside, tell};
use super::progress::progress;
use super::{connect, table};
use crate::store::Store;
use crate::store::archive::{Bounds, Line};
use crate::store::partitions::{Partition, Standing};

/// The log is kept in partitions, of a million events each unless told otherwise. Old ones can be taken out into files, the oldest
/// first, when the database is to be small: what clusters that go on had come to stays, so that they work as before. Needs
/// the owner of the schema, but for the list.
#[derive(Debug, Subcommand)]
pub(super) enum Archive {
    /// List all partitions, also those in the archive
    List(List),
    /// Take old partitions out of the log, each into a file of its own
    Detach(Detach),
    /// Bring partitions back from their files
    Attach(Attach),
    /// Show or set how many events each partition holds that is made from now on
    Size(Size),
}

impl Archive {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let store = connect::checked(options).await?;
        match self {
            Self::List(list) => list.run(&store).await,
            Self::Detach(detach) => detach.run(&store).await,
            Self::Attach(attach) => attach.run(&store).await,
            Self::Size(size) => size.run(&store).await,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct List {
    #[arg(long)]
    json: bool,
}

impl List {
    async fn run(self, store: &Store) -> anyhow::Result<()> {
        let headings = ["FROM", "UNTIL", "EVENTS", "SIZE", "OLDEST", "NEWEST", "STANDING"];
        table::print(self.json, &store.partitions().await?, &headings, |partition| {
            let standing = match (partition.standing, &partition.file) {
                (Standing::Archived, file) => format!("in the archive as {}", table::or_dash(file.as_ref())),
                (Standing::Sealed, _) => "complete, can be detached".to_owned(),
                (Standing::Full, _) => "full, about to be complete".to_owned(),
                (Standing::Open, _) => "being filled".to_owned(),
                (Standing::Ahead, _) => "for what is to come".to_owned(),
            };
            vec![
                partition.bounds.first.to_string(),
                partition.bounds.until.to_string(),
                partition.events.to_string(),
                table::or_dash(partition.bytes.map(|bytes| format!("{:.1} MB", bytes as f64 / 1e6))),
                table::or_dash(partition.oldest_at.map(table::time)),
                table::or_dash(partition.newest_at.map(table::time)),
                standing,
            ]
        })
    }
}

/// Each partition is written to its file, which is there once it is whole; the file is read back and every hash computed
/// anew; only then does the partition leave the database, in a moment. What breaks off can be done again. Keep the files as
/// you keep backups: nothing else has these events.
#[derive(Debug, Args)]
pub(super) struct Detach {
    /// The folder for the files
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,
    /// Only partitions whose events are all older than this, or than so long
    #[arg(long, default_value = "90d", value_parser = moment, value_name = "TIME")]
    before: DateTime<Utc>,
    /// At most so many
    #[arg(long, value_name = "COUNT")]
    most: Option<usize>,
}

impl Detach {
    async fn run(self, store: &Store) -> anyhow::Result<()> {
        // Should nobody have done so, what has become full is found to be full, and then sealed.
        store.extend_log().await?;
        store.extend_log().await?;
        let attached: Vec<Partition> =
            store.partitions().await?.into_iter().filter(|one| one.standing != Standing::Archived).collect();
        for (done, partition) in attached.iter().enumerate() {
            if self.most.is_some_and(|most| done >= most) {
                break;
            }
            if let Some(why) = self.stays(partition) {
                ensure!(
                    done > 0,
                    "nothing was detached: the oldest partition, from {} on, {why}",
                    partition.bounds.first
                );
                break;
            }
            self.detach(store, partition.bounds).await.with_context(|| {
                format!("the partition from {} on is still part of the log", partition.bounds.first)
            })?;
        }
        Ok(())
    }

    /// Why a partition cannot go.
    fn stays(&self, partition: &Partition) -> Option<String> {
        match partition.standing {
            Standing::Sealed => {}
            Standing::Full => {
                return Some(
                    "is full, but a transaction is open that may have a place in it: try again".to_owned(),
                );
            }
            Standing::Archived | Standing::Open | Standing::Ahead => {
                return Some(
                    "is not full yet: `slipway archive list` shows how far it is, `slipway archive size` makes \
                             those to come smaller"
                        .to_owned(),
                );
            }
        }
        let newest = partition.newest_at.filter(|newest| *newest >= self.before)?;
        Some(format!(
            "has events of {}, which is not before {}: name a later time with --before",
            table::time(newest),
            table::time(self.before)
        ))
    }

    async fn detach(&self, store: &Store, bounds: Bounds) -> anyhow::Result<()> {
        let name = file_name(bounds);
        let path = self.to.join(&name);
        let written = into_file(store.export_partition(bounds).await?, &path).await?;
        let mut file = open(&path)?;
        let mut detach = store.detach(bounds).await?;
        let (say, mut line, mut number) = (progress("checking", "events"), Vec::new(), 0);
        while read_line(&mut file, &mut line, number + 1)? {
            detach.take(&line).await?;
            number += 1;
            say(i64::try_from(number).unwrap_or(i64::MAX).min(written.events), written.events);
        }
        let detached = detach.finish(&name, &written).await?;
        tell!(
            "{}: {} events; {} clusters ended in it, {} go on from what they had come to",
            path.display(),
            detached.events,
            detached.ended,
            detached.going_on
        );
        Ok(())
    }
}

/// Each file is checked line by line against what was noted when it was taken out, every hash computed anew, and its events are
/// part of the log again, or none of them. The last one that went has to come first; give several in any order.
#[derive(Debug, Args)]
pub(super) struct Attach {
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Attach {
    async fn run(self, store: &Store) -> anyhow::Result<()> {
        let mut files = Vec::with_capacity(self.files.len());
        for path in self.files {
            files.push((bounds(&path)?, path));
        }
        files.sort_by_key(|(bounds, _)| std::cmp::Reverse(bounds.first));
        for (bounds, path) in files {
            let doing = || format!("{} was not attached", path.display());
            let mut file = open(&path)?;
            let mut attach = store.attach(bounds).await.with_context(doing)?;
            let (say, mut line, mut number) = (progress("attaching", "events"), Vec::new(), 0);
            while read_line(&mut file, &mut line, number + 1)? {
                attach.take(&line).await.with_context(doing)?;
                number += 1;
                say(i64::try_from(number).unwrap_or(i64::MAX), attach.expected());
            }
            let events = attach.finish().await.with_context(doing)?;
            tell!("{}: {events} events are part of the log again", path.display());
        }
        if let Some(end) = store.archive_end().await? {
            aside(format_args!("{} partitions are still in the archive", end.partitions));
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(super) struct Size {
    /// Events of each partition
    #[arg(value_parser = clap::value_parser!(i64).range(1..=1_000_000_000))]
    events: Option<i64>,
}

impl Size {
    async fn run(self, store: &Store) -> anyhow::Result<()> {
        if let Some(events) = self.events {
            store.set_partition_size(events).await?;
        }
        tell!("{}", store.partition_size().await?);
        Ok(())
    }
}

/// Sorts as the partitions do.
fn file_name(bounds: Bounds) -> String {
    format!("slipway-log-{:012}-{:012}.ndjson", bounds.first, bounds.until - 1)
}

fn open(path: &Path) -> anyhow::Result<BufReader<File>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(BufReader::with_capacity(1 << 20, file))
}

/// What the first line says.
fn bounds(path: &Path) -> anyhow::Result<Bounds> {
    let mut line = Vec::new();
    let mut file = open(path)?;
    ensure!(read_line(&mut file, &mut line, 1)?, "{} is empty", path.display());
    match serde_json::from_slice(&line) {
        Ok(Line::Log(header)) if header.partition.is_some() => Ok(header.partition.expect("it is some")),
        Ok(Line::Log(_)) => bail!("{} holds a whole log: `slipway import` takes it", path.display()),
        Ok(_) | Err(_) => bail!("{} is no file of a partition", path.display()),
    }
}
