//! Set-returning functions that fill a tuple store, which spills to disk beyond work_mem.

use super::{encoding, heap};
use crate::error;
use pgrx::prelude::*;

/// Before the number of a character that the database's encoding does not have.
const ESCAPE: &str = "\\u";
/// The same within a JSON string.
const JSON_ESCAPE: &str = "\\\\u";

/// A column's value.
pub enum Cell<'a> {
    /// NULL
    Null,
    /// bigint, and everything passed by value
    Int8(i64),
    /// text
    Text(&'a str),
    /// jsonb, given as JSON text
    Jsonb(String),
    /// bytea
    Bytes(&'a [u8]),
    /// text[]
    TextArray(Vec<&'a str>),
}

impl<'a> From<Option<&'a str>> for Cell<'a> {
    fn from(text: Option<&'a str>) -> Self {
        text.map_or(Cell::Null, Cell::Text)
    }
}

/// The result of a set-returning function.
pub struct Rows {
    store: *mut pg_sys::Tuplestorestate,
    desc: pg_sys::TupleDesc,
    context: pg_sys::MemoryContext,
}

impl Rows {
    /// Starts the result of the function called with `fcinfo`.
    ///
    /// # Safety
    /// `fcinfo` is the one the function manager passed; the function returns SETOF record.
    pub unsafe fn begin(fcinfo: pg_sys::FunctionCallInfo) -> Rows {
        // SAFETY: the caller's promise; InitMaterializedSRF raises where a set is not accepted.
        unsafe {
            pg_sys::InitMaterializedSRF(fcinfo, 0);
            let info = (*fcinfo).resultinfo.cast::<pg_sys::ReturnSetInfo>();
            Rows {
                store: (*info).setResult,
                desc: (*info).setDesc,
                context: pg_sys::AllocSetContextCreateExtended(
                    pg_sys::CurrentMemoryContext,
                    c"pg_ward result row".as_ptr(),
                    pg_sys::ALLOCSET_DEFAULT_MINSIZE as usize,
                    pg_sys::ALLOCSET_DEFAULT_INITSIZE as usize,
                    pg_sys::ALLOCSET_DEFAULT_MAXSIZE as usize,
                ),
            }
        }
    }

    /// Forgets every row.
    pub fn clear(&mut self) {
        // SAFETY: the store is open for writing; nobody has read from it.
        unsafe { pg_sys::tuplestore_clear(self.store) }
    }

    /// Adds a row. Raises when the number of cells is not that of the declared columns.
    pub fn put(&mut self, cells: &[Cell]) {
        // SAFETY: as many values as columns; they live in the row context until copied.
        unsafe {
            if (*self.desc).natts as usize != cells.len() {
                error::raise(error::report(
                    PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                    "the function is declared with other columns than it returns",
                ));
            }
            let previous = pg_sys::MemoryContextSwitchTo(self.context);
            let mut nulls: Vec<bool> = cells
                .iter()
                .map(|cell| matches!(cell, Cell::Null))
                .collect();
            let mut values: Vec<pg_sys::Datum> = cells.iter().map(|cell| datum(cell)).collect();
            pg_sys::MemoryContextSwitchTo(previous);
            pg_sys::tuplestore_putvalues(
                self.store,
                self.desc,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            pg_sys::MemoryContextReset(self.context);
        }
    }
}

/// # Safety
/// Allocates in the current memory context.
unsafe fn datum(cell: &Cell) -> pg_sys::Datum {
    match cell {
        Cell::Null => pg_sys::Datum::null(),
        Cell::Int8(value) => pg_sys::Datum::from(*value),
        Cell::Bytes(bytes) => pg_sys::Datum::from(heap::varlena(bytes)),
        Cell::Text(text) => pg_sys::Datum::from(heap::varlena(&encoding::shown(text, ESCAPE))),
        Cell::Jsonb(text) => {
            // A character outside ASCII stands in a string, where the escape is text, too.
            let mut text = encoding::shown(text, JSON_ESCAPE).into_owned();
            text.push(0);
            // SAFETY: jsonb's input function, with the NUL-terminated text it expects.
            unsafe {
                pgrx::direct_function_call_as_datum(
                    pg_sys::jsonb_in,
                    &[Some(pg_sys::Datum::from(text.as_ptr()))],
                )
                .unwrap_or(pg_sys::Datum::null())
            }
        }
        Cell::TextArray(items) => {
            // SAFETY: as many datums as items, all text.
            unsafe {
                let mut values: Vec<pg_sys::Datum> = items
                    .iter()
                    .map(|text| pg_sys::Datum::from(heap::varlena(&encoding::shown(text, ESCAPE))))
                    .collect();
                pg_sys::Datum::from(pg_sys::construct_array(
                    values.as_mut_ptr(),
                    values.len() as i32,
                    pg_sys::TEXTOID,
                    -1,
                    false,
                    pg_sys::TYPALIGN_INT as std::ffi::c_char,
                ))
            }
        }
    }
}

/// Tells PostgreSQL the calling convention of `ward_audit_entries`.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ward_audit_entries() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// The function `ward.audit_entries()`.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ward_audit_entries(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: fcinfo is the function manager's.
    let mut rows = unsafe { Rows::begin(fcinfo) };
    if let Err(report) = crate::audit::entries::entries(&mut rows) {
        error::raise(report);
    }
    pg_sys::Datum::null()
}

/// Tells PostgreSQL the calling convention of `ward_audit_history`.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ward_audit_history() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// The function `ward.audit_history(regclass, text)`.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ward_audit_history(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: fcinfo is the function manager's, and the types of the arguments are as declared.
    let (mut rows, table, record) = unsafe {
        let table = pgrx::fcinfo::pg_getarg::<pg_sys::Oid>(fcinfo, 0);
        let record = pgrx::fcinfo::pg_getarg::<&[u8]>(fcinfo, 1);
        (Rows::begin(fcinfo), table, record)
    };
    let record = record.map(encoding::bytes_to_utf8);
    let record = record.as_deref().map(String::from_utf8_lossy);
    if let Err(report) = crate::audit::records::history(&mut rows, table, record.as_deref()) {
        error::raise(report);
    }
    pg_sys::Datum::null()
}

/// Tells PostgreSQL the calling convention of `ward_audit_entry`.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ward_audit_entry() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// The function `ward.audit_entry(bigint)`.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ward_audit_entry(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: fcinfo is the function manager's, and the type of the argument is as declared.
    let (mut rows, id) = unsafe {
        let id = pgrx::fcinfo::pg_getarg::<i64>(fcinfo, 0);
        (Rows::begin(fcinfo), id)
    };
    if let Err(report) = crate::audit::records::entry(&mut rows, id) {
        error::raise(report);
    }
    pg_sys::Datum::null()
}

/// Tells PostgreSQL the calling convention of `ward_audit_trail_of_blocks`.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ward_audit_trail_of_blocks() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// The function `ward.audit_trail_of_blocks(bigint, bigint)`.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ward_audit_trail_of_blocks(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: fcinfo is the function manager's, and the types of the arguments are as declared.
    let (mut rows, first, last) = unsafe {
        let first = pgrx::fcinfo::pg_getarg::<i64>(fcinfo, 0);
        let last = pgrx::fcinfo::pg_getarg::<i64>(fcinfo, 1);
        (Rows::begin(fcinfo), first, last)
    };
    if let Err(report) = crate::audit::records::blocks(&mut rows, first, last) {
        error::raise(report);
    }
    pg_sys::Datum::null()
}

/// Tells PostgreSQL the calling convention of `ward_audit_row_states`.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ward_audit_row_states() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// The function `ward.audit_row_states(regclass)`.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ward_audit_row_states(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: fcinfo is the function manager's, and the type of the argument is as declared.
    let (mut rows, table) = unsafe {
        let table = pgrx::fcinfo::pg_getarg::<pg_sys::Oid>(fcinfo, 0);
        (Rows::begin(fcinfo), table)
    };
    if let Err(report) = crate::audit::current::states(&mut rows, table) {
        error::raise(report);
    }
    pg_sys::Datum::null()
}

/// Tells PostgreSQL the calling convention of `ward_audit_table_differences`.
#[unsafe(no_mangle)]
pub extern "C" fn pg_finfo_ward_audit_table_differences() -> &'static pg_sys::Pg_finfo_record {
    const VERSION_1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
    &VERSION_1
}

/// The function `ward.audit_table_differences()`.
///
/// # Safety
/// Called by PostgreSQL's function manager.
#[unsafe(no_mangle)]
#[pg_guard]
pub unsafe extern "C-unwind" fn ward_audit_table_differences(
    fcinfo: pg_sys::FunctionCallInfo,
) -> pg_sys::Datum {
    // SAFETY: fcinfo is the function manager's.
    let mut rows = unsafe { Rows::begin(fcinfo) };
    if let Err(report) = crate::audit::memory::differences(&mut rows) {
        error::raise(report);
    }
    pg_sys::Datum::null()
}
