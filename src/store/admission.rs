//! The line of launches: at which pace it goes, who is next, and how long it is.

use super::events::parse_id;
use super::{Store, StoreError};
use crate::domain::ClusterId;
use crate::domain::line::{Launching, Line, Stands, Throttle, in_turn};

/// Who may be admitted now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// How many.
    pub room: usize,
    /// Out of these, the first first; not read without room.
    pub line: Vec<ClusterId>,
    /// Anybody waits.
    pub any: bool,
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

    /// The line, if there is room for anybody. Whether one is admitted is decided by its append.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn turn(&self) -> Result<Turn, StoreError> {
        let row = sqlx::query!(
            r#"WITH line AS (
                   SELECT EXISTS (SELECT FROM slipway.cluster WHERE status = 'launching' AND slipway.in_line(state)) AS waits
               )
               SELECT waits AS "waits!", CASE WHEN waits THEN slipway.admission_room(clock_timestamp()) ELSE 0 END AS "room!",
                      CASE WHEN waits THEN slipway.pool_room(clock_timestamp()) ELSE 0 END AS "pool_room!"
                 FROM line"#
        )
        .fetch_one(&self.pool)
        .await
        .map_err(StoreError::database("see how many may be admitted"))?;
        let count = |room| usize::try_from(room).unwrap_or(0);
        let rooms = (count(row.room), count(row.pool_room));
        if rooms == (0, 0) {
            return Ok(Turn { room: 0, line: vec![], any: row.waits });
        }
        let (stock, people): (Vec<_>, Vec<_>) =
            self.launching().await?.into_iter().partition(|launch| launch.stock);
        let line = in_turn(&people);
        // While anybody waits, no pool is let in.
        let (room, line) = if line.is_empty() { (rooms.1, in_turn(&stock)) } else { (rooms.0, line) };
        Ok(Turn { room, line: if room > 0 { line } else { vec![] }, any: row.waits })
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
        let under_way = launching.iter().filter(|it| !it.stock && it.stands != Stands::InLine).count();
        Ok(Line {
            launching: u32::try_from(under_way).unwrap_or(u32::MAX),
            waiting,
            throttle: Throttle { at_once: u32::try_from(row.at_once).unwrap_or(0), per_second: row.per_second },
            recent: row.recent,
        })
    }

    /// All that are not ready yet, oldest first.
    async fn launching(&self) -> Result<Vec<Launching>, StoreError> {
        sqlx::query!(
            r#"SELECT id, owner, owner LIKE 'pool:%' AS "stock!", slipway.in_line(state) AS "in_line!",
                      state #>> '{parked,kind}' IS NOT DISTINCT FROM 'admin' AS "aside!"
                 FROM slipway.cluster WHERE status = 'launching' ORDER BY launched_at, id"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("read the line of launches"))?
        .into_iter()
        .map(|row| {
            let stands = match (row.in_line, row.aside) {
                (true, _) => Stands::InLine,
                (false, false) => Stands::Admitted,
                (false, true) => Stands::Aside,
            };
            Ok(Launching { id: parse_id(&row.id)?, owner: row.owner, stock: row.stock, stands })
        })
        .collect()
    }
}
