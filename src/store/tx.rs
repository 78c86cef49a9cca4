//! Transaction ids as Postgres counts them, in 64 bits.

use sqlx::error::BoxDynError;
use sqlx::postgres::{PgTypeInfo, PgValueFormat, PgValueRef};
use sqlx::{Decode, Postgres, Type};

/// A transaction's id, `xid8` to Postgres.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tx(pub u64);

impl Type<Postgres> for Tx {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("xid8")
    }
}

impl Decode<'_, Postgres> for Tx {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        Ok(Self(match value.format() {
            PgValueFormat::Binary => u64::from_be_bytes(value.as_bytes()?.try_into()?),
            PgValueFormat::Text => value.as_str()?.parse()?,
        }))
    }
}
