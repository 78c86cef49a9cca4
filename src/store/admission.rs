//! The line of launches: at which pace it goes, who is next, and how long it is.

use super::events::parse_id;
use super::{Store, StoreError};
use crate::domain::ClusterId;
use crate::domain::line::{Line, Throttle};

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
        let row = sqlx::query!(
            r#"WITH line AS (
                   SELECT id, row_number() OVER (ORDER BY launched_at, id) AS position
                     FROM slipway.cluster WHERE status = 'launching' AND slipway.in_line(state)
               ), room AS (
                   SELECT CASE WHEN EXISTS (SELECT FROM line) THEN slipway.admission_room(clock_timestamp()) END AS room
               )
               SELECT array(SELECT id FROM line, room WHERE position <= room ORDER BY position) AS "next!",
                      coalesce((SELECT count(*) FROM line) > (SELECT room FROM room), false) AS "more!""#
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::database("see who is next in line"))?;
        let next = row.next.iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?;
        Ok(Turn { next, more: row.more })
    }

    /// The whole line, and what is known of how fast it goes.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn line(&self) -> Result<Line, StoreError> {
        let row = sqlx::query!(
            r#"WITH launching AS (
                   SELECT id, launched_at, slipway.in_line(state) AS waiting
                     FROM slipway.cluster WHERE status = 'launching'
               )
               SELECT at_once, per_second,
                      array(SELECT id FROM launching WHERE waiting ORDER BY launched_at, id) AS "waiting!",
                      (SELECT count(*) FROM launching WHERE NOT waiting) AS "launching!",
                      array(SELECT extract(epoch FROM ready_at - admitted_at)::double precision FROM slipway.cluster
                             WHERE admitted_at IS NOT NULL AND ready_at IS NOT NULL
                             ORDER BY ready_at DESC LIMIT 50) AS "recent!"
                 FROM slipway.admission"#
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::database("read the line of launches"))?;
        Ok(Line {
            waiting: row.waiting.iter().map(|id| parse_id(id)).collect::<Result<_, _>>()?,
            launching: u32::try_from(row.launching).unwrap_or(u32::MAX),
            throttle: Throttle { at_once: u32::try_from(row.at_once).unwrap_or(0), per_second: row.per_second },
            recent: row.recent,
        })
    }
}
