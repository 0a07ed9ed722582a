//! Queries that see exactly the active snapshot. pgrx's `Spi::select` takes a new snapshot for each
//! query once the transaction has written anything; a reader that compares several tables with each
//! other must not have that.

use super::heap;
use pgrx::prelude::*;
use std::ffi::CStr;

/// Rows fetched at once.
const BATCH: std::ffi::c_long = 1000;

/// An argument of a query.
pub enum Arg<'a> {
    /// bytea
    Bytes(&'a [u8]),
    /// smallint
    Int2(i16),
    /// bigint
    Int8(i64),
    /// bigint[]
    Int8s(&'a [u64]),
}

/// One row of a result.
pub struct Row {
    tuple: pg_sys::HeapTuple,
    desc: pg_sys::TupleDesc,
}

/// Runs `query` read-only with the active snapshot and calls `visit` for every row.
pub fn read(query: &CStr, args: &[Arg], mut visit: impl FnMut(&Row)) {
    read_while(query, args, |row| {
        visit(row);
        true
    });
}

/// Runs `query` read-only with the active snapshot and calls `visit` for the rows until it answers
/// false.
pub fn read_while(query: &CStr, args: &[Arg], mut visit: impl FnMut(&Row) -> bool) {
    let mut types: Vec<pg_sys::Oid> = Vec::with_capacity(args.len());
    let mut values: Vec<pg_sys::Datum> = Vec::with_capacity(args.len());
    for arg in args {
        let (oid, value) = match arg {
            Arg::Bytes(bytes) => (pg_sys::BYTEAOID, pg_sys::Datum::from(heap::varlena(bytes))),
            Arg::Int2(value) => (pg_sys::INT2OID, pg_sys::Datum::from(*value)),
            Arg::Int8(value) => (pg_sys::INT8OID, pg_sys::Datum::from(*value)),
            Arg::Int8s(values) => (pg_sys::INT8ARRAYOID, array(values)),
        };
        types.push(oid);
        values.push(value);
    }
    // SAFETY: types and values have the same length; NULL nulls means no NULLs; the tuple table is
    // valid until the next fetch, and `visit` gets nothing that outlives it.
    unsafe {
        pg_sys::SPI_connect();
        let portal = pg_sys::SPI_cursor_open_with_args(
            std::ptr::null(),
            query.as_ptr(),
            args.len() as i32,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            std::ptr::null(),
            true,
            pg_sys::CURSOR_OPT_NO_SCROLL as i32,
        );
        loop {
            pg_sys::SPI_cursor_fetch(portal, true, BATCH);
            let table = pg_sys::SPI_tuptable;
            let count = pg_sys::SPI_processed as usize;
            let mut more = true;
            for number in 0..count {
                more = visit(&Row {
                    tuple: *(*table).vals.add(number),
                    desc: (*table).tupdesc,
                });
                if !more {
                    break;
                }
            }
            pg_sys::SPI_freetuptable(table);
            pgrx::check_for_interrupts!();
            if !more || count < BATCH as usize {
                break;
            }
        }
        pg_sys::SPI_cursor_close(portal);
        pg_sys::SPI_finish();
    }
}

fn array(numbers: &[u64]) -> pg_sys::Datum {
    let mut items: Vec<pg_sys::Datum> = numbers
        .iter()
        .map(|number| pg_sys::Datum::from(*number as i64))
        .collect();
    // SAFETY: as many datums as items; bigint has 8 bytes, is passed by value and so aligned.
    pg_sys::Datum::from(unsafe {
        pg_sys::construct_array(
            items.as_mut_ptr(),
            items.len() as i32,
            pg_sys::INT8OID,
            8,
            true,
            pg_sys::TYPALIGN_DOUBLE as std::ffi::c_char,
        )
    })
}

impl Row {
    fn datum(&self, column: i32) -> Option<pg_sys::Datum> {
        let mut null = false;
        // SAFETY: the tuple fits its descriptor; a wrong column number gives NULL.
        let datum = unsafe { pg_sys::SPI_getbinval(self.tuple, self.desc, column, &mut null) };
        (!null).then_some(datum)
    }

    /// A value as it is, None when NULL. Valid during the visit.
    pub fn value(&self, column: i32) -> Option<pg_sys::Datum> {
        self.datum(column)
    }

    /// A row's place, None when NULL.
    pub fn place(&self, column: i32) -> Option<pg_sys::ItemPointerData> {
        // SAFETY: the callers name tid columns here.
        self.datum(column)
            .map(|datum| unsafe { *datum.cast_mut_ptr::<pg_sys::ItemPointerData>() })
    }

    /// A bigint, -1 when NULL.
    pub fn int8(&self, column: i32) -> i64 {
        self.datum(column).map_or(-1, |datum| datum.value() as i64)
    }

    /// Calls `use_bytes` with a bytea, or None when it is NULL.
    pub fn with_bytes<R>(&self, column: i32, use_bytes: impl FnOnce(Option<&[u8]>) -> R) -> R {
        match self.datum(column) {
            None => use_bytes(None),
            // SAFETY: the callers name bytea columns here.
            Some(datum) => unsafe { heap::with_bytes(datum, |bytes| use_bytes(Some(bytes))) },
        }
    }

    /// A bytea, empty when NULL.
    pub fn bytes(&self, column: i32) -> Vec<u8> {
        self.with_bytes(column, |bytes| bytes.unwrap_or_default().to_vec())
    }
}
