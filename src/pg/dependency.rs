//! What a description of a table depends on besides the table: names of schemas, types and
//! partitioned tables, and the make-up of types. Changes of them invalidate it.

use pgrx::prelude::*;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::c_int;

/// An object whose change PostgreSQL announces: relations by oid, what is in a syscache by the hash
/// of its key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dependency {
    /// A table, or a composite type's relation.
    Relation(pg_sys::Oid),
    /// A type.
    Type(u32),
    /// A schema.
    Schema(u32),
}

impl Dependency {
    /// The type `oid`.
    pub fn of_type(oid: pg_sys::Oid) -> Dependency {
        Dependency::Type(hash(pg_sys::SysCacheIdentifier::TYPEOID as c_int, oid))
    }

    /// The schema `oid`.
    pub fn of_schema(oid: pg_sys::Oid) -> Dependency {
        Dependency::Schema(hash(pg_sys::SysCacheIdentifier::NAMESPACEOID as c_int, oid))
    }
}

fn hash(cache: c_int, oid: pg_sys::Oid) -> u32 {
    let none = pg_sys::Datum::null();
    // SAFETY: both caches have the oid as their only key.
    unsafe { pg_sys::GetSysCacheHashValue(cache, pg_sys::Datum::from(oid), none, none, none) }
}

/// Changes noted since they were last taken.
#[derive(Default)]
struct Changes {
    all: bool,
    list: Vec<Dependency>,
}

thread_local! {
    static CHANGES: RefCell<Changes> = RefCell::new(Changes::default());
    /// Which described tables depend on what.
    static DEPENDENTS: RefCell<HashMap<Dependency, HashSet<pg_sys::Oid>>> = RefCell::new(HashMap::new());
}

/// Starts noting what changes.
pub fn watch() {
    // SAFETY: the callbacks only push to a list of this backend.
    unsafe {
        let none = pg_sys::Datum::null();
        pg_sys::CacheRegisterRelcacheCallback(Some(relation_changed), none);
        for cache in [
            pg_sys::SysCacheIdentifier::TYPEOID,
            pg_sys::SysCacheIdentifier::NAMESPACEOID,
        ] {
            pg_sys::CacheRegisterSyscacheCallback(cache as c_int, Some(object_changed), none);
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn relation_changed(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    note((relation != pg_sys::InvalidOid).then_some(Dependency::Relation(relation)));
}

#[pg_guard]
unsafe extern "C-unwind" fn object_changed(_arg: pg_sys::Datum, cache: c_int, hash: u32) {
    // Hash 0 stands for everything in the cache.
    note(
        (hash != 0).then_some(if cache == pg_sys::SysCacheIdentifier::TYPEOID as c_int {
            Dependency::Type(hash)
        } else {
            Dependency::Schema(hash)
        }),
    );
}

/// Notes a change; None stands for all.
fn note(change: Option<Dependency>) {
    CHANGES.with_borrow_mut(|changes| match change {
        _ if changes.all => {}
        Some(change) if changes.list.len() < 1000 => changes.list.push(change),
        _ => {
            changes.list.clear();
            changes.all = true;
        }
    });
}

/// Says that what is kept about `table` depends on `objects`.
pub fn depends(table: pg_sys::Oid, objects: impl IntoIterator<Item = Dependency>) {
    DEPENDENTS.with_borrow_mut(|dependents| {
        for object in objects {
            dependents.entry(object).or_default().insert(table);
        }
    });
}

/// Whether anything changed since [`take_invalidated`] was called last.
pub fn is_anything_invalidated() -> bool {
    CHANGES.with_borrow(|changes| changes.all || !changes.list.is_empty())
}

/// The tables that changed since the last call, or depend on what did; the invalid oid stands for
/// all of them.
pub fn take_invalidated() -> Vec<pg_sys::Oid> {
    let Some(changes) = CHANGES.with_borrow_mut(|changes| {
        (changes.all || !changes.list.is_empty()).then(|| std::mem::take(changes))
    }) else {
        return Vec::new();
    };
    DEPENDENTS.with_borrow_mut(|dependents| {
        if changes.all {
            dependents.clear();
            return vec![pg_sys::InvalidOid];
        }
        let mut tables = Vec::new();
        for change in changes.list {
            if let Dependency::Relation(oid) = change {
                tables.push(oid);
            }
            tables.extend(dependents.remove(&change).unwrap_or_default());
        }
        tables
    })
}
