//! Casts: from text, between keys, and to text.

use super::call::{Call, sql_functions};
use crate::encrypted::{Error, convert};
use crate::pg::encrypted::who;
use crate::pg::values::{self, TextValue, Varlena};
use pgrx::prelude::*;
use ward_crypto::ColumnType::{self, EncryptedText, SecretText};
use ward_crypto::{SEARCH_LEN, SEARCH_START};

sql_functions! {
    pg_finfo_ward_encrypted_text_from_text, ward_encrypted_text_from_text => |call| from_text(call, EncryptedText);
    pg_finfo_ward_encrypted_text_from_bytea, ward_encrypted_text_from_bytea => |call| from_bytea(call, EncryptedText);
    pg_finfo_ward_encrypted_text_recode, ward_encrypted_text_recode => |call| recode(call, EncryptedText);
    pg_finfo_ward_encrypted_text_to_text, ward_encrypted_text_to_text => |call| to_text(call, EncryptedText);
    pg_finfo_ward_encrypted_text_to_bytea, ward_encrypted_text_to_bytea => |call| to_bytea(call, EncryptedText);
    pg_finfo_ward_secret_text_from_text, ward_secret_text_from_text => |call| from_text(call, SecretText);
    pg_finfo_ward_secret_text_from_bytea, ward_secret_text_from_bytea => |call| from_bytea(call, SecretText);
    pg_finfo_ward_secret_text_recode, ward_secret_text_recode => |call| recode(call, SecretText);
    pg_finfo_ward_secret_text_to_text, ward_secret_text_to_text => |call| to_text(call, SecretText);
    pg_finfo_ward_secret_text_to_bytea, ward_secret_text_to_bytea => |call| to_bytea(call, SecretText);
    pg_finfo_ward_encrypted_text_search_tag, ward_encrypted_text_search_tag => search_tag;
    pg_finfo_ward_encrypted_text_retag, ward_encrypted_text_retag => |call| {
        call.with_bytes(0, |value| Ok(convert::retag(value)?.datum()))
    };
}

/// Always encrypts: text from a table may be anybody's, also while a superuser handles it.
fn from_text(call: &Call, column: ColumnType) -> Result<pg_sys::Datum, Error> {
    call.with_bytes(0, |text| {
        let text = values::to_utf8(text)?;
        Ok(convert::seal(column, &text, call.int4(1))?.datum())
    })
}

fn from_bytea(call: &Call, column: ColumnType) -> Result<pg_sys::Datum, Error> {
    call.with_bytes(0, |bytes| {
        // What is not text of this database could not be read as such.
        values::from_utf8(bytes)?;
        Ok(convert::seal(column, bytes, call.int4(1))?.datum())
    })
}

fn recode(call: &Call, column: ColumnType) -> Result<pg_sys::Datum, Error> {
    let other = call.with_bytes(0, |value| {
        convert::recode(column, value, call.int4(1), who::restores())
    })?;
    Ok(other.map_or_else(|| call.datum(0), Varlena::datum))
}

fn to_text(call: &Call, column: ColumnType) -> Result<pg_sys::Datum, Error> {
    let text = call.with_bytes(0, |value| convert::open(column, value))?;
    Ok(TextValue::from_utf8(text)?.0.datum())
}

fn to_bytea(call: &Call, column: ColumnType) -> Result<pg_sys::Datum, Error> {
    let text = call.with_bytes(0, |value| convert::open(column, value))?;
    Ok(text.datum())
}

/// The bytes that decide equality, for indexes on values that are too long for one.
fn search_tag(call: &Call) -> Result<pg_sys::Datum, Error> {
    call.with_bytes(0, |value| {
        EncryptedText.parse(value)?;
        let tag = value.get(SEARCH_START..SEARCH_START + SEARCH_LEN);
        let tag = tag.unwrap_or_default();
        Ok(Varlena::copy_of(tag)?.datum())
    })
}
