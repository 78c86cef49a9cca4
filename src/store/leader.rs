//! Duties that one process at a time has.

use std::time::Duration;

use super::{Store, StoreError};

impl Store {
    /// Takes or keeps a duty for the next `term`; false while another holds it.
    ///
    /// # Errors
    /// When the database does not answer: assume that the duty is lost.
    pub async fn lead(&self, duty: &str, holder: &str, term: Duration) -> Result<bool, StoreError> {
        let won = sqlx::query_scalar!(
            r#"INSERT INTO slipway.leader AS l (duty, holder, until)
               VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
               ON CONFLICT (duty) DO UPDATE SET holder = EXCLUDED.holder, until = EXCLUDED.until
                WHERE l.holder = EXCLUDED.holder OR l.until < clock_timestamp()
               RETURNING true AS "won!""#,
            duty,
            holder,
            term.as_secs_f64(),
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::database("take a duty"))?;
        Ok(won.is_some())
    }

    /// Gives a duty back early, so that a successor need not wait.
    ///
    /// # Errors
    /// When the database does not answer; the term then runs out by itself.
    pub async fn resign(&self, duty: &str, holder: &str) -> Result<(), StoreError> {
        sqlx::query!("DELETE FROM slipway.leader WHERE duty = $1 AND holder = $2", duty, holder)
            .execute(&self.pool)
            .await
            .map_err(StoreError::database("give a duty back"))?;
        Ok(())
    }
}
