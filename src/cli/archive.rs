//! `slipway export` and `slipway import`: the whole log in a file.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use tempfile::NamedTempFile;

use super::connect;
use super::options::DatabaseOptions;
use super::out::{self, tell};
use super::progress::progress;
use crate::store::archive::{self, ArchiveError, End, Flaw};

/// No line that slipway has written is as long.
const LONGEST_LINE: u64 = 64 << 20;

/// Writes every event of the log in its order, one JSON object a line: first a header, last the counts and a digest.
/// It may run at any time, and what it writes is the log of one moment. API tokens, times of last use and idempotency
/// keys are not in the log.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// The file, which is there once it is whole [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Export {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let export = connect::checked(options).await?.export().await?;
        let end = match &self.output {
            Some(path) => into_file(export, path).await?,
            None => write(export, io::stdout(), |error| out::cannot_write(&error)).await?,
        };
        out::aside(format_args!("exported {}", counted(&end)));
        Ok(())
    }
}

pub(super) async fn into_file(export: archive::Export, path: &Path) -> anyhow::Result<End> {
    let doing = || format!("cannot write {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = NamedTempFile::new_in(folder).with_context(doing)?;
    let end = write(export, file.as_file(), |error| Err(error).with_context(doing)).await?;
    file.as_file().sync_all().with_context(doing)?;
    file.persist(path).with_context(doing)?;
    Ok(end)
}

async fn write(
    mut export: archive::Export,
    to: impl Write,
    failed: impl Fn(io::Error) -> anyhow::Result<()>,
) -> anyhow::Result<End> {
    let (mut to, all) = (BufWriter::new(to), export.header().events + export.header().routes);
    let (say, mut done) = (progress("exporting", "events"), 0);
    loop {
        let lines = export.lines().await?;
        for line in &lines {
            let text = serde_json::to_string(line)?;
            if let Err(error) = writeln!(to, "{text}") {
                failed(error)?;
            }
        }
        if let [archive::Line::End(end)] = &lines[..] {
            if let Err(error) = to.flush() {
                failed(error)?;
            }
            return Ok(end.clone());
        }
        done += lines.len() as i64;
        say(done.min(all), all);
    }
}

/// Reads an exported log into a new database, whose log has to be empty. Every line is checked, every hash computed anew;
/// all of it is there in the end, or nothing. The workers then make every live cluster as the log wants it.
#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file; - for standard input
    #[arg(value_name = "FILE")]
    from: PathBuf,
}

impl Import {
    pub(super) async fn run(self, options: &DatabaseOptions) -> anyhow::Result<()> {
        let mut from: Box<dyn BufRead> = if self.from == Path::new("-") {
            Box::new(io::stdin().lock())
        } else {
            let file = File::open(&self.from).with_context(|| format!("cannot read {}", self.from.display()))?;
            Box::new(BufReader::with_capacity(1 << 20, file))
        };
        let store = connect::checked(options).await?;
        let end = async {
            let mut import = store.import().await?;
            let (say, mut done) = (progress("importing", "events"), 0);
            let mut line = Vec::new();
            while read_line(&mut from, &mut line, done + 1)? {
                import.take(&line).await?;
                done += 1;
                say(i64::try_from(done).unwrap_or(i64::MAX), import.expected());
            }
            anyhow::Ok(import.finish(progress("making read models", "clusters")).await?)
        };
        let end = end.await.context("nothing was imported")?;
        tell!("imported {}", counted(&end));
        Ok(())
    }
}

/// Whether there was another one.
pub(super) fn read_line(from: &mut impl BufRead, line: &mut Vec<u8>, number: u64) -> anyhow::Result<bool> {
    line.clear();
    let read = from.take(LONGEST_LINE).read_until(b'\n', line).context("cannot read on")?;
    if read as u64 == LONGEST_LINE {
        return Err(ArchiveError::Line { line: number, flaw: Flaw::Long }.into());
    }
    Ok(read > 0)
}

fn counted(end: &End) -> String {
    format!("{} events and {} changes of routes; digest {}", end.events, end.routes, end.digest)
}
