//! Input and output, as text and binary.

use super::call::{Call, cstring, sql_functions};
use crate::encrypted::{Error, input};
use crate::pg::values::{self, Varlena};
use pgrx::prelude::*;
use std::borrow::Cow;
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
    call.with_bytes(0, |value| {
        cstring(column.text_len(value.len()), |out| {
            Ok(column.write_text(value, out)?)
        })
    })
}

fn send(call: &Call, _column: ColumnType) -> Result<pg_sys::Datum, Error> {
    call.with_bytes(0, |value| Ok(Varlena::copy_of(value)?.datum()))
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
