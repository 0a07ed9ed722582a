//! Small helpers around heap tuples and varlena values.

use super::unguarded;
use crate::error;
use pgrx::prelude::*;
use std::mem::ManuallyDrop;
use std::ptr;

/// Opens a table of the log. Raises when it is gone, has other columns than these, or is not stored as a
/// heap, which is the only form that the native reads and writes of the log understand.
///
/// # Safety
/// Inside a transaction; the caller closes the relation.
pub unsafe fn open(oid: pg_sys::Oid, lock: i32, columns: &[pg_sys::Oid]) -> pg_sys::Relation {
    // SAFETY: the caller's promise.
    unsafe {
        let relation = pg_sys::table_open(oid, lock);
        if (*(*relation).rd_rel).relam != pg_sys::HEAP_TABLE_AM_OID {
            error::raise(error::report(
                PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
                "a table of the audit log does not use the heap access method",
            ));
        }
        let descriptor = (*relation).rd_att;
        // Borrowed from the relation: dropping it would give back a pin that was not taken.
        let found = ManuallyDrop::new(pgrx::PgTupleDesc::from_pg(descriptor));
        if found.len() != columns.len()
            || found
                .iter()
                .zip(columns)
                .any(|(column, expected)| column.atttypid != *expected)
        {
            altered();
        }
        relation
    }
}

fn altered() -> ! {
    error::raise(error::report(
        PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        "a table of the audit log does not have the columns it was created with",
    ))
}

/// The columns of `tuple`, None where NULL. Raises if the table does not have exactly `N` columns,
/// which only someone who altered it can bring about.
///
/// # Safety
/// `tuple` and `desc` belong to the same relation.
pub unsafe fn deform<const N: usize>(
    tuple: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
) -> [Option<pg_sys::Datum>; N] {
    // SAFETY: the caller's promise; the arrays hold as many columns as the descriptor.
    unsafe {
        if (*desc).natts != N as i32 {
            altered();
        }
        let mut values = [pg_sys::Datum::null(); N];
        let mut nulls = [true; N];
        pg_sys::heap_deform_tuple(tuple, desc, values.as_mut_ptr(), nulls.as_mut_ptr());
        std::array::from_fn(|i| (!nulls[i]).then_some(values[i]))
    }
}

/// Calls `visit` with the columns of the row at a place (block, offset), if the active snapshot sees one there.
///
/// # Safety
/// `relation` is open. The values are valid during the visit only.
pub unsafe fn fetch<const N: usize, R>(
    relation: pg_sys::Relation,
    place: (u32, u16),
    visit: impl FnOnce([Option<pg_sys::Datum>; N]) -> R,
) -> Option<R> {
    // SAFETY: a zeroed HeapTupleData with t_self set is what heap_fetch expects; the pin, and with it the tuple, is kept
    // until the visit is over.
    unsafe {
        let mut tuple = pg_sys::HeapTupleData::default();
        pgrx::itemptr::item_pointer_set_all(&mut tuple.t_self, place.0, place.1);
        let mut buffer: pg_sys::Buffer = 0;
        let seen = pg_sys::heap_fetch(
            relation,
            pg_sys::GetActiveSnapshot(),
            &mut tuple,
            &mut buffer,
            false,
        );
        if !seen {
            return None;
        }
        let result = visit(deform(&mut tuple, (*relation).rd_att));
        pg_sys::ReleaseBuffer(buffer);
        Some(result)
    }
}

/// Calls `use_bytes` with the payload of a varlena datum, detoasted if need be.
///
/// # Safety
/// `datum` points to a varlena value.
pub unsafe fn with_bytes<R>(datum: pg_sys::Datum, use_bytes: impl FnOnce(&[u8]) -> R) -> R {
    // SAFETY: the caller's promise; a detoasted copy is freed after use.
    unsafe {
        let stored = datum.cast_mut_ptr::<pg_sys::varlena>();
        if is_plain(stored) {
            return use_bytes(pgrx::varlena::varlena_to_byte_slice(stored));
        }
        let copy = pg_sys::pg_detoast_datum_packed(stored);
        let result = use_bytes(pgrx::varlena::varlena_to_byte_slice(copy));
        pg_sys::pfree(copy.cast());
        result
    }
}

/// Whether the value is stored inline and uncompressed.
///
/// # Safety
/// `value` points to a varlena value.
pub unsafe fn is_plain(value: *const pg_sys::varlena) -> bool {
    // SAFETY: the caller's promise.
    unsafe { !pgrx::varlena::varatt_is_1b_e(value) && !pgrx::varlena::varatt_is_4b_c(value) }
}

/// A palloc'ed varlena holding `bytes`. Raises above PostgreSQL's limit of 1 GB.
pub fn varlena(bytes: &[u8]) -> *mut pg_sys::varlena {
    let size = bytes.len() + pg_sys::VARHDRSZ;
    // SAFETY: palloc raises for sizes it cannot serve; size includes the header.
    unsafe {
        let data = unguarded::allocated(size).unwrap_or_else(|| pg_sys::palloc(size).cast());
        let data = data.cast::<pg_sys::varlena>();
        pgrx::varlena::set_varsize_4b(data, size as i32);
        ptr::copy_nonoverlapping(
            bytes.as_ptr(),
            data.cast::<u8>().add(pg_sys::VARHDRSZ),
            bytes.len(),
        );
        data
    }
}
