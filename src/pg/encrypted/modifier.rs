//! Type modifiers: the key's name in the parentheses of a column's type.

use super::call::{Call, cstring, sql_functions};
use crate::encrypted::{Error, modifier};
use crate::pg::encoding;
use pgrx::prelude::*;
use std::ffi::{CStr, c_char, c_int};
use ward_crypto::ColumnType::{self, EncryptedText, SecretText};

sql_functions! {
    pg_finfo_ward_encrypted_text_typmod_in, ward_encrypted_text_typmod_in => |call| read(call, EncryptedText);
    pg_finfo_ward_secret_text_typmod_in, ward_secret_text_typmod_in => |call| read(call, SecretText);
    pg_finfo_ward_encrypted_text_typmod_out, ward_encrypted_text_typmod_out => print;
}

fn read(call: &Call, column: ColumnType) -> Result<pg_sys::Datum, Error> {
    let words = words(call.datum(0)).ok_or(Error::BadModifier(column))?;
    Ok(pg_sys::Datum::from(modifier::parse(column, &words)?))
}

fn print(call: &Call) -> Result<pg_sys::Datum, Error> {
    let number = call.int4(0);
    // SAFETY: reads the state of this process. While a change is decoded only the catalogs of its time
    // can be read; the registry's table would raise.
    let decoding = unsafe { pg_sys::HistoricSnapshotActive() };
    let shown = if decoding {
        modifier::without_name(number)
    } else {
        modifier::shown(number)
    };
    let shown = encoding::from_utf8(&shown)
        .or_else(|| encoding::from_utf8(&modifier::numbered(number)))
        .ok_or(Error::BadModifier(EncryptedText))?;
    let shown = shown.to_bytes();
    cstring(shown.len(), |out| {
        out.copy_from_slice(shown);
        Ok(())
    })
}

/// The elements of an array of cstring; none when it has a NULL.
fn words(array: pg_sys::Datum) -> Option<Vec<String>> {
    // SAFETY: the declared type is cstring[], whose elements have length -2 and alignment char. The
    // elements stay where they are until the strings are copied.
    unsafe {
        let array = pg_sys::pg_detoast_datum(array.cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let mut elements = std::ptr::null_mut();
        let mut nulls = std::ptr::null_mut();
        let mut count: c_int = 0;
        pg_sys::deconstruct_array(
            array,
            pg_sys::CSTRINGOID,
            -2,
            false,
            pg_sys::TYPALIGN_CHAR as c_char,
            &mut elements,
            &mut nulls,
            &mut count,
        );
        (0..usize::try_from(count).ok()?)
            .map(|at| {
                if *nulls.add(at) {
                    return None;
                }
                let element = CStr::from_ptr((*elements.add(at)).cast_mut_ptr());
                Some(encoding::to_utf8(element))
            })
            .collect()
    }
}
