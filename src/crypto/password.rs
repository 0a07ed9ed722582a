//! Values under a password.

use super::error::{CryptoRefusal, MAX_PASSWORD_LEN};
use super::password_cache::{with_encryptor, with_key};
use crate::error::Result;
use crate::keys::KeyError;
use crate::pg::values::{Bytea, Text, TextValue, Varlena};
use pgrx::prelude::*;
use std::borrow::Cow;
use ward_crypto::{CryptoError, PASSWORD_OVERHEAD, PasswordEnvelope, ValueType};

// Not parallel safe: each worker would derive the key anew. The cost is what the planner goes by when
// it orders conditions.
/// Encrypts text with a password.
#[pg_extern(volatile, parallel_restricted, cost = 100000)]
pub(super) fn encrypt_with_password(
    value: Option<Text<'_>>,
    password: Option<Text<'_>>,
    iterations: default!(Option<i32>, 600000),
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<Bytea>> {
    let Some(value) = value else { return Ok(None) };
    let iterations = iterations.ok_or(KeyError::Null("iterations"))?;
    let iterations =
        u32::try_from(iterations).map_err(|_| KeyError::from(CryptoError::Iterations))?;
    Ok(Some(seal(value, password, iterations, aad)?))
}

/// Decrypts what was encrypted with a password.
// Never IMMUTABLE: the planner would run it and EXPLAIN would print the result.
#[pg_extern(stable, parallel_restricted, cost = 100000)]
pub(super) fn decrypt_with_password(
    value: Option<&[u8]>,
    password: Option<Text<'_>>,
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<TextValue>> {
    let Some(value) = value else { return Ok(None) };
    let opened = open(value, password, aad)?;
    Ok(Some(TextValue::from_utf8(opened)?))
}

fn seal(
    value: Text<'_>,
    password: Option<Text<'_>>,
    iterations: u32,
    aad: Option<Text<'_>>,
) -> std::result::Result<Bytea, CryptoRefusal> {
    let plaintext = value.utf8()?;
    let password = parse(password.as_ref())?;
    let aad = aad.map(|aad| aad.utf8()).transpose()?;
    let len = plaintext.len().saturating_add(PASSWORD_OVERHEAD);
    let mut out = Varlena::new(len)?;
    with_encryptor(&password, iterations, |encryptor| {
        encryptor.seal_to(ValueType::Text, &plaintext, aad.as_deref(), out.bytes_mut())
    })?;
    Ok(Bytea(out))
}

fn open(
    value: &[u8],
    password: Option<Text<'_>>,
    aad: Option<Text<'_>>,
) -> std::result::Result<Varlena, CryptoRefusal> {
    let envelope = PasswordEnvelope::parse(value)?;
    envelope.expect_type(ValueType::Text)?;
    let password = parse(password.as_ref())?;
    let aad = aad.map(|aad| aad.utf8()).transpose()?;
    let mut out = Varlena::new(envelope.plaintext_len())?;
    with_key(&password, *envelope.params(), |key| {
        key.open_to(&envelope, aad.as_deref(), out.bytes_mut())
    })?;
    Ok(out)
}

/// A password's bytes are those of its text in UTF-8, as it was typed.
fn parse<'a>(password: Option<&'a Text<'_>>) -> std::result::Result<Cow<'a, [u8]>, CryptoRefusal> {
    let password = password.ok_or(KeyError::Null("password"))?.utf8()?;
    if (1..=MAX_PASSWORD_LEN).contains(&password.len()) {
        Ok(password)
    } else {
        Err(CryptoRefusal::PasswordLength)
    }
}
