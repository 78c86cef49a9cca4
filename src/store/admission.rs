//! The line of launches: at which pace it goes, who is next, and how long it is.

use super::events::parse_id;
use super::{Store, StoreError};
use crate::domain::ClusterId;
use crate::domain::line::{Launching, Line, Throttle, in_turn};

/// Who may be admitted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub next: Vec<ClusterId>,
    /// Others have to wait on.
    pub more: bool,
}

impl Store {
    /// From now on launches are admitted at this throttle, by whichever worker.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn set_throttle(&self, throttle: Throttle) -> Result<(), StoreError> {
        // A worker that starts anew with the same pace fills no bucket.
        sqlx::query!(
            r#"UPDATE slipway.admission SET at_once = $1, per_second = $2, tokens = greatest($2, 1), filled_at = clock_timestamp()
                WHERE (at_once, per_second) <> ($1, $2)"#,
            i32::try_from(throttle.at_once).unwrap_or(i32::MAX),
            throttle.per_second,
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::database("set the pace of launches"))?;
        Ok(())
    }

    /// The first in line, as many as there is room for. Whether they are admitted is decided by their append.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn turn(&self) -> Result<Turn, StoreError> {
        let mut next = in_turn(&self.launching().await?);
        if next.is_empty() {
            return Ok(Turn { next, more: false });
        }
        let room = sqlx::query_scalar!(r#"SELECT slipway.admission_room(clock_timestamp()) AS "room!""#)
            .fetch_one(&self.pool)
            .await
            .map_err(StoreError::database("see how many may be admitted"))?;
        let room = usize::try_from(room).unwrap_or(0);
        let more = next.len() > room;
        next.truncate(room);
        Ok(Turn { next, more })
    }

    /// The whole line, and what is known of how fast it goes.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn line(&self) -> Result<Line, StoreError> {
        let launching = self.launching().await?;
        let row = sqlx::query!(
            r#"SELECT at_once, per_second,
                      array(SELECT extract(epoch FROM ready_at - admitted_at)::double precision FROM slipway.cluster
                             WHERE admitted_at IS NOT NULL AND ready_at IS NOT NULL
                             ORDER BY ready_at DESC LIMIT 50) AS "recent!"
                 FROM slipway.admission"#
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::database("read the pace of launches"))?;
        let waiting = in_turn(&launching);
        Ok(Line {
            launching: u32::try_from(launching.len() - waiting.len()).unwrap_or(u32::MAX),
            waiting,
            throttle: Throttle { at_once: u32::try_from(row.at_once).unwrap_or(0), per_second: row.per_second },
            recent: row.recent,
        })
    }

    /// All that are not ready yet, oldest first.
    async fn launching(&self) -> Result<Vec<Launching>, StoreError> {
        sqlx::query!(
            r#"SELECT id, owner, slipway.in_line(state) AS "waits!" FROM slipway.cluster
                WHERE status = 'launching' ORDER BY launched_at, id"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("read the line of launches"))?
        .into_iter()
        .map(|row| {
            let owner = row.owner.parse().map_err(|_| StoreError::Stored { what: "owner", value: row.owner })?;
            Ok(Launching { id: parse_id(&row.id)?, owner, waits: row.waits })
        })
        .collect()
    }
}
