//! What stored values say of themselves without being decrypted.

use crate::error::Result;
use crate::keys::{KeyError, with_registry};
use pgrx::prelude::*;
use ward_crypto::{ColumnType, Envelope};

/// The version of a value's key, as `name/version`; NULL for what is no value of `ward.encrypt`.
#[pg_extern(name = "key_version", stable, parallel_safe)]
fn key_version_of_envelope(value: &[u8]) -> Result<Option<String>> {
    describe(Envelope::parse(value).ok())
}

/// The version of the key of a value of type `ward.encrypted_text`.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."key_version"(ward.encrypted_text) RETURNS text
STABLE STRICT PARALLEL SAFE LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#, requires = ["ward_encrypted"])]
fn key_version_of_encrypted(value: &[u8]) -> Result<Option<String>> {
    let parsed = ColumnType::EncryptedText.parse(value);
    describe(parsed.ok().map(|value| value.envelope))
}

/// The version of the key of a value of type `ward.secret_text`.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."key_version"(ward.secret_text) RETURNS text
STABLE STRICT PARALLEL SAFE LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#, requires = ["ward_encrypted"])]
fn key_version_of_secret(value: &[u8]) -> Result<Option<String>> {
    let parsed = ColumnType::SecretText.parse(value);
    describe(parsed.ok().map(|value| value.envelope))
}

fn describe(envelope: Option<Envelope<'_>>) -> Result<Option<String>> {
    let Some(envelope) = envelope else {
        return Ok(None);
    };
    let key_id = envelope.key_id();
    let named = with_registry(|registry| {
        let (key, place) = registry.by_id(key_id)?;
        let version = key.versions.get(place).map_or(0, |version| version.version);
        Ok(format!("{}/{version}", key.name))
    });
    match named {
        Err(KeyError::UnknownId(id)) => Ok(Some(format!("unknown key {id}"))),
        named => Ok(Some(named?)),
    }
}
