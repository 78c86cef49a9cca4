//! What is kept of the streams that have begun in the archive.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgExecutor};

use super::sequence::Sequence;
use super::{EventLine, Hash};
use crate::domain::ClusterId;
use crate::store::StoreError;
use crate::store::events::parse_id;
use crate::store::snapshot::Kept;
use crate::store::stream::Replayed;

/// A row of `archived_stream`.
#[derive(Serialize, Deserialize)]
struct Row {
    partition: i64,
    stream_id: String,
    /// As Postgres writes bytes.
    hash: String,
    #[serde(flatten)]
    kept: Kept,
}

/// Where each stream of these events goes on in a partition that has begun before it, and the hash that comes before that.
/// What the sequence knows already is left out.
pub(super) async fn begun_before<'e>(
    executor: impl PgExecutor<'_>,
    partition: i64,
    sequence: &Sequence,
    events: impl Iterator<Item = &'e EventLine>,
) -> Result<HashMap<ClusterId, (Kept, Hash)>, StoreError> {
    let begun = events.filter(|event| event.version > 1 && sequence.is_unknown(event.stream));
    let streams: Vec<String> = begun.map(|event| event.stream.to_string()).collect();
    if streams.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"SELECT DISTINCT ON (a.stream_id) a.stream_id, a.hash, to_jsonb(a) AS "row!"
             FROM slipway.archived_stream a WHERE a.stream_id = ANY ($1) AND a.partition < $2
            ORDER BY a.stream_id, a.version DESC"#,
        &streams,
        partition,
    )
    .fetch_all(executor)
    .await
    .map_err(StoreError::database("look for streams in the archive"))?;
    rows.into_iter()
        .map(|row| {
            let kept: Row = serde_json::from_value(row.row)
                .map_err(|error| StoreError::Stored { what: "state of a stream", value: error.to_string() })?;
            Ok((parse_id(&row.stream_id)?, (kept.kept, Hash::of_row(&row.hash)?)))
        })
        .collect()
}

/// Notes what streams have come to at the end of a partition. It counts once that is in the archive.
pub(super) async fn note(
    connection: &mut PgConnection,
    partition: i64,
    streams: impl Iterator<Item = (&ClusterId, &(Replayed, Hash))>,
) -> Result<(), StoreError> {
    let rows: Vec<Row> = streams
        .map(|(id, (replayed, hash))| Row {
            partition,
            stream_id: id.to_string(),
            hash: format!("\\x{hash}"),
            kept: Kept::of(replayed),
        })
        .collect();
    let rows = serde_json::to_value(rows).expect("what is kept has a JSON form");
    sqlx::query!(
        r#"INSERT INTO slipway.archived_stream
           SELECT r.* FROM jsonb_populate_recordset(NULL::slipway.archived_stream, $1) r"#,
        rows,
    )
    .execute(connection)
    .await
    .map_err(StoreError::database("note what streams had come to"))?;
    Ok(())
}

/// Forgets what was noted at an earlier try.
pub(super) async fn forget(executor: impl PgExecutor<'_>, partition: i64) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM slipway.archived_stream WHERE partition = $1", partition)
        .execute(executor)
        .await
        .map_err(StoreError::database("forget what an earlier try has noted"))?;
    Ok(())
}
