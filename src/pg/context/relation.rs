//! What isolating a table needs of the relation and type caches.

use pgrx::prelude::*;

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
