//! What has to be true of the lines of an exported log beside each other.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::{Bounds, End, EventLine, FORMAT, Hash, Header, Line};
use crate::domain::ClusterId;
use crate::store::events::Position;

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    #[error("it is no line of an exported log")]
    Unknown(#[source] serde_json::Error),
    #[error("it is longer than any line of an exported log")]
    Long,
    #[error("the header of an exported log is missing: it is the first line, and none but that")]
    Header,
    #[error(
        "the log was exported in format {0}, and this slipway reads format {FORMAT}: use the slipway that wrote it"
    )]
    Format(u32),
    #[error("it holds a partition of a log: `slipway archive attach` takes it")]
    Partition,
    #[error("it holds another partition, or a whole log")]
    OtherPartition,
    #[error("it is not in its place: first the header, then events, then routes, then the end")]
    Misplaced,
    #[error(
        "position {this} does not come after {before}: the events are not in the order in which they were written"
    )]
    Order { before: Position, this: Position },
    #[error("version {found} of {of} follows version {before}: an event is missing, or out of order")]
    Gap { of: String, before: i64, found: i64 },
    #[error("the event cannot be read")]
    Event(#[source] super::StoreError),
    #[error("its hash does not match what it holds and what came before it: it was changed")]
    Hash,
    #[error("there should be {wanted} {of}, and there are {found}: some are missing")]
    Count { of: &'static str, wanted: i64, found: i64 },
    #[error("the digest does not match: the events are not those that were exported, or in another order")]
    Digest,
    #[error("the end of the log is missing: the file is cut off here")]
    CutOff,
}

/// What the last line sums up.
#[derive(Default)]
pub(super) struct Tally {
    events: i64,
    routes: i64,
    digest: Sha256,
}

impl Tally {
    pub(super) fn add(&mut self, line: &Line) {
        match line {
            Line::Event(event) => self.add_event(event),
            Line::Route(route) => {
                self.routes += 1;
                self.digest.update(route.hash.0);
            }
            Line::Log(_) | Line::End(_) => {}
        }
    }

    fn add_event(&mut self, event: &EventLine) {
        self.events += 1;
        self.digest.update(event.hash.0);
    }

    /// What the last line has to say after those so far.
    pub(super) fn end(&self) -> End {
        let digest = Hash(self.digest.clone().finalize().into());
        End { events: self.events, routes: self.routes, digest }
    }
}

/// How far the lines have come.
#[derive(Default)]
pub(super) struct Sequence {
    header: Option<Header>,
    over: bool,
    tally: Tally,
    position: Position,
    heads: BTreeMap<ClusterId, (i64, Hash)>,
    route_hash: Option<Hash>,
    /// What is to come, if not a whole log.
    partition: Option<Bounds>,
}

impl Sequence {
    /// Of one partition, whose streams may have begun before it.
    pub(super) fn of(partition: Bounds) -> Self {
        Self { partition: Some(partition), ..Self::default() }
    }

    /// A stream goes on from here.
    pub(super) fn begin(&mut self, stream: ClusterId, version: i64, hash: Hash) {
        self.heads.insert(stream, (version, hash));
    }

    /// Whether the next event of a stream may be its first here, of those that begin later than with their own first.
    pub(super) fn is_unknown(&self, stream: ClusterId) -> bool {
        !self.heads.contains_key(&stream)
    }

    /// Takes the next line; the hash that an event or route comes after, which only the first of a stream has none of.
    pub(super) fn take(&mut self, line: &Line) -> Result<Option<Hash>, Flaw> {
        let before = self.check(line)?;
        if !matches!(line, Line::Event(_)) {
            self.tally.add(line);
        }
        Ok(before)
    }

    /// The same for an event.
    pub(super) fn take_event(&mut self, event: &EventLine) -> Result<Option<Hash>, Flaw> {
        if self.header.is_none() {
            return Err(Flaw::Header);
        }
        if self.over || self.tally.routes > 0 {
            return Err(Flaw::Misplaced);
        }
        if event.position <= self.position {
            return Err(Flaw::Order { before: self.position, this: event.position });
        }
        let before = self.heads.get(&event.stream);
        let (version, before) = before.map_or((0, None), |(version, hash)| (*version, Some(hash.clone())));
        follows(version, event.version, || event.stream.to_string())?;
        self.position = event.position;
        self.heads.insert(event.stream, (event.version, event.hash.clone()));
        self.tally.add_event(event);
        Ok(before)
    }

    fn check(&mut self, line: &Line) -> Result<Option<Hash>, Flaw> {
        match line {
            Line::Log(_) if self.header.is_some() => Err(Flaw::Header),
            Line::Log(header) if header.format != FORMAT => Err(Flaw::Format(header.format)),
            Line::Log(header) if header.partition != self.partition => {
                Err(if self.partition.is_none() { Flaw::Partition } else { Flaw::OtherPartition })
            }
            Line::Log(header) => {
                self.header = Some(header.clone());
                Ok(None)
            }
            _ if self.header.is_none() => Err(Flaw::Header),
            _ if self.over => Err(Flaw::Misplaced),
            Line::Event(event) => self.take_event(event),
            Line::Route(route) => {
                follows(self.tally.routes, route.version, || "the posted routes".to_owned())?;
                Ok(self.route_hash.replace(route.hash.clone()))
            }
            Line::End(end) => self.end(end).map(|()| None),
        }
    }

    fn end(&mut self, end: &End) -> Result<(), Flaw> {
        let header = self.header.as_ref().ok_or(Flaw::Header)?;
        let found = self.tally.end();
        let counts = [
            ("events", header.events, found.events),
            ("events", end.events, found.events),
            ("changes of routes", header.routes, found.routes),
            ("changes of routes", end.routes, found.routes),
        ];
        if let Some((of, wanted, found)) = counts.into_iter().find(|(_, wanted, found)| wanted != found) {
            return Err(Flaw::Count { of, wanted, found });
        }
        if end.digest != found.digest {
            return Err(Flaw::Digest);
        }
        self.over = true;
        Ok(())
    }

    /// The sum of all that was taken.
    pub(super) fn ending(&self) -> End {
        self.tally.end()
    }

    pub(super) fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Whether the last line was taken.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = ClusterId> {
        self.heads.keys().copied()
    }
}

fn follows(before: i64, found: i64, of: impl FnOnce() -> String) -> Result<(), Flaw> {
    if found == before + 1 { Ok(()) } else { Err(Flaw::Gap { of: of(), before, found }) }
}
