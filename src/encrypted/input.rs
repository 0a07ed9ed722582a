//! What clients send: text to encrypt, or, from the few who may, ciphertext.
//!
//! Ciphertext is taken as such only from those who could decrypt it anyway or restore a dump. Taken
//! from anybody, a stolen ciphertext in one's own field would be decrypted for the thief.

use super::convert::{self, NO_MODIFIER};
use super::error::Error;
use crate::keys::{Usage, with_registry};
use crate::pg::encrypted::who;
use crate::pg::keys::acl;
use crate::pg::values::{self, Varlena};
use ward_crypto::{ColumnType, ColumnValue, Form};

/// A value from a literal, a parameter in text format, or COPY. `text` is UTF-8.
pub fn from_text(column: ColumnType, text: &[u8], modifier: i32) -> Result<Varlena, Error> {
    if text.starts_with(column.prefix().as_bytes()) {
        match column.from_text(text, values::buffer(text.len())?) {
            Some(bytes) => {
                let value = column.parse(&bytes)?;
                if may_import(&value) {
                    return import(column, &bytes, &value, modifier);
                }
            }
            // A damaged dump must not be taken for texts.
            None if who::restores() => return Err(Error::Malformed(column)),
            None => {}
        }
    }
    convert::seal(column, text, modifier)
}

/// A value that came as bytes which have the form of ciphertext, so cannot be text.
pub fn from_binary(column: ColumnType, bytes: &[u8], modifier: i32) -> Result<Varlena, Error> {
    let value = column.parse(bytes)?;
    if !may_import(&value) {
        return Err(Error::Import(column));
    }
    import(column, bytes, &value, modifier)
}

/// Whether the bytes have the form of ciphertext.
pub fn is_binary(column: ColumnType, bytes: &[u8]) -> bool {
    column.parse(bytes).is_ok()
}

fn import(
    column: ColumnType,
    bytes: &[u8],
    value: &ColumnValue<'_>,
    modifier: i32,
) -> Result<Varlena, Error> {
    if modifier != NO_MODIFIER && !who::applies_changes() {
        if value.form == Form::Literal
            && let Some(stored) = convert::recode(column, bytes, modifier, false)?
        {
            return Ok(stored);
        }
        convert::require_same_key(value, modifier)?;
    }
    Ok(Varlena::copy_of(bytes)?)
}

/// Literals open under no key of a grant, so nobody is granted to bring them.
fn may_import(value: &ColumnValue<'_>) -> bool {
    if who::restores() {
        return true;
    }
    let user = acl::current_user();
    value.form == Form::Stored
        && with_registry(|registry| {
            let (key, _) = registry.by_id(value.envelope.key_id())?;
            key.require(user, Usage::Import)
        })
        .is_ok()
}
