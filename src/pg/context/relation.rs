//! What isolating a table needs of the relation and type caches.

use crate::pg::catalog;
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

/// The comment of an index that was created for isolation, and is dropped with it.
pub const CREATED: &str = "Created by pg_ward for isolation.";

/// Locks a relation against everybody else until the transaction ends. The caller must have
/// checked that the user owns it.
pub fn lock_exclusively(relation: pg_sys::Oid) {
    // SAFETY: takes any OID; a relation that was dropped meanwhile is noticed by the next query.
    unsafe { pg_sys::LockRelationOid(relation, pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE) }
}

/// The type a domain is over, through any number of domains; other types are their own.
pub fn base_type(type_oid: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: the OID comes from pg_attribute; an unknown one raises an ERROR.
    unsafe { pg_sys::getBaseType(type_oid) }
}

/// The statements that create an index on one column, in the server's encoding.
pub struct NewIndex {
    /// CREATE INDEX
    pub create: CString,
    /// COMMENT ON INDEX
    pub comment: CString,
    /// The schema of the table and the index.
    pub schema: pg_sys::Oid,
    /// The name of the index.
    pub name: CString,
}

impl NewIndex {
    /// An index with a name that is free now.
    pub fn on(table: pg_sys::Oid, column: i16, concurrently: bool) -> Self {
        // SAFETY: catalog look-ups by oid, which raise or give NULL for what was dropped; the names
        // are palloc'ed, NUL-terminated, and copied.
        let (schema, name, quoted_column) = unsafe {
            let schema = pg_sys::get_rel_namespace(table);
            let attribute = pg_sys::get_attname(table, column, false);
            let name = pg_sys::ChooseRelationName(
                pg_sys::get_rel_name(table),
                attribute,
                c"idx".as_ptr(),
                schema,
                false,
            );
            (schema, CStr::from_ptr(name).to_owned(), quoted(attribute))
        };
        // SAFETY: NUL-terminated.
        let quoted_name = unsafe { quoted(name.as_ptr()) };
        // SAFETY: the namespace of an existing table.
        let quoted_schema = unsafe { quoted(pg_sys::get_namespace_name(schema)) };
        let table = catalog::qualified_name(table);
        let concurrently: &[u8] = if concurrently { b" CONCURRENTLY" } else { b"" };
        let create = [
            b"CREATE INDEX",
            concurrently,
            b" ",
            quoted_name.as_bytes(),
            b" ON ",
            table.as_bytes(),
            b" (",
            quoted_column.as_bytes(),
            b")",
        ]
        .concat();
        let comment = [
            b"COMMENT ON INDEX ",
            quoted_schema.as_bytes(),
            b".",
            quoted_name.as_bytes(),
            b" IS '",
            CREATED.as_bytes(),
            b"'",
        ]
        .concat();
        NewIndex {
            create: statement(create),
            comment: statement(comment),
            schema,
            name,
        }
    }
}

/// # Safety
/// `identifier` is NULL or NUL-terminated.
unsafe fn quoted(identifier: *const std::ffi::c_char) -> CString {
    if identifier.is_null() {
        return CString::default();
    }
    // SAFETY: the result is the argument or a palloc'ed copy.
    unsafe { CStr::from_ptr(pg_sys::quote_identifier(identifier)).to_owned() }
}

/// Names come from C strings, so that there is no NUL in them.
fn statement(bytes: Vec<u8>) -> CString {
    CString::new(bytes).unwrap_or_default()
}
