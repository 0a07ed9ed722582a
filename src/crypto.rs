//! SQL functions of field encryption.

use crate::error::Result;
use crate::keys::{KeyError, Usage, with_registry};
use crate::pg::keys::acl;
use crate::pg::values::{Bytea, Jsonb, JsonbValue, Text, TextValue, Varlena};
use pgrx::prelude::*;
use std::borrow::Cow;
use ward_crypto::{CryptoError, Envelope, OVERHEAD, ValueType};

/// Encrypts text.
#[pg_extern(name = "encrypt", volatile, parallel_safe)]
fn encrypt_text(
    value: Option<Text<'_>>,
    key: default!(Option<Text<'_>>, "NULL"),
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<Bytea>> {
    let Some(value) = value else { return Ok(None) };
    Ok(Some(seal(ValueType::Text, &value.utf8()?, key, aad)?))
}

/// Encrypts bytes.
#[pg_extern(name = "encrypt", volatile, parallel_safe)]
fn encrypt_bytea(
    value: Option<&[u8]>,
    key: default!(Option<Text<'_>>, "NULL"),
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<Bytea>> {
    let Some(value) = value else { return Ok(None) };
    Ok(Some(seal(ValueType::Bytea, value, key, aad)?))
}

/// Encrypts a jsonb document, as PostgreSQL prints it.
#[pg_extern(name = "encrypt", volatile, parallel_safe)]
fn encrypt_jsonb(
    value: Option<Jsonb>,
    key: default!(Option<Text<'_>>, "NULL"),
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<Bytea>> {
    let Some(value) = value else { return Ok(None) };
    Ok(Some(seal(ValueType::Jsonb, &value.utf8()?, key, aad)?))
}

/// Decrypts what was text.
// Never IMMUTABLE: the planner would run it and EXPLAIN would print the result.
#[pg_extern(stable, parallel_safe)]
fn decrypt(
    value: Option<&[u8]>,
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<TextValue>> {
    let Some(value) = value else { return Ok(None) };
    let opened = open(ValueType::Text, value, aad)?;
    Ok(Some(TextValue::from_utf8(opened)?))
}

/// Decrypts what was bytea.
#[pg_extern(stable, parallel_safe)]
fn decrypt_bytea(
    value: Option<&[u8]>,
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<Bytea>> {
    let Some(value) = value else { return Ok(None) };
    Ok(Some(Bytea(open(ValueType::Bytea, value, aad)?)))
}

/// Decrypts what was jsonb.
#[pg_extern(stable, parallel_safe)]
fn decrypt_jsonb(
    value: Option<&[u8]>,
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<JsonbValue>> {
    let Some(value) = value else { return Ok(None) };
    let opened = open(ValueType::Jsonb, value, aad)?;
    Ok(Some(JsonbValue::from_utf8(opened)?))
}

fn seal(
    value_type: ValueType,
    plaintext: &[u8],
    key: Option<Text<'_>>,
    aad: Option<Text<'_>>,
) -> std::result::Result<Bytea, KeyError> {
    let aad = aad.map(|aad| aad.utf8()).transpose()?;
    let name = key.map(|name| name.utf8()).transpose()?;
    let user = acl::current_user();
    let mut out = Varlena::new(plaintext.len().saturating_add(OVERHEAD))?;
    with_registry(|registry| {
        let key = match &name {
            None => registry.default_key()?,
            Some(name) => registry.by_name(&String::from_utf8_lossy(name))?,
        };
        key.require(user, Usage::Encrypt)?;
        let mut seal = || {
            let encryptor = key.encryptor()?;
            let sealed = encryptor.seal_to(value_type, plaintext, aad.as_deref(), out.bytes_mut());
            if sealed == Err(CryptoError::NonceExhausted) {
                key.renew_encryptor();
            }
            Ok::<_, KeyError>(sealed)
        };
        // Once in 2^32 values the nonce prefix is used up; the second attempt has a fresh one.
        match seal()? {
            Err(CryptoError::NonceExhausted) => Ok(seal()??),
            sealed => Ok(sealed?),
        }
    })?;
    Ok(Bytea(out))
}

fn open(
    expected: ValueType,
    value: &[u8],
    aad: Option<Text<'_>>,
) -> std::result::Result<Varlena, KeyError> {
    let aad: Option<Cow<'_, [u8]>> = aad.map(|aad| aad.utf8()).transpose()?;
    let envelope = Envelope::parse(value)?;
    envelope.expect_type(expected)?;
    let user = acl::current_user();
    let mut out = Varlena::new(envelope.plaintext_len())?;
    with_registry(|registry| {
        let (key, version) = registry.by_id(envelope.key_id())?;
        key.require(user, Usage::Decrypt)?;
        let decryptor = key.decryptor(version)?;
        Ok(decryptor.open_to(&envelope, aad.as_deref(), out.bytes_mut())?)
    })?;
    Ok(out)
}

pgrx::extension_sql_file!(
    "../sql/crypto_functions.sql",
    name = "ward_crypto_functions",
    requires = [
        encrypt_text,
        encrypt_bytea,
        encrypt_jsonb,
        decrypt,
        decrypt_bytea,
        decrypt_jsonb
    ]
);
