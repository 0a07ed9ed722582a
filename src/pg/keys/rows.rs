//! Reads the registry's tables with a fresh snapshot, never with the transaction's, so that a
//! revocation counts inside a REPEATABLE READ transaction too. Works in parallel workers and on
//! standbys, where a function that starts a query could not.

use pgrx::prelude::*;
use std::ffi::CStr;

/// A row of `ward.encryption_key`.
pub struct KeyRow {
    /// The key's identity.
    pub key: [u8; 16],
    /// Its name.
    pub name: String,
    /// Its purpose, as text.
    pub purpose: String,
    /// Whether it is the default key.
    pub is_default: bool,
    /// The id of a master key, then a MAC under it.
    pub mac: Vec<u8>,
}

/// A row of `ward.encryption_key_version`.
pub struct VersionRow {
    /// The key's identity.
    pub key: [u8; 16],
    /// Counts from 1.
    pub version: i32,
    /// What envelopes name this version by.
    pub key_id: Vec<u8>,
    /// Its state, as text.
    pub state: String,
    /// The wrapped material, NULL when destroyed.
    pub wrapped: Option<Vec<u8>>,
    /// The ids of all master keys it was ever wrapped under.
    pub masters: Vec<u8>,
    /// The id of a master key, then a MAC under it.
    pub mac: Vec<u8>,
    /// When its material was erased.
    pub destroyed_at: Option<TimestampWithTimeZone>,
}

/// A row of `ward.key_grant`.
pub struct GrantRow {
    /// The key's identity.
    pub key: [u8; 16],
    /// The grantee's name when granted.
    pub role_name: String,
    /// The grantee's id when granted.
    pub role_oid: pg_sys::Oid,
    /// What it may do, as text.
    pub usage: Vec<String>,
    /// The id of a master key, then a MAC under it.
    pub mac: Vec<u8>,
}

/// The types of the columns that sql/keys.sql declares.
const KEY: [pg_sys::Oid; 5] = [
    pg_sys::UUIDOID,
    pg_sys::TEXTOID,
    pg_sys::TEXTOID,
    pg_sys::BOOLOID,
    pg_sys::BYTEAOID,
];
const VERSION: [pg_sys::Oid; 9] = [
    pg_sys::UUIDOID,
    pg_sys::INT4OID,
    pg_sys::BYTEAOID,
    pg_sys::TEXTOID,
    pg_sys::BYTEAOID,
    pg_sys::BYTEAOID,
    pg_sys::BYTEAOID,
    pg_sys::TIMESTAMPTZOID,
    pg_sys::TIMESTAMPTZOID,
];
const GRANT: [pg_sys::Oid; 5] = [
    pg_sys::UUIDOID,
    pg_sys::NAMEOID,
    pg_sys::OIDOID,
    pg_sys::TEXTARRAYOID,
    pg_sys::BYTEAOID,
];

/// The whole registry as stored.
pub struct Rows {
    /// All keys.
    pub keys: Vec<KeyRow>,
    /// All versions.
    pub versions: Vec<VersionRow>,
    /// All grants.
    pub grants: Vec<GrantRow>,
}

/// The registry's main relation, `None` when pg_ward is not installed in this database.
pub fn registry() -> Option<pg_sys::Oid> {
    relation(c"encryption_key")
}

/// A relation of pg_ward by its name.
pub(in crate::pg) fn relation(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: look-ups by NUL-terminated names, in a transaction.
    let oid = unsafe {
        let schema = pg_sys::get_namespace_oid(c"ward".as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    };
    (oid != pg_sys::InvalidOid).then_some(oid)
}

/// All rows as of now: one snapshot for the three tables. `None` when pg_ward is not installed, or
/// a column that is never NULL is.
pub fn read() -> Option<Rows> {
    let keys = relation(c"encryption_key")?;
    let versions = relation(c"encryption_key_version")?;
    let grants = relation(c"key_grant")?;
    super::invalidation::watch(keys);
    // SAFETY: in a transaction. A catalog snapshot of a relation without a syscache is taken anew at
    // each call; registering copies it, so it lasts until it is unregistered.
    let snapshot = unsafe { pg_sys::RegisterSnapshot(pg_sys::GetCatalogSnapshot(keys)) };
    let rows = || {
        Some(Rows {
            keys: scan(keys, &KEY, snapshot, |row| {
                Some(KeyRow {
                    key: row.uuid(0)?,
                    name: row.get(1)?,
                    purpose: row.get(2)?,
                    is_default: row.get(3)?,
                    mac: row.get(4)?,
                })
            })?,
            versions: scan(versions, &VERSION, snapshot, |row| {
                Some(VersionRow {
                    key: row.uuid(0)?,
                    version: row.get(1)?,
                    key_id: row.get(2)?,
                    state: row.get(3)?,
                    wrapped: row.get(4),
                    masters: row.get(5)?,
                    mac: row.get(6)?,
                    destroyed_at: row.get(8),
                })
            })?,
            grants: scan(grants, &GRANT, snapshot, |row| {
                Some(GrantRow {
                    key: row.uuid(0)?,
                    role_name: row.get::<super::acl::Name>(1)?.0,
                    role_oid: row.get(2)?,
                    usage: row.get(3)?,
                    mac: row.get(4)?,
                })
            })?,
        })
    };
    let rows = rows();
    // SAFETY: registered above, by the same resource owner.
    unsafe { pg_sys::UnregisterSnapshot(snapshot) };
    rows
}

/// One deformed tuple. The closures above name the types that sql/keys.sql declares.
pub(in crate::pg) struct Row {
    values: Vec<pg_sys::Datum>,
    nulls: Vec<bool>,
}

impl Row {
    /// The value of a column, `None` when it is NULL.
    pub(in crate::pg) fn get<T: FromDatum>(&self, column: usize) -> Option<T> {
        let (value, null) = (*self.values.get(column)?, *self.nulls.get(column)?);
        // SAFETY: the column has the SQL type of T, and the tuple it points into is still held.
        unsafe { T::from_datum(value, null) }
    }

    /// The value of a column of type uuid.
    pub(in crate::pg) fn uuid(&self, column: usize) -> Option<[u8; 16]> {
        self.get::<pgrx::Uuid>(column).map(|uuid| *uuid.as_bytes())
    }
}

/// All rows of a relation whose first columns are of `types`; `None` when one does not parse.
pub(in crate::pg) fn scan<T>(
    relation: pg_sys::Oid,
    types: &[pg_sys::Oid],
    snapshot: pg_sys::Snapshot,
    parse: impl Fn(&Row) -> Option<T>,
) -> Option<Vec<T>> {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    let mut found = Some(Vec::new());
    // SAFETY: the relation is open while it is scanned and closed after; the snapshot is registered;
    // the arrays have as many places as the descriptor has attributes; a tuple is used only until
    // the next one is fetched. An ERROR inside leaves the clean-up to the resource owner.
    unsafe {
        let opened = pg_sys::table_open(relation, lock);
        let descriptor = (*opened).rd_att;
        let columns = usize::try_from((*descriptor).natts).unwrap_or(0);
        // The library may be newer than the tables: what is read as another type would be garbage.
        let found_types = pgrx::PgTupleDesc::from_pg_copy(descriptor);
        let as_expected = types.iter().enumerate().all(|(column, expected)| {
            found_types
                .get(column)
                .is_some_and(|attribute| attribute.atttypid == *expected)
        });
        if !as_expected {
            crate::error::raise(crate::error::report_hint(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "the tables of pg_ward in this database are not those of its library",
                "Run ALTER EXTENSION pg_ward UPDATE. If they were altered by hand, undo that.",
            ));
        }
        let scan = pg_sys::systable_beginscan(
            opened,
            pg_sys::InvalidOid,
            false,
            snapshot,
            0,
            std::ptr::null_mut(),
        );
        loop {
            let tuple = pg_sys::systable_getnext(scan);
            if tuple.is_null() {
                break;
            }
            let mut row = Row {
                values: vec![pg_sys::Datum::null(); columns],
                nulls: vec![true; columns],
            };
            pg_sys::heap_deform_tuple(
                tuple,
                descriptor,
                row.values.as_mut_ptr(),
                row.nulls.as_mut_ptr(),
            );
            found = found.and_then(|mut rows: Vec<T>| {
                rows.push(parse(&row)?);
                Some(rows)
            });
        }
        pg_sys::systable_endscan(scan);
        pg_sys::table_close(opened, lock);
    }
    found
}
