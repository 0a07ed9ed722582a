//! Catalog look-ups by oid.

use super::{encoding, heap, owner};
use crate::error::{self, Result};
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

/// What kind of relation an oid is.
pub struct Kind {
    /// pg_class.relkind
    pub letter: u8,
    /// In pg_catalog or information_schema, or a toast table.
    pub system: bool,
    /// A temporary table.
    pub temporary: bool,
    /// In the extension's own schema.
    pub of_ward: bool,
}

/// The kind of relation `oid`, None when there is none.
pub fn kind(oid: pg_sys::Oid) -> Option<Kind> {
    // SAFETY: syscache look-ups that give invalid values for unknown oids.
    unsafe {
        let letter = pg_sys::get_rel_relkind(oid) as u8;
        if letter == 0 {
            return None;
        }
        let namespace = pg_sys::get_rel_namespace(oid);
        let information = pg_sys::get_namespace_oid(c"information_schema".as_ptr(), true);
        Some(Kind {
            letter,
            system: oid.to_u32() < pg_sys::FirstNormalObjectId
                || pg_sys::IsCatalogNamespace(namespace)
                || pg_sys::IsToastNamespace(namespace)
                || namespace == information,
            temporary: pg_sys::get_rel_persistence(oid) as u8 == pg_sys::RELPERSISTENCE_TEMP,
            of_ward: namespace == pg_sys::get_namespace_oid(c"ward".as_ptr(), true),
        })
    }
}

/// The owner of a relation, None when there is no such relation.
pub fn owner(oid: pg_sys::Oid) -> Option<pg_sys::Oid> {
    Some(owner::owner_of(oid)).filter(|owner| *owner != pg_sys::InvalidOid)
}

/// Schema-qualified, quoted name of a relation, in the server's encoding.
pub fn qualified_name(oid: pg_sys::Oid) -> CString {
    // SAFETY: NULL names, for an oid that vanished, become empty.
    unsafe {
        let namespace = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(oid));
        let name = pg_sys::get_rel_name(oid);
        if namespace.is_null() || name.is_null() {
            return CString::default();
        }
        CStr::from_ptr(pg_sys::quote_qualified_identifier(namespace, name)).to_owned()
    }
}

/// Text of the server for a message, which is not converted on its way: where the server's encoding
/// is another than UTF-8, anything but ASCII becomes a question mark.
pub fn shown(text: &CStr) -> String {
    // SAFETY: reads a constant of the database.
    if unsafe { pg_sys::GetDatabaseEncoding() } == pg_sys::pg_enc::PG_UTF8 as i32 {
        return text.to_string_lossy().into_owned();
    }
    encoding::to_utf8(text)
        .chars()
        .map(|c| if c.is_ascii() { c } else { '?' })
        .collect()
}

/// Whether relation `oid` has a (not dropped) column `name`.
pub fn has_column(oid: pg_sys::Oid, name: &CStr) -> bool {
    // SAFETY: a syscache look-up.
    unsafe { pg_sys::get_attnum(oid, name.as_ptr()) > 0 }
}

/// The texts, in the server's encoding, that `query` gives for $1, an oid, and texts from $2 on.
/// It sees the latest state of the catalog, whatever the isolation level.
pub fn texts(query: &str, relation: pg_sys::Oid, texts: Option<&[String]>) -> Result<Vec<CString>> {
    let query = CString::new(query).map_err(|_| failed(0))?;
    let mut types = vec![pg_sys::OIDOID];
    let mut values = vec![pg_sys::Datum::from(relation)];
    for text in texts.unwrap_or_default() {
        // A name with a character that this database cannot hold is no name in it.
        let Some(text) = encoding::from_utf8(text) else {
            return Ok(Vec::new());
        };
        types.push(pg_sys::TEXTOID);
        values.push(pg_sys::Datum::from(heap::varlena(text.to_bytes())));
    }
    // SAFETY: as many types as values, none of them NULL; the results are copied before SPI frees them.
    owner::run(|| unsafe {
        pg_sys::SPI_connect();
        let code = pg_sys::SPI_execute_with_args(
            query.as_ptr(),
            types.len() as i32,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            std::ptr::null(),
            true,
            0,
        );
        if code != pg_sys::SPI_OK_SELECT as i32 {
            return Err(failed(code));
        }
        let table = pg_sys::SPI_tuptable;
        let mut found = Vec::new();
        for number in 0..pg_sys::SPI_processed as usize {
            let text = pg_sys::SPI_getvalue(*(*table).vals.add(number), (*table).tupdesc, 1);
            if !text.is_null() {
                found.push(CStr::from_ptr(text).to_owned());
            }
        }
        pg_sys::SPI_finish();
        Ok(found)
    })
}

/// The oids that `query` gives as texts for $1.
pub fn oids(query: &str, relation: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>> {
    texts(query, relation, None)?
        .iter()
        .map(|text| match text.to_str().map(str::parse::<u32>) {
            Ok(Ok(oid)) => Ok(pg_sys::Oid::from(oid)),
            _ => Err(failed(0)),
        })
        .collect()
}

/// Runs a command that is in the server's encoding.
pub fn execute(command: &CStr) -> Result<()> {
    // SAFETY: errors of the command are raised; what it returns is a code.
    unsafe {
        pg_sys::SPI_connect();
        let code = pg_sys::SPI_execute(command.as_ptr(), false, 0);
        pg_sys::SPI_finish();
        if code < 0 { Err(failed(code)) } else { Ok(()) }
    }
}

fn failed(code: i32) -> pgrx::pg_sys::panic::ErrorReport {
    error::report(
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        format!("a catalog query of pg_ward failed with code {code}"),
    )
}

/// Tells all backends that what they keep about `relation` is stale.
pub fn invalidate(relation: Option<pg_sys::Oid>) {
    if let Some(relation) = relation {
        // SAFETY: the relation exists; the message is sent at commit.
        unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) }
    }
}

/// Tells all backends that what they keep about any relation is stale, plans included.
pub fn invalidate_all() {
    // SAFETY: the message is queued in this transaction and sent at commit.
    unsafe { pg_sys::CacheInvalidateRelcacheAll() }
}
