//! Input and output, as text and binary.

use super::call::{Call, cstring, sql_functions};
use super::reveal;
use crate::encrypted::{Error, convert, input};
use crate::pg::values::{self, TextValue, Varlena};
use pgrx::prelude::*;
use std::borrow::Cow;
use std::ffi::CStr;
use ward_crypto::ColumnType::{self, EncryptedText, SecretText};

sql_functions! {
    pg_finfo_ward_encrypted_text_in, ward_encrypted_text_in => |call| read(call, EncryptedText);
    pg_finfo_ward_encrypted_text_out, ward_encrypted_text_out => |call| print(call, EncryptedText);
    pg_finfo_ward_encrypted_text_recv, ward_encrypted_text_recv => |call| receive(call, EncryptedText);
    pg_finfo_ward_encrypted_text_send, ward_encrypted_text_send => |call| send(call, EncryptedText);
    pg_finfo_ward_secret_text_in, ward_secret_text_in => |call| read(call, SecretText);
    pg_finfo_ward_secret_text_out, ward_secret_text_out => |call| print(call, SecretText);
    pg_finfo_ward_secret_text_recv, ward_secret_text_recv => |call| receive(call, SecretText);
    pg_finfo_ward_secret_text_send, ward_secret_text_send => |call| send(call, SecretText);
}

fn read(call: &Call, column: ColumnType) -> Result<pg_sys::Datum, Error> {
    let text = values::to_utf8(call.cstring(0).to_bytes())?;
    Ok(input::from_text(column, &text, call.int4(2))?.datum())
}

fn print(call: &Call, column: ColumnType) -> Result<pg_sys::Datum, Error> {
    call.with_bytes(0, |value| match revealed(column, value)? {
        Some(mut text) => {
            let text = text.0.bytes_mut();
            cstring(text.len(), |out| {
                out.copy_from_slice(text);
                Ok(())
            })
        }
        None => cstring(column.text_len(value.len()), |out| {
            Ok(column.write_text(value, out)?)
        }),
    })
}

fn send(call: &Call, column: ColumnType) -> Result<pg_sys::Datum, Error> {
    call.with_bytes(0, |value| match revealed(column, value)? {
        Some(mut text) => Ok(for_client(text.0.bytes_mut())?.datum()),
        None => Ok(Varlena::copy_of(value)?.datum()),
    })
}

/// The text, where it may be shown.
fn revealed(column: ColumnType, value: &[u8]) -> Result<Option<TextValue>, Error> {
    if !reveal::active() {
        return Ok(None);
    }
    match convert::open_if_allowed(column, value)? {
        Some(text) => Ok(Some(TextValue::from_utf8(text)?)),
        None => Ok(None),
    }
}

/// Text of the database in the client's encoding, as text sent in binary format is.
fn for_client(text: &[u8]) -> Result<Varlena, Error> {
    let len = std::ffi::c_int::try_from(text.len()).map_err(|_| Error::TooLong)?;
    // SAFETY: reads as many bytes as are told; gives the same pointer when nothing is to be
    // converted, else a NUL-terminated copy.
    let converted = unsafe {
        let start = text.as_ptr().cast::<std::ffi::c_char>();
        let converted = pg_sys::pg_server_to_client(start, len);
        (converted.cast_const() != start).then(|| CStr::from_ptr(converted).to_bytes())
    };
    Ok(Varlena::copy_of(converted.unwrap_or(text))?)
}

/// Clients send text, in binary format as well: what is binary about a text is nothing.
fn receive(call: &Call, column: ColumnType) -> Result<pg_sys::Datum, Error> {
    let message = call.datum(0).cast_mut_ptr::<pg_sys::StringInfoData>();
    // SAFETY: the declared type is internal, and receive functions get a StringInfo. All of it is
    // consumed, as the protocol demands.
    let bytes = unsafe {
        let start = usize::try_from((*message).cursor).unwrap_or(0);
        let end = usize::try_from((*message).len).unwrap_or(0);
        (*message).cursor = (*message).len;
        std::slice::from_raw_parts(
            (*message).data.cast::<u8>().add(start),
            end.saturating_sub(start),
        )
    };
    let value = if input::is_binary(column, bytes) {
        input::from_binary(column, bytes, call.int4(2))?
    } else {
        let text = client_text(bytes).ok_or(Error::NotText)?;
        input::from_text(column, &text, call.int4(2))?
    };
    Ok(value.datum())
}

/// Text of the client in UTF-8; none when it is not text that this database could hold.
fn client_text(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    // SAFETY: reads the state of this process.
    let encoding = unsafe { pg_sys::pg_get_client_encoding() };
    let text = values::utf8_from(bytes, encoding).ok()?;
    // What has no place in the database's encoding could not be read again.
    values::from_utf8(&text).ok()?;
    Some(text)
}
