//! The log read back: whole, in its order and unchanged, or not at all.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, Postgres, Transaction};
use uuid::Uuid;

use super::columns::{Checked, Columns};
use super::sequence::{Flaw, Sequence};
use super::{ArchiveError, End, EventLine, Line, RouteLine, without_hurry};
use crate::domain::ClusterId;
use crate::store::partitions::extend_log;
use crate::store::posted::{lock_posted, rebuild_posted};
use crate::store::rebuild::{TOGETHER, rebuild, recount};
use crate::store::{Store, StoreError};

const BATCH: usize = 1_000;

/// A log on its way into an empty one. Nothing of it is there until [`finish`](Self::finish) has committed it.
pub struct Import {
    store: Store,
    tx: Transaction<'static, Postgres>,
    sequence: Sequence,
    /// Later than every epoch of the log that is imported and of the one that it comes into: whoever stands at a
    /// position of either finds all of it after that.
    epoch: i16,
    line: u64,
    events: Vec<Checked<EventLine>>,
    routes: Vec<Checked<RouteLine>>,
}

impl Store {
    /// Begins to read a log back. Until it ends nobody appends, and nobody reads the log.
    ///
    /// # Errors
    /// [`ArchiveError::NotEmpty`] when there is anything in the log.
    pub async fn import(&self) -> Result<Import, ArchiveError> {
        let mut tx = self.pool.begin().await.map_err(StoreError::database("begin an import"))?;
        without_hurry(&mut tx).await?;
        // Every append reads the epoch before it writes, so all that are under way end before this, and those that come
        // later find the new one.
        sqlx::query!("LOCK TABLE slipway.installation IN ACCESS EXCLUSIVE MODE")
            .execute(&mut *tx)
            .await
            .map_err(StoreError::database("lock the log"))?;
        lock_posted(&mut tx).await?;
        let row = sqlx::query!(
            r#"SELECT epoch, (SELECT count(*) FROM slipway.event)
                          + (SELECT coalesce(sum(events), 0)::bigint FROM slipway.partition WHERE archived_at IS NOT NULL)
                          AS "events!",
                      (SELECT count(*) FROM slipway.route_event) AS "routes!"
                 FROM slipway.installation"#
        )
        .fetch_one(&mut *tx)
        .await
        .map_err(StoreError::database("see whether the log is empty"))?;
        if row.events > 0 || row.routes > 0 {
            return Err(ArchiveError::NotEmpty { events: row.events, routes: row.routes });
        }
        Ok(Import {
            store: self.clone(),
            tx,
            sequence: Sequence::default(),
            epoch: row.epoch,
            line: 0,
            events: vec![],
            routes: vec![],
        })
    }
}

impl Import {
    /// Takes the next line.
    ///
    /// # Errors
    /// [`ArchiveError::Line`] when it, or one of the last thousand before it, is not as it was exported.
    pub async fn take(&mut self, text: &[u8]) -> Result<(), ArchiveError> {
        self.line += 1;
        let number = self.line;
        let flawed = |flaw| ArchiveError::Line { line: number, flaw };
        let line: Line = serde_json::from_slice(text).map_err(|error| flawed(Flaw::Unknown(error)))?;
        let before = self.sequence.take(&line).map_err(flawed)?;
        let before = before.map_or_else(Vec::new, |hash| hash.0.to_vec());
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        match line {
            Line::Log(header) => {
                self.epoch = self.epoch.max(header.epoch).saturating_add(1);
                set_epoch(&mut self.tx, self.epoch).await?;
            }
            Line::Event(line) => {
                line.recorded().map_err(|error| flawed(Flaw::Event(error)))?;
                self.events.push(Checked { number, before, line });
            }
            Line::Route(line) => self.routes.push(Checked { number, before, line }),
            Line::End(_) => {}
        }
        if self.events.len() + self.routes.len() >= BATCH {
            self.write().await?;
        }
        Ok(())
    }

    /// How many events are to come in all, once the header was taken.
    pub fn expected(&self) -> i64 {
        self.sequence.header().map_or(0, |header| header.events + header.routes)
    }

    /// Makes heads, read models and wanted work of what was taken, and commits all of it. `progress` is told how many
    /// clusters are done, and of how many.
    ///
    /// # Errors
    /// When lines are missing, the events of a cluster do not add up, or the database does not answer.
    pub async fn finish(mut self, progress: impl Fn(i64, i64)) -> Result<End, ArchiveError> {
        self.write().await?;
        if !self.sequence.is_over() {
            return Err(ArchiveError::Line { line: self.line, flaw: Flaw::CutOff });
        }
        heads(&mut self.tx).await?;
        let streams: Vec<ClusterId> = self.sequence.streams().collect();
        let mut done = 0;
        for some in streams.chunks(TOGETHER) {
            rebuild(&mut self.tx, some).await?;
            done += some.len();
            progress(done as i64, streams.len() as i64);
        }
        recount(&mut self.tx).await?;
        rebuild_posted(&mut self.tx).await?;
        self.tx.commit().await.map_err(StoreError::database("commit an import"))?;
        self.store.notify().await?;
        Ok(self.sequence.ending())
    }

    async fn write(&mut self) -> Result<(), ArchiveError> {
        let events = std::mem::take(&mut self.events);
        let routes = std::mem::take(&mut self.routes);
        let mut wrong = None;
        if !events.is_empty() {
            extend_log(&mut *self.tx, events.len()).await?;
            wrong = write_events(&mut self.tx, self.epoch, &events).await?;
        }
        if wrong.is_none() && !routes.is_empty() {
            wrong = write_routes(&mut self.tx, routes).await?;
        }
        match wrong {
            Some(line) => Err(ArchiveError::Line { line: line.unsigned_abs(), flaw: Flaw::Hash }),
            None => Ok(()),
        }
    }
}

async fn set_epoch(connection: &mut PgConnection, epoch: i16) -> Result<(), StoreError> {
    sqlx::query!("UPDATE slipway.installation SET epoch = $1", epoch)
        .execute(connection)
        .await
        .map_err(StoreError::database("set the log's epoch"))?;
    Ok(())
}

/// Writes events that are in their place; the number of the first whose hash is not that of what it holds.
async fn write_events(
    connection: &mut PgConnection,
    epoch: i16,
    events: &[Checked<EventLine>],
) -> Result<Option<i64>, StoreError> {
    let columns = Columns::of(events);
    let wrong = columns.wrong_hash(&mut *connection).await?;
    if wrong.is_some() {
        return Ok(wrong);
    }
    // Numbered as they are written, so that their order is the log's within the one transaction.
    sqlx::query!(
        r#"INSERT INTO slipway.event (epoch, tx, stream_id, version, event_id, type, schema_version, data, actor,
                                      correlation_id, causation_id, recorded_at, hash)
           SELECT $1, pg_current_xact_id(), stream, version, id, type, schema, data::jsonb, actor, correlation, causation,
                  recorded_at, hash
             FROM unnest($2::bigint[], $3::text[], $4::bigint[], $5::uuid[], $6::text[], $7::smallint[],
                         $8::text[], $9::text[], $10::uuid[], $11::uuid[], $12::timestamptz[], $13::bytea[])
               AS line (number, stream, version, id, type, schema, data, actor, correlation, causation, recorded_at, hash)
            ORDER BY number"#,
        epoch,
        &columns.numbers,
        &columns.streams,
        &columns.versions,
        &columns.ids,
        &columns.types,
        &columns.schemas,
        &columns.data,
        &columns.actors,
        &columns.correlations,
        &columns.causations as &[Option<Uuid>],
        &columns.times,
        &columns.hashes,
    )
    .execute(connection)
    .await
    .map_err(StoreError::database("write events"))?;
    Ok(None)
}

/// The same for changes of posted routes.
async fn write_routes(
    connection: &mut PgConnection,
    routes: Vec<Checked<RouteLine>>,
) -> Result<Option<i64>, StoreError> {
    let numbers: Vec<i64> = routes.iter().map(|route| route.number).collect();
    let before: Vec<Vec<u8>> = routes.iter().map(|route| route.before.clone()).collect();
    let versions: Vec<i64> = routes.iter().map(|route| route.line.version).collect();
    let paths: Vec<String> = routes.iter().map(|route| route.line.path.to_string()).collect();
    let data: Vec<Option<String>> =
        routes.iter().map(|route| route.line.data.as_ref().map(|data| data.get().to_owned())).collect();
    let times: Vec<DateTime<Utc>> = routes.iter().map(|route| route.line.recorded_at).collect();
    let hashes: Vec<Vec<u8>> = routes.iter().map(|route| route.line.hash.0.to_vec()).collect();
    sqlx::query_scalar!(
        r#"WITH line AS MATERIALIZED (
               SELECT number, before, version, CASE WHEN data IS NULL THEN 'RouteRemoved' ELSE 'RoutePosted' END AS type,
                      path, data::jsonb AS data, recorded_at, hash
                 FROM unnest($1::bigint[], $2::bytea[], $3::bigint[], $4::text[], $5::text[], $6::timestamptz[], $7::bytea[])
                   AS line (number, before, version, path, data, recorded_at, hash)
           ), written AS (
               INSERT INTO slipway.route_event (version, type, path, data, recorded_at, hash)
               SELECT version, type, path, data, recorded_at, hash FROM line ORDER BY number
           )
           SELECT number AS "number!" FROM line
            WHERE hash <> slipway.route_event_hash(before, version, type, path, data, recorded_at)
            ORDER BY number LIMIT 1"#,
        &numbers,
        &before,
        &versions,
        &paths,
        &data as &[Option<String>],
        &times,
        &hashes,
    )
    .fetch_optional(connection)
    .await
    .map_err(StoreError::database("write posted routes"))
}

async fn heads(connection: &mut PgConnection) -> Result<(), StoreError> {
    sqlx::query!(
        r#"INSERT INTO slipway.stream (stream_id, version, last_tx, last_hash, first_pos)
           SELECT DISTINCT ON (stream_id) stream_id, version, tx, hash, min(pos) OVER (PARTITION BY stream_id)
             FROM slipway.event ORDER BY stream_id, version DESC"#
    )
    .execute(connection)
    .await
    .map_err(StoreError::database("write the heads of the streams"))?;
    Ok(())
}
