//! What a type is made of.

use super::dependency::{self, Dependency};
use super::relation::attribute;
use pgrx::prelude::*;

/// The type and all types that its values contain: elements, attributes, subtypes, base types.
/// Notes that what is kept about `table` depends on them.
pub fn parts(table: pg_sys::Oid, type_oid: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    let mut found = vec![type_oid];
    let mut next = 0;
    while let Some(part) = found.get(next).copied() {
        next += 1;
        dependency::depends(table, [Dependency::of_type(part)]);
        // SAFETY: a catalog look-up by oid.
        let namespace = unsafe { namespace(part) };
        if namespace != pg_sys::Oid::from(pg_sys::PG_CATALOG_NAMESPACE) {
            dependency::depends(table, [Dependency::of_schema(namespace)]);
        }
        for inner in contained(table, part) {
            if inner != pg_sys::InvalidOid && !found.contains(&inner) {
                found.push(inner);
            }
        }
    }
    found
}

/// The types directly in a value of type `part`.
fn contained(table: pg_sys::Oid, part: pg_sys::Oid) -> Vec<pg_sys::Oid> {
    // SAFETY: catalog look-ups by oid, which give the invalid oid where there is none; the descriptor
    // is a copy in the current memory context.
    unsafe {
        match pg_sys::get_typtype(part) as u8 {
            pg_sys::TYPTYPE_DOMAIN => vec![pg_sys::getBaseType(part)],
            pg_sys::TYPTYPE_RANGE => vec![pg_sys::get_range_subtype(part)],
            pg_sys::TYPTYPE_MULTIRANGE => vec![pg_sys::get_multirange_range(part)],
            pg_sys::TYPTYPE_COMPOSITE => {
                let relation = pg_sys::get_typ_typrelid(part);
                dependency::depends(table, [Dependency::Relation(relation)]);
                let desc = pg_sys::lookup_rowtype_tupdesc_copy(part, -1);
                (0..(*desc).natts as usize)
                    .map(|index| &*attribute(desc, index))
                    .filter(|attribute| !attribute.attisdropped)
                    .map(|attribute| attribute.atttypid)
                    .collect()
            }
            _ => vec![pg_sys::get_element_type(part)],
        }
    }
}

/// # Safety
/// Inside a transaction.
unsafe fn namespace(type_oid: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: the tuple is released after its fixed part was read.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(
            pg_sys::SysCacheIdentifier::TYPEOID as std::ffi::c_int,
            pg_sys::Datum::from(type_oid),
        );
        if tuple.is_null() {
            return pg_sys::InvalidOid;
        }
        let namespace = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_type>()).typnamespace;
        pg_sys::ReleaseSysCache(tuple);
        namespace
    }
}
