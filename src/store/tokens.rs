//! Bearer tokens for the API. Only their hash is stored.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Store, StoreError};
use crate::domain::Subject;

/// A token as it is listed: everything but the token.
#[derive(Debug, Clone, serde::Serialize)]
pub struct TokenRow {
    pub id: Uuid,
    pub name: String,
    pub subject: String,
    pub admin: bool,
    pub created_at: DateTime<Utc>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Whom a token stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bearer {
    pub subject: Subject,
    pub admin: bool,
}

/// A token as it is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidToken {
    /// SHA-256 of the token.
    pub hash: [u8; 32],
    pub bearer: Bearer,
    pub expires_at: Option<DateTime<Utc>>,
}

impl Store {
    /// # Errors
    /// [`StoreError::Forgotten`] for a subject that was; when the database does not answer.
    pub async fn create_token(
        &self,
        id: Uuid,
        name: &str,
        bearer: &Bearer,
        token: &str,
        expires_at: Option<DateTime<Utc>>,
    ) -> Result<(), StoreError> {
        let made = sqlx::query!(
            r#"INSERT INTO slipway.api_token (id, name, subject, admin, hash, expires_at)
               SELECT $1, $2, $3, $4, $5, $6 WHERE NOT EXISTS (SELECT FROM slipway.erasure e WHERE e.subject = $3)"#,
            id,
            name,
            bearer.subject.as_str(),
            bearer.admin,
            &hash(token)[..],
            expires_at,
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::database("store a token"))?;
        if made.rows_affected() == 1 { Ok(()) } else { Err(StoreError::Forgotten) }
    }

    /// Whom the token stands for, unless it is unknown, expired or revoked.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn bearer(&self, token: &str) -> Result<Option<Bearer>, StoreError> {
        let row = sqlx::query!(
            r#"SELECT subject, admin FROM slipway.api_token
                WHERE hash = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"#,
            &hash(token)[..],
        )
        .fetch_optional(&self.pool)
        .await
        .map_err(StoreError::database("look up a token"))?;
        row.map(|row| {
            let subject = row
                .subject
                .parse()
                .map_err(|_| StoreError::Stored { what: "token subject", value: row.subject.clone() })?;
            Ok(Bearer { subject, admin: row.admin })
        })
        .transpose()
    }

    /// All tokens that count now, by their hashes.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn valid_tokens(&self) -> Result<Vec<ValidToken>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT hash, subject, admin, expires_at FROM slipway.api_token
                WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("read the tokens"))?;
        rows.into_iter()
            .map(|row| {
                let stored = |value: String| StoreError::Stored { what: "token", value };
                Ok(ValidToken {
                    hash: row.hash.try_into().map_err(|_| stored("a hash that is none".to_owned()))?,
                    bearer: Bearer {
                        subject: row.subject.parse().map_err(|_| stored(row.subject.clone()))?,
                        admin: row.admin,
                    },
                    expires_at: row.expires_at,
                })
            })
            .collect()
    }

    /// # Errors
    /// When the database does not answer.
    pub async fn tokens(&self) -> Result<Vec<TokenRow>, StoreError> {
        sqlx::query_as!(
            TokenRow,
            r#"SELECT id, name, subject, admin, created_at, expires_at, revoked_at
                 FROM slipway.api_token ORDER BY created_at"#
        )
        .fetch_all(&self.pool)
        .await
        .map_err(StoreError::database("list tokens"))
    }

    /// Returns whether there was such a token, not yet revoked.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn revoke_token(&self, id: Uuid) -> Result<bool, StoreError> {
        let done = sqlx::query!(
            "UPDATE slipway.api_token SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL",
            id
        )
        .execute(&self.pool)
        .await
        .map_err(StoreError::database("revoke a token"))?;
        Ok(done.rows_affected() == 1)
    }
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}
