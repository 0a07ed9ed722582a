//! What becomes of a value on its way from one column to another.

use crate::encrypted::convert;
use crate::error::{self, Result};
use crate::keys::{KeyError, with_registry};
use crate::pg::columns::table::{Column, Kind, Value};
use crate::pg::values;
use pgrx::prelude::*;
use ward_crypto::{ColumnType, KeyId};

/// A conversion of values.
#[derive(Clone, Copy)]
pub enum Transform {
    /// From text, under the key that the modifier stands for.
    Encrypt(ColumnType, i32),
    /// To text.
    Decrypt(ColumnType),
    /// To the active version of the key that the modifier stands for.
    Renew(ColumnType, i32),
}

impl Transform {
    /// The conversion from one column to another.
    pub fn between(source: &Column, target: &Column) -> Result<Self> {
        match (source.kind, target.kind) {
            (Kind::Text, Kind::Encrypted(kind)) => Ok(Self::Encrypt(kind, target.modifier)),
            (Kind::Encrypted(kind), Kind::Text) => Ok(Self::Decrypt(kind)),
            (Kind::Encrypted(kind), Kind::Encrypted(other))
                if kind == other && source.index == target.index =>
            {
                Ok(Self::Renew(kind, target.modifier))
            }
            _ => Err(error::report(
                PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                "a column can be converted from text to an encrypted type and back only",
            )),
        }
    }

    /// Converts a value, with the caller's grants.
    pub fn apply(self, value: &Value) -> Result<Value> {
        match self {
            Self::Encrypt(kind, modifier) => value.with_bytes(|text| {
                let text = values::to_utf8(text)?;
                Ok(Value::new(convert::seal(kind, &text, modifier)?))
            }),
            Self::Decrypt(kind) => {
                Value::text(value.with_bytes(|value| convert::open(kind, value))?)
            }
            Self::Renew(kind, modifier) => {
                let mut text = value.with_bytes(|value| convert::open(kind, value))?;
                Ok(Value::new(convert::seal(kind, text.bytes_mut(), modifier)?))
            }
        }
    }
}

/// The id of the active version of the key that a modifier stands for.
pub fn active_key_id(modifier: i32) -> Result<KeyId> {
    Ok(with_registry(|registry| {
        let key = registry.by_modifier(modifier)?;
        let place = key.active()?;
        key.versions
            .get(place)
            .map(|version| version.key_id)
            .ok_or_else(|| KeyError::Disabled(key.name.clone()))
    })?)
}
