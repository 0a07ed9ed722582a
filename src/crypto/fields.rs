//! Fields of a JSON document.

use super::error::CryptoRefusal;
use super::field_tree::{Tree, parse};
use super::values::{open_as, seal_to};
use crate::error::Result;
use crate::keys::{KeyError, Usage};
use crate::pg::jsonb::{Replacement, Value, WalkError, rewrite};
use crate::pg::text_array::TextArray;
use crate::pg::values::{self, Jsonb, JsonbValue, Text};
use pgrx::prelude::*;
use ward_crypto::{OVERHEAD, ValueType, field_envelope, field_text, field_text_len, is_field_text};
use zeroize::Zeroizing;

/// The longest string that jsonb holds.
const MAX_STRING: usize = 0x0FFF_FFFF;

/// Encrypts the fields of a document that the paths name. What a path does not find is left alone.
#[pg_extern(volatile, parallel_safe)]
pub(super) fn encrypt_fields(
    doc: Option<Jsonb>,
    fields: Option<TextArray<'_>>,
    key: default!(Option<Text<'_>>, "NULL"),
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<JsonbValue>> {
    let Some(doc) = doc else { return Ok(None) };
    let key = key.map(|key| key.utf8()).transpose()?;
    let encrypted = transform(&doc, fields, aad, |place, bound, value| {
        if let Some(envelope) = ciphertext(place, value)? {
            return match open_as(ValueType::Jsonb, &envelope, Some(bound), Usage::Import) {
                Ok(_) => Ok(Replacement::Same),
                Err(KeyError::NoGrant { .. }) => Err(CryptoRefusal::AlreadyEncrypted(place)),
                Err(error) => Err(error.into()),
            };
        }
        let plaintext = Zeroizing::new(value.utf8()?);
        let text_len = field_text_len(plaintext.len().saturating_add(OVERHEAD));
        if text_len > MAX_STRING {
            return Err(CryptoRefusal::FieldTooLong(place));
        }
        let mut envelope = values::zeroed(plaintext.len().saturating_add(OVERHEAD))?;
        seal_to(
            ValueType::Jsonb,
            &plaintext,
            key.as_deref(),
            Some(bound),
            &mut envelope,
        )?;
        let room = values::text_buffer(text_len)?;
        Ok(Replacement::Text(field_text(&envelope, room)))
    })?;
    Ok(Some(encrypted))
}

/// Decrypts the fields of a document that the paths name.
#[pg_extern(stable, parallel_safe)]
pub(super) fn decrypt_fields(
    doc: Option<Jsonb>,
    fields: Option<TextArray<'_>>,
    aad: default!(Option<Text<'_>>, "NULL"),
) -> Result<Option<JsonbValue>> {
    let Some(doc) = doc else { return Ok(None) };
    let decrypted = transform(&doc, fields, aad, |place, bound, value| {
        // A plain value would pass for an authentic one.
        let envelope = ciphertext(place, value)?.ok_or(CryptoRefusal::NotEncrypted(place))?;
        let opened = open_as(ValueType::Jsonb, &envelope, Some(bound), Usage::Decrypt)?;
        Ok(Replacement::Document(JsonbValue::from_utf8(opened)?))
    })?;
    Ok(Some(decrypted))
}

/// The envelope in a value that looks like an encrypted field.
fn ciphertext(place: usize, value: &Value) -> std::result::Result<Option<Vec<u8>>, CryptoRefusal> {
    let text = value.string().unwrap_or_default();
    if !is_field_text(text) {
        return Ok(None);
    }
    let room = values::buffer(text.len())?;
    field_envelope(text, room).map_err(|reason| CryptoRefusal::LookAlike { place, reason })
}

/// Replaces each named field. `replace` gets the number of the field in the list, what it is bound to,
/// and its value.
fn transform(
    doc: &Jsonb,
    fields: Option<TextArray<'_>>,
    aad: Option<Text<'_>>,
    mut replace: impl FnMut(usize, &[u8], &mut Value) -> std::result::Result<Replacement, CryptoRefusal>,
) -> std::result::Result<JsonbValue, CryptoRefusal> {
    let aad = aad.map(|aad| aad.utf8()).transpose()?;
    let paths = parse(fields.as_ref())?;
    let tree = Tree::new(&paths)?;
    if tree.is_empty() {
        return Ok(doc.unchanged());
    }
    let bound: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| path.binding(aad.as_deref()))
        .collect::<std::result::Result<_, _>>()?;
    rewrite(doc, &tree, |number, value| {
        let bound = bound.get(number).ok_or(CryptoRefusal::Mismatch)?;
        replace(number + 1, bound, value)
    })
    .map_err(|error| match error {
        WalkError::Mismatch => CryptoRefusal::Mismatch,
        WalkError::Replace(refusal) => refusal,
    })
}
