//! The log written out, a batch at a time.

use serde_json::value::RawValue;
use sqlx::{Postgres, Transaction};

use super::sequence::Tally;
use super::{Bounds, EventLine, FORMAT, Hash, Header, Line, RouteLine, without_hurry};
use crate::store::events::{Position, parse_id};
use crate::store::tx::Tx;
use crate::store::{Store, StoreError};

const BATCH: i64 = 1_000;

/// All lines of the log as it was in one snapshot, however long they take to be written.
pub struct Export {
    snapshot: Transaction<'static, Postgres>,
    header: Header,
    bounds: Bounds,
    tally: Tally,
    position: Position,
    version: i64,
    stage: Stage,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Stage {
    Header,
    Events,
    Routes,
    End,
    Over,
}

impl Store {
    /// Begins to write the log out. It holds nobody up: its transaction only reads.
    ///
    /// # Errors
    /// [`StoreError::Archived`] when a part of it is in the archive; when the database does not answer.
    pub async fn export(&self) -> Result<Export, StoreError> {
        if self.archive_end().await?.is_some() {
            return Err(StoreError::Archived { what: "the beginning of the log".to_owned() });
        }
        self.export_those(None).await
    }

    /// Begins to write one partition out.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn export_partition(&self, partition: Bounds) -> Result<Export, StoreError> {
        self.export_those(Some(partition)).await
    }

    async fn export_those(&self, partition: Option<Bounds>) -> Result<Export, StoreError> {
        let bounds = partition.unwrap_or(Bounds { first: i64::MIN, until: i64::MAX });
        let mut snapshot = self
            .pool
            .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            .await
            .map_err(StoreError::database("begin a snapshot"))?;
        without_hurry(&mut snapshot).await?;
        let row = sqlx::query!(
            r#"SELECT epoch, (SELECT count(*) FROM slipway.event WHERE pos >= $1 AND pos < $2) AS "events!",
                      (SELECT count(*) FROM slipway.route_event WHERE NOT $3) AS "routes!" FROM slipway.installation"#,
            bounds.first,
            bounds.until,
            partition.is_some(),
        )
        .fetch_one(&mut *snapshot)
        .await
        .map_err(StoreError::database("measure the log"))?;
        let header = Header {
            format: FORMAT,
            slipway: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: row.epoch,
            events: row.events,
            routes: row.routes,
            partition,
        };
        let (tally, position) = (Tally::default(), Position::default());
        Ok(Export { snapshot, header, bounds, tally, position, version: 0, stage: Stage::Header })
    }
}

impl Export {
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The next lines; none once all were given.
    ///
    /// # Errors
    /// When the database does not answer, or what it holds is not a log.
    pub async fn lines(&mut self) -> Result<Vec<Line>, StoreError> {
        loop {
            let lines = match self.stage {
                Stage::Header => vec![Line::Log(self.header.clone())],
                Stage::Events => self.events().await?,
                Stage::Routes => self.routes().await?,
                Stage::End => vec![Line::End(self.tally.end())],
                Stage::Over => return Ok(vec![]),
            };
            self.stage = match self.stage {
                Stage::Header => Stage::Events,
                Stage::Events if lines.is_empty() && self.header.partition.is_some() => Stage::End,
                Stage::Events if lines.is_empty() => Stage::Routes,
                Stage::Routes if lines.is_empty() => Stage::End,
                Stage::End | Stage::Over => Stage::Over,
                stage @ (Stage::Events | Stage::Routes) => stage,
            };
            lines.iter().for_each(|line| self.tally.add(line));
            if !lines.is_empty() {
                return Ok(lines);
            }
        }
    }

    async fn events(&mut self) -> Result<Vec<Line>, StoreError> {
        let (epoch, tx, pos) = self.position.parts();
        let rows = sqlx::query!(
            r#"SELECT epoch, tx AS "tx!: Tx", pos, stream_id, version, event_id, type AS kind, schema_version,
                      data::text AS "data!", actor, correlation_id, causation_id, recorded_at, hash
                 FROM slipway.event WHERE (epoch, tx, pos) > ($1, $2::text::xid8, $3) AND pos >= $5 AND pos < $6
                ORDER BY epoch, tx, pos LIMIT $4"#,
            epoch,
            tx.to_string(),
            pos,
            BATCH,
            self.bounds.first,
            self.bounds.until,
        )
        .fetch_all(&mut *self.snapshot)
        .await
        .map_err(StoreError::database("read the log"))?;
        let mut lines = Vec::with_capacity(rows.len());
        for row in rows {
            self.position = Position::new(row.epoch, row.tx.0, row.pos);
            lines.push(Line::Event(Box::new(EventLine {
                position: self.position,
                stream: parse_id(&row.stream_id)?,
                version: row.version,
                event_id: row.event_id,
                r#type: row.kind,
                schema_version: row.schema_version,
                data: raw(row.data)?,
                actor: row.actor.clone().try_into().map_err(|_| stored("actor", row.actor))?,
                correlation_id: row.correlation_id,
                causation_id: row.causation_id,
                recorded_at: row.recorded_at,
                hash: Hash::of_row(&row.hash)?,
            })));
        }
        Ok(lines)
    }

    async fn routes(&mut self) -> Result<Vec<Line>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT version, path, data::text AS data, recorded_at, hash
                 FROM slipway.route_event WHERE version > $1 ORDER BY version LIMIT $2"#,
            self.version,
            BATCH,
        )
        .fetch_all(&mut *self.snapshot)
        .await
        .map_err(StoreError::database("read posted routes"))?;
        let mut lines = Vec::with_capacity(rows.len());
        for row in rows {
            self.version = row.version;
            lines.push(Line::Route(Box::new(RouteLine {
                version: row.version,
                path: row.path.parse().map_err(|_| stored("route", row.path))?,
                data: row.data.map(raw).transpose()?,
                recorded_at: row.recorded_at,
                hash: Hash::of_row(&row.hash)?,
            })));
        }
        Ok(lines)
    }
}

fn raw(json: String) -> Result<Box<RawValue>, StoreError> {
    RawValue::from_string(json).map_err(|error| stored("data", error.to_string()))
}

fn stored(what: &'static str, value: String) -> StoreError {
    StoreError::Stored { what, value }
}
