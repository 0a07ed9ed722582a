//! Values under a key of the registry: encrypting, decrypting, moving to the active version.

use crate::error::Result;
use crate::keys::{KeyError, Usage, with_registry};
use crate::pg::keys::acl;
use crate::pg::values::{self, Bytea, ByteaArg, Jsonb, JsonbValue, Text, TextValue, Varlena};
use pgrx::prelude::*;
use std::borrow::Cow;
use ward_crypto::{Envelope, OVERHEAD, ValueType};
use zeroize::Zeroizing;

type Sealed<T> = std::result::Result<T, KeyError>;

/// Encrypts text.
#[pg_extern(name = "encrypt", volatile, parallel_safe)]
pub(super) fn encrypt_text(
    value: Option<Text<'_>>,
    key: default!(Option<Text<'_>>, "NULL"),
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<Bytea>> {
    let Some(value) = value else { return Ok(None) };
    Ok(Some(seal(ValueType::Text, &value.utf8()?, key, aad)?))
}

/// Encrypts bytes.
#[pg_extern(name = "encrypt", volatile, parallel_safe)]
pub(super) fn encrypt_bytea(
    value: Option<ByteaArg<'_>>,
    key: default!(Option<Text<'_>>, "NULL"),
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<Bytea>> {
    let Some(value) = value else { return Ok(None) };
    Ok(Some(seal(ValueType::Bytea, value.bytes(), key, aad)?))
}

/// Encrypts a jsonb document, as PostgreSQL prints it.
#[pg_extern(name = "encrypt", volatile, parallel_safe)]
pub(super) fn encrypt_jsonb(
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
pub(super) fn decrypt(
    value: Option<ByteaArg<'_>>,
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<TextValue>> {
    let Some(value) = value else { return Ok(None) };
    let opened = open(ValueType::Text, value.bytes(), aad)?;
    Ok(Some(TextValue::from_utf8(opened)?))
}

/// Decrypts what was bytea.
#[pg_extern(stable, parallel_safe)]
pub(super) fn decrypt_bytea(
    value: Option<ByteaArg<'_>>,
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<Bytea>> {
    let Some(value) = value else { return Ok(None) };
    Ok(Some(Bytea(open(ValueType::Bytea, value.bytes(), aad)?)))
}

/// Decrypts what was jsonb.
#[pg_extern(stable, parallel_safe)]
pub(super) fn decrypt_jsonb(
    value: Option<ByteaArg<'_>>,
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<JsonbValue>> {
    let Some(value) = value else { return Ok(None) };
    let opened = open(ValueType::Jsonb, value.bytes(), aad)?;
    Ok(Some(JsonbValue::from_utf8(opened)?))
}

/// Encrypts a value again, as what it was, under the active version of its key. One that is under it
/// already comes back as it is.
#[pg_extern(volatile, parallel_safe)]
pub(super) fn reencrypt(
    value: Option<ByteaArg<'_>>,
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<Bytea>> {
    let Some(value) = value else { return Ok(None) };
    let aad = aad.map(|aad| aad.utf8()).transpose()?;
    Ok(Some(Bytea(renew(value.bytes(), aad.as_deref())?)))
}

fn seal(
    value_type: ValueType,
    plaintext: &[u8],
    key: Option<Text<'_>>,
    aad: Option<Text<'_>>,
) -> Sealed<Bytea> {
    let aad = aad.map(|aad| aad.utf8()).transpose()?;
    let name = key.map(|name| name.utf8()).transpose()?;
    let mut out = Varlena::new(plaintext.len().saturating_add(OVERHEAD))?;
    seal_to(
        value_type,
        plaintext,
        name.as_deref(),
        aad.as_deref(),
        out.bytes_mut(),
    )?;
    Ok(Bytea(out))
}

/// Fills `out` with the envelope of a value, under the key of this name or the default one.
pub fn seal_to(
    value_type: ValueType,
    plaintext: &[u8],
    key: Option<&[u8]>,
    aad: Option<&[u8]>,
    out: &mut [u8],
) -> Sealed<()> {
    let user = acl::current_user();
    with_registry(|registry| {
        let key = match key {
            None => registry.default_key()?,
            Some(name) => registry.by_name_bytes(name)?,
        };
        key.require(user, Usage::Encrypt)?;
        key.seal_to(value_type, plaintext, aad, out)
    })
}

fn open(expected: ValueType, value: &[u8], aad: Option<Text<'_>>) -> Sealed<Varlena> {
    let aad: Option<Cow<'_, [u8]>> = aad.map(|aad| aad.utf8()).transpose()?;
    open_as(expected, value, aad.as_deref(), Usage::Decrypt)
}

/// The value in an envelope, for a role that has `usage` of its key.
pub fn open_as(
    expected: ValueType,
    value: &[u8],
    aad: Option<&[u8]>,
    usage: Usage,
) -> Sealed<Varlena> {
    let envelope = Envelope::parse(value)?;
    envelope.expect_type(expected)?;
    let user = acl::current_user();
    let mut out = Varlena::new(envelope.plaintext_len())?;
    with_registry(|registry| {
        let (key, version) = registry.by_id(envelope.key_id())?;
        key.require(user, usage)?;
        let decryptor = key.decryptor(version)?;
        Ok(decryptor.open_to(&envelope, aad, out.bytes_mut())?)
    })?;
    Ok(out)
}

fn renew(value: &[u8], aad: Option<&[u8]>) -> Sealed<Varlena> {
    let envelope = Envelope::parse(value)?;
    let user = acl::current_user();
    let mut plaintext = Zeroizing::new(values::zeroed(envelope.plaintext_len())?);
    let mut out = Varlena::new(value.len())?;
    with_registry(|registry| {
        let (key, version) = registry.by_id(envelope.key_id())?;
        key.require(user, Usage::Decrypt)?;
        key.require(user, Usage::Encrypt)?;
        // Also when it is active already: what comes back is authentic.
        key.decryptor(version)?
            .open_to(&envelope, aad, &mut plaintext)?;
        if key.active()? == version {
            out.bytes_mut().copy_from_slice(value);
            return Ok(());
        }
        let value_type = envelope.value_type();
        key.seal_to(value_type, &plaintext, aad, out.bytes_mut())
    })?;
    Ok(out)
}
