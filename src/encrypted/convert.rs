//! From text to values of the column types, from one key to another, and back to text.
//!
//! Every way in which a role can make or read a value ends here, and here its grants are checked.

use super::error::Error;
use super::search;
use crate::keys::{KeyError, Purpose, Registry, Usage, make_search_key, with_registry};
use crate::pg::keys::acl;
use crate::pg::values::{self, MAX_LEN, Varlena};
use pgrx::pg_sys::Oid;
use ward_crypto::{ColumnType, ColumnValue, Form, ValueType};
use zeroize::Zeroizing;

/// What a type without a modifier has in its place.
pub const NO_MODIFIER: i32 = -1;

/// The longest value, so that its text form fits where PostgreSQL keeps texts: what is stored can be
/// dumped.
const MAX_VALUE_LEN: usize = (MAX_LEN - 64) / 4 * 3;

/// The value of `text`, which is UTF-8, for a column of this modifier; a literal where there is none.
pub fn seal(column: ColumnType, text: &[u8], modifier: i32) -> Result<Varlena, Error> {
    let len = text.len().saturating_add(column.overhead());
    if len > MAX_VALUE_LEN {
        return Err(Error::TooLong);
    }
    let mut out = Varlena::new(len)?;
    with_search_key(|registry| write(registry, column, text, modifier, out.bytes_mut()))?;
    Ok(out)
}

/// The text of a value, in UTF-8.
pub fn open(column: ColumnType, value: &[u8]) -> Result<Varlena, Error> {
    let value = column.parse(value)?;
    if value.form == Form::Literal {
        return Err(Error::Literal(column));
    }
    let mut out = Varlena::new(value.envelope.plaintext_len())?;
    let user = acl::current_user();
    with_registry(|registry| read(registry, column, &value, user, out.bytes_mut()))?;
    Ok(out)
}

/// The text of a value, in UTF-8; `None` for what this role cannot read: it has no grant, or the key is
/// not to be had.
pub fn open_if_allowed(column: ColumnType, value: &[u8]) -> Result<Option<Varlena>, Error> {
    match open(column, value) {
        Err(
            Error::Literal(_)
            | Error::Key(
                KeyError::NoGrant { .. }
                | KeyError::UnknownId(_)
                | KeyError::Disabled(_)
                | KeyError::Destroyed(_),
            ),
        ) => Ok(None),
        opened => opened.map(Some),
    }
}

/// What a value becomes in a column of this modifier; `None` when it stays as it is. `restoring`:
/// keys may be missing, values under them stay as they are.
pub fn recode(
    column: ColumnType,
    value: &[u8],
    modifier: i32,
    restoring: bool,
) -> Result<Option<Varlena>, Error> {
    if modifier < 0 {
        return Ok(None);
    }
    let parsed = column.parse(value)?;
    if parsed.form == Form::Stored {
        let same = with_registry(|registry| Ok(relation(registry, &parsed, modifier)?.is_same()));
        match same {
            Ok(true) => return Ok(None),
            Ok(false) => {}
            Err(error) if restoring && is_missing(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    let mut text = Zeroizing::new(values::zeroed(parsed.envelope.plaintext_len())?);
    let user = acl::current_user();
    let mut out = Varlena::new(value.len())?;
    with_search_key(|registry| {
        match parsed.form {
            Form::Stored => read(registry, column, &parsed, user, &mut text)?,
            Form::Literal => search::open_literal(registry, column, &parsed.envelope, &mut text)?,
        }
        write(registry, column, &text, modifier, out.bytes_mut())
    })?;
    Ok(Some(out))
}

/// Refuses ciphertext that is known to be under another key than the column's.
pub fn require_same_key(value: &ColumnValue<'_>, modifier: i32) -> Result<(), Error> {
    match with_registry(|registry| relation(registry, value, modifier)) {
        Ok(Relation::Other { found, expected }) => Err(Error::OtherKey { found, expected }),
        // The value's key is known: it is not the column's.
        Err(unknown @ KeyError::UnknownModifier(_)) => Err(unknown.into()),
        // A dump's rows may come before its keys, or to where the keys never were.
        _ => Ok(()),
    }
}

/// The same value with the tag of the active search key.
pub fn retag(value: &[u8]) -> Result<Varlena, Error> {
    let column = ColumnType::EncryptedText;
    let parsed = column.parse(value)?;
    let mut text = Zeroizing::new(values::zeroed(parsed.envelope.plaintext_len())?);
    let mut out = Varlena::new(value.len())?;
    let user = acl::current_user();
    if parsed.form == Form::Literal {
        return Err(Error::Literal(column));
    }
    with_registry(|registry| {
        registry
            .by_id(parsed.envelope.key_id())?
            .0
            .require(user, Usage::Search)?;
        read(registry, column, &parsed, user, &mut text)?;
        let (tag, id) = search::tag(registry, &text)?;
        out.bytes_mut().copy_from_slice(value);
        column.write_head(Form::Stored, Some((&tag, id)), out.bytes_mut());
        Ok(())
    })?;
    Ok(out)
}

enum Relation {
    Same,
    Other { found: String, expected: String },
}

impl Relation {
    fn is_same(&self) -> bool {
        matches!(self, Self::Same)
    }
}

fn relation(
    registry: &mut Registry,
    value: &ColumnValue<'_>,
    modifier: i32,
) -> Result<Relation, KeyError> {
    let found = registry.by_id(value.envelope.key_id())?.0.name.clone();
    let expected = registry.by_modifier(modifier)?;
    if expected.name == found {
        return Ok(Relation::Same);
    }
    let expected = expected.name.clone();
    Ok(Relation::Other { found, expected })
}

fn is_missing(error: &KeyError) -> bool {
    matches!(
        error,
        KeyError::UnknownId(_) | KeyError::NoMaster | KeyError::WrongMaster { .. }
    )
}

/// Runs `f`; makes the search key when that is all that is missing.
fn with_search_key(f: impl FnMut(&mut Registry) -> Result<(), Error>) -> Result<(), Error> {
    let mut f = f;
    // What the closure of the registry cannot carry is kept beside it.
    let mut run = || {
        let mut refused = None;
        with_registry(|registry| match f(registry) {
            Err(Error::Key(error)) => Err(error),
            Err(other) => {
                refused = Some(other);
                Ok(())
            }
            Ok(()) => Ok(()),
        })
        .map_err(Error::Key)?;
        refused.map_or(Ok(()), Err)
    };
    match run() {
        Err(Error::Key(KeyError::NoInternal(Purpose::Search))) => {
            make_search_key()?;
            run()
        }
        done => done,
    }
}

fn write(
    registry: &mut Registry,
    column: ColumnType,
    text: &[u8],
    modifier: i32,
    out: &mut [u8],
) -> Result<(), Error> {
    let user = acl::current_user();
    let searchable = column == ColumnType::EncryptedText;
    if modifier < 0 {
        let usage = if searchable {
            Usage::Search
        } else {
            Usage::Encrypt
        };
        if !registry.allows_any(user, usage) {
            return Err(no_grant_at_all(user, usage));
        }
    } else {
        let key = registry.by_modifier(modifier)?;
        key.require(user, Usage::Encrypt)?;
        if searchable {
            key.require(user, Usage::Search)?;
        }
    }
    let (head, envelope) = out.split_at_mut(column.head_len());
    let form = if modifier < 0 {
        Form::Literal
    } else {
        Form::Stored
    };
    if searchable {
        let (tag, id) = search::tag(registry, text)?;
        column.write_head(form, Some((&tag, id)), head);
    } else {
        column.write_head(form, None, head);
    }
    match form {
        Form::Literal => search::seal_literal(registry, column, text, envelope)?,
        Form::Stored => registry.by_modifier(modifier)?.seal_to(
            ValueType::Text,
            text,
            Some(column.aad()),
            envelope,
        )?,
    }
    Ok(())
}

fn read(
    registry: &mut Registry,
    column: ColumnType,
    value: &ColumnValue<'_>,
    user: Oid,
    out: &mut [u8],
) -> Result<(), KeyError> {
    let (key, version) = registry.by_id(value.envelope.key_id())?;
    key.require(user, Usage::Decrypt)?;
    Ok(key
        .decryptor(version)?
        .open_to(&value.envelope, Some(column.aad()), out)?)
}

fn no_grant_at_all(user: Oid, usage: Usage) -> Error {
    Error::NoGrantAtAll {
        role: acl::role_name(user).unwrap_or_else(|| "unknown".to_owned()),
        usage,
    }
}
