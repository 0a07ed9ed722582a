//! Catalog look-ups by oid.

use pgrx::prelude::*;
use std::ffi::{CString, c_int};

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

/// Schema-qualified, quoted name of a relation.
pub fn qualified_name(oid: pg_sys::Oid) -> String {
    // SAFETY: NULL names, for an oid that vanished, become empty.
    unsafe {
        let namespace = pg_sys::get_namespace_name(pg_sys::get_rel_namespace(oid));
        let name = pg_sys::get_rel_name(oid);
        if namespace.is_null() || name.is_null() {
            return String::new();
        }
        let quoted = pg_sys::quote_qualified_identifier(namespace, name);
        std::ffi::CStr::from_ptr(quoted)
            .to_string_lossy()
            .into_owned()
    }
}

/// Whether relation `oid` has a (not dropped) column `name`.
pub fn has_column(oid: pg_sys::Oid, name: &str) -> bool {
    let Ok(name) = CString::new(name) else {
        return false;
    };
    // SAFETY: a syscache look-up.
    unsafe { pg_sys::get_attnum(oid, name.as_ptr()) > 0 }
}

unsafe extern "C-unwind" {
    /// Declared in catalog/pg_inherits.h.
    fn find_all_inheritors(
        parent: pg_sys::Oid,
        lock: c_int,
        parents: *mut *mut pg_sys::List,
    ) -> *mut pg_sys::List;
}

/// Whether relation `oid` has a trigger `name`.
pub fn has_trigger(oid: pg_sys::Oid, name: &str) -> bool {
    let Ok(name) = CString::new(name) else {
        return false;
    };
    // SAFETY: a catalog look-up.
    unsafe { pg_sys::get_trigger_oid(oid, name.as_ptr(), true) != pg_sys::InvalidOid }
}

/// The relation and, if it is partitioned, all its partitions.
pub fn with_partitions(oid: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    // SAFETY: raises only through the guard; the result is a palloc'ed list of oids, the relation first.
    unsafe {
        if pg_sys::get_rel_relkind(oid) as u8 != b'p' {
            return vec![oid];
        }
        let list = pg_sys::ffi::pg_guard_ffi_boundary(|| {
            find_all_inheritors(oid, pg_sys::AccessShareLock as c_int, std::ptr::null_mut())
        });
        (0..(*list).length as usize)
            .map(|at| (*(*list).elements.add(at)).oid_value)
            .collect()
    }
}

/// Tells all backends that what they keep about `relation` is stale.
pub fn invalidate(relation: Option<pg_sys::Oid>) {
    if let Some(relation) = relation {
        // SAFETY: the relation exists; the message is sent at commit.
        unsafe { pg_sys::CacheInvalidateRelcacheByRelid(relation) }
    }
}
