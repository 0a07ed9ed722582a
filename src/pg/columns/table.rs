//! A table that is being converted, and its columns.

use crate::error::{self, Result};
use crate::pg::catalog;
use crate::pg::heap;
use crate::pg::relation::attribute;
use crate::pg::values::{TextValue, Varlena};
use pgrx::prelude::*;
use std::ffi::{CStr, CString, c_int};
use ward_crypto::ColumnType;

/// Rows per block of a table that was never analyzed: many, so that a batch is rather too small.
const UNKNOWN_DENSITY: f64 = 100.0;

/// An ordinary table or a partition, open and locked as for writing, owned by the caller.
pub struct Table {
    relation: pg_sys::Relation,
}

/// A column.
pub struct Column {
    /// Its place among the columns, from 0.
    pub index: usize,
    /// Its quoted name, in the server's encoding.
    pub quoted: CString,
    /// Its type.
    pub kind: Kind,
    /// The type's modifier.
    pub modifier: i32,
}

/// What conversions need to know of a type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// text or character varying
    Text,
    /// bytea
    Bytea,
    /// An encrypted column type.
    Encrypted(ColumnType),
    /// Any other.
    Other,
}

/// A value of a type stored as a varlena.
pub struct Value(pub(super) pg_sys::Datum);

impl Value {
    /// Calls `f` with the content.
    pub fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        // SAFETY: made of columns of such types only.
        unsafe { heap::with_bytes(self.0, f) }
    }

    /// A new value.
    pub fn new(content: Varlena) -> Self {
        Self(content.datum())
    }

    /// A new value of type text, from UTF-8.
    pub fn text(content: Varlena) -> Result<Self> {
        Ok(Self(TextValue::from_utf8(content)?.0.datum()))
    }

    /// Whether both are the same bytes, so that one was copied from the other.
    pub fn same(&self, other: &Value) -> bool {
        self.with_bytes(|bytes| other.with_bytes(|others| bytes == others))
    }
}

impl Table {
    /// Opens a table that the caller owns.
    pub fn open(oid: pg_sys::Oid) -> Result<Self> {
        require_owner(oid)?;
        // SAFETY: raises when the table is gone; closed in `drop`, the lock stays.
        let relation = unsafe { pg_sys::table_open(oid, pg_sys::RowExclusiveLock as c_int) };
        let table = Self { relation };
        // SAFETY: the relation is open.
        let kind = unsafe { (*(*relation).rd_rel).relkind } as u8;
        if kind != pg_sys::RELKIND_RELATION {
            return Err(error::report(
                PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
                format!("{} is not an ordinary table", table.shown()),
            ));
        }
        Ok(table)
    }

    /// PostgreSQL's form.
    pub(super) fn relation(&self) -> pg_sys::Relation {
        self.relation
    }

    /// Schema and name, quoted, in the server's encoding.
    pub fn quoted(&self) -> CString {
        // SAFETY: the relation is open.
        catalog::qualified_name(unsafe { (*self.relation).rd_id })
    }

    /// Schema and name for a message.
    pub fn shown(&self) -> String {
        catalog::shown(&self.quoted())
    }

    /// How many rows a block holds on average, as the statistics say.
    pub fn rows_per_block(&self) -> f64 {
        // SAFETY: the relation is open.
        let (rows, blocks) = unsafe {
            let class = &*(*self.relation).rd_rel;
            (f64::from(class.reltuples), f64::from(class.relpages))
        };
        if rows > 0.0 && blocks > 0.0 {
            (rows / blocks).max(1.0)
        } else {
            UNKNOWN_DENSITY
        }
    }

    /// The column of this name.
    pub fn column(&self, name: &CStr) -> Result<Column> {
        // SAFETY: the relation is open.
        unsafe { column(self.relation, name) }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: opened in `open`. While an error unwinds, the transaction's end closes it.
        unsafe {
            if !std::thread::panicking() {
                pg_sys::table_close(self.relation, pg_sys::NoLock as c_int);
            }
        }
    }
}

/// The column `name` of an open relation.
///
/// # Safety
/// `relation` is open.
pub(super) unsafe fn column(relation: pg_sys::Relation, name: &CStr) -> Result<Column> {
    // SAFETY: the caller's promise; the descriptor has as many attributes as it says.
    unsafe {
        let desc = (*relation).rd_att;
        for index in 0..(*desc).natts as usize {
            let attribute = &*attribute(desc, index);
            if attribute.attisdropped || CStr::from_ptr(attribute.attname.data.as_ptr()) != name {
                continue;
            }
            return Ok(Column {
                index,
                quoted: CStr::from_ptr(pg_sys::quote_identifier(name.as_ptr())).to_owned(),
                kind: kind(attribute.atttypid),
                modifier: attribute.atttypmod,
            });
        }
        let table = catalog::shown(&catalog::qualified_name((*relation).rd_id));
        Err(error::report(
            PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            format!("table {table} has no column \"{}\"", catalog::shown(name)),
        ))
    }
}

fn kind(oid: pg_sys::Oid) -> Kind {
    match oid {
        pg_sys::TEXTOID | pg_sys::VARCHAROID => return Kind::Text,
        pg_sys::BYTEAOID => return Kind::Bytea,
        _ => {}
    }
    [
        (c"encrypted_text", ColumnType::EncryptedText),
        (c"secret_text", ColumnType::SecretText),
    ]
    .into_iter()
    .find(|(name, _)| type_oid(name) == oid)
    .map_or(Kind::Other, |(_, kind)| Kind::Encrypted(kind))
}

/// The oid of a type of the extension.
fn type_oid(name: &CStr) -> pg_sys::Oid {
    // SAFETY: catalog look-ups that give InvalidOid for what is not there.
    unsafe {
        let namespace = pg_sys::get_namespace_oid(c"ward".as_ptr(), true);
        pg_sys::GetSysCacheOid(
            pg_sys::SysCacheIdentifier::TYPENAMENSP as c_int,
            pg_sys::Anum_pg_type_oid as i16,
            pg_sys::Datum::from(name.as_ptr()),
            pg_sys::Datum::from(namespace),
            pg_sys::Datum::null(),
            pg_sys::Datum::null(),
        )
    }
}

fn require_owner(oid: pg_sys::Oid) -> Result<()> {
    // SAFETY: catalog look-ups; an unknown oid raises.
    let owner = unsafe {
        let user = pg_sys::GetUserId();
        #[cfg(feature = "pg15")]
        let owner = pg_sys::pg_class_ownercheck(oid, user);
        #[cfg(not(feature = "pg15"))]
        let owner = pg_sys::object_ownercheck(pg_sys::RelationRelationId, oid, user);
        owner
    };
    if owner {
        return Ok(());
    }
    let table = catalog::shown(&catalog::qualified_name(oid));
    Err(error::report(
        PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
        format!("must be owner of table {table}"),
    ))
}
