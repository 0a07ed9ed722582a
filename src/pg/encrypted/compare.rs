//! Equality, order and hash of `encrypted_text`: of its search tag and nothing else. None of them
//! decrypts, looks anything up, or raises, so vacuum, ANALYZE and index builds need no grant.

use super::call::{Call, sql_functions};
use pgrx::prelude::*;
use pgrx::varlena::varlena_to_byte_slice;
use std::cmp::Ordering;
use std::ffi::c_int;
use ward_crypto::{SEARCH_LEN, SEARCH_START};

sql_functions! {
    pg_finfo_ward_encrypted_text_eq, ward_encrypted_text_eq => |call| Ok(holds(order(call).is_eq()));
    pg_finfo_ward_encrypted_text_ne, ward_encrypted_text_ne => |call| Ok(holds(order(call).is_ne()));
    pg_finfo_ward_encrypted_text_lt, ward_encrypted_text_lt => |call| Ok(holds(order(call).is_lt()));
    pg_finfo_ward_encrypted_text_le, ward_encrypted_text_le => |call| Ok(holds(order(call).is_le()));
    pg_finfo_ward_encrypted_text_ge, ward_encrypted_text_ge => |call| Ok(holds(order(call).is_ge()));
    pg_finfo_ward_encrypted_text_gt, ward_encrypted_text_gt => |call| Ok(holds(order(call).is_gt()));
    pg_finfo_ward_encrypted_text_cmp, ward_encrypted_text_cmp => |call| Ok(pg_sys::Datum::from(order(call) as i32));
    pg_finfo_ward_encrypted_text_hash, ward_encrypted_text_hash => |call| {
        let tag = searched(call.datum(0));
        // SAFETY: reads as many bytes as are told.
        Ok(pg_sys::Datum::from(unsafe { hash_bytes(tag.as_ptr(), SEARCH_LEN as c_int) }))
    };
    pg_finfo_ward_encrypted_text_hash_extended, ward_encrypted_text_hash_extended => |call| {
        let tag = searched(call.datum(0));
        let seed = call.datum(1).value() as u64;
        // SAFETY: reads as many bytes as are told.
        Ok(pg_sys::Datum::from(unsafe { hash_bytes_extended(tag.as_ptr(), SEARCH_LEN as c_int, seed) }))
    };
}

unsafe extern "C" {
    /// Declared in common/hashfn.h.
    fn hash_bytes(bytes: *const u8, len: c_int) -> u32;
    /// Declared in common/hashfn.h.
    fn hash_bytes_extended(bytes: *const u8, len: c_int, seed: u64) -> u64;
}

type Searched = [u8; SEARCH_LEN];

fn holds(condition: bool) -> pg_sys::Datum {
    pg_sys::Datum::from(condition)
}

fn order(call: &Call) -> Ordering {
    searched(call.datum(0)).cmp(&searched(call.datum(1)))
}

/// The bytes that decide equality. Of a long value that is stored out of line only its beginning is
/// fetched.
fn searched(value: pg_sys::Datum) -> Searched {
    // SAFETY: the argument is of type encrypted_text, a varlena, and not NULL as the functions are
    // STRICT. The copy of the slice is freed, because index builds compare without a context of
    // their own.
    unsafe {
        let stored = value.cast_mut_ptr::<pg_sys::varlena>();
        if crate::pg::heap::is_plain(stored) {
            return within(varlena_to_byte_slice(stored));
        }
        let part = pg_sys::pg_detoast_datum_slice(stored, 0, (SEARCH_START + SEARCH_LEN) as i32);
        let searched = within(varlena_to_byte_slice(part));
        pg_sys::pfree(part.cast());
        searched
    }
}

/// A value that is too short cannot come from the type's functions; it is some value all the same.
fn within(value: &[u8]) -> Searched {
    let searched = value.get(SEARCH_START..).and_then(<[u8]>::first_chunk);
    searched.copied().unwrap_or_default()
}
