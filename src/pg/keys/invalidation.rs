//! When what a backend has cached of the registry is out of date.
//!
//! Several sources, because none is enough alone: a generation number in shared memory, raised when
//! a change has become visible, so that it counts at once in running statements; the relation cache's
//! invalidations, which also reach standbys; this backend's own changes and their aborts; and a reload
//! of the configuration, which may bring other master keys.

use pgrx::prelude::*;
use pgrx::{PgAtomic, pg_shmem_init};
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

// SAFETY: no other structure in shared memory has this name.
static GENERATION: PgAtomic<AtomicU64> =
    unsafe { PgAtomic::new(c"pg_ward key registry generation") };

// Of this process, which has one thread. They are read for each value, where a thread's own variables
// would cost a call.
static OWN: AtomicU64 = AtomicU64::new(0);
static ROLES: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static CHANGED: Cell<bool> = const { Cell::new(false) };
    static REGISTRY: Cell<pg_sys::Oid> = const { Cell::new(pg_sys::InvalidOid) };
}

/// Names a state of the registry: what was read under another stamp must be read again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    shared: u64,
    own: u64,
    configuration: i64,
}

/// The present stamp. Take it *before* the snapshot that the registry is read with.
pub fn stamp() -> Stamp {
    Stamp {
        shared: GENERATION.get().load(Ordering::Acquire),
        own: OWN.load(Ordering::Relaxed),
        configuration: super::process::configuration_read_at(),
    }
}

/// Changes whenever a role or a membership may have changed.
pub fn roles_stamp() -> u64 {
    ROLES.load(Ordering::Relaxed)
}

/// Remembers the relation whose invalidations concern the registry.
pub fn watch(registry: pg_sys::Oid) {
    REGISTRY.set(registry);
}

/// To be called before this transaction changes the registry, and again after.
pub fn changing(registry: pg_sys::Oid) {
    CHANGED.set(true);
    forget();
    // SAFETY: queues a message about an existing relation, in a transaction.
    unsafe { pg_sys::CacheInvalidateRelcacheByRelid(registry) };
}

fn forget() {
    OWN.fetch_add(1, Ordering::Relaxed);
}

/// Requests the shared memory and registers the callbacks, in the postmaster, for all its children.
// The macro asks for PostgreSQL versions that this crate has no feature for.
#[allow(unexpected_cfgs)]
pub fn init() {
    pg_shmem_init!(GENERATION);
    // SAFETY: the callbacks are of the types asked for and live as long as the library, which is
    // never unloaded; their argument is not used.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_transaction), ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_subtransaction), ptr::null_mut());
        pg_sys::CacheRegisterRelcacheCallback(Some(at_relation), pg_sys::Datum::null());
        for cache in [
            pg_sys::SysCacheIdentifier::AUTHOID,
            pg_sys::SysCacheIdentifier::AUTHMEMROLEMEM,
        ] {
            pg_sys::CacheRegisterSyscacheCallback(
                cache as i32,
                Some(at_roles),
                pg_sys::Datum::null(),
            );
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_transaction(
    event: pg_sys::XactEvent::Type,
    _arg: *mut core::ffi::c_void,
) {
    use pg_sys::XactEvent::{
        XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PARALLEL_ABORT, XACT_EVENT_PARALLEL_COMMIT,
    };
    if CHANGED.get() {
        changed(event);
    }
    if matches!(
        event,
        XACT_EVENT_COMMIT
            | XACT_EVENT_ABORT
            | XACT_EVENT_PARALLEL_COMMIT
            | XACT_EVENT_PARALLEL_ABORT
    ) {
        crate::keys::drop_stale();
    }
}

fn changed(event: pg_sys::XactEvent::Type) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PRE_PREPARE};
    match event {
        // The change is visible to others by now: raised earlier, they would load the old state
        // and keep it.
        XACT_EVENT_COMMIT => {
            GENERATION.get().fetch_add(1, Ordering::Release);
            CHANGED.set(false);
            forget();
        }
        XACT_EVENT_ABORT => {
            CHANGED.set(false);
            forget();
        }
        // COMMIT PREPARED may run in any backend, which would not raise the generation.
        XACT_EVENT_PRE_PREPARE => crate::error::raise(crate::error::report_hint(
            PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            "cannot PREPARE a transaction that changed encryption keys or their grants",
            "Commit key changes in a transaction of their own.",
        )),
        _ => {}
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    _own: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _arg: *mut core::ffi::c_void,
) {
    if CHANGED.get() && event == pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB {
        forget();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_relation(_arg: pg_sys::Datum, relation: pg_sys::Oid) {
    // InvalidOid stands for all relations.
    if relation == pg_sys::InvalidOid || relation == REGISTRY.get() {
        forget();
        crate::keys::drop_stale();
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_roles(_arg: pg_sys::Datum, _cache: i32, _hash: u32) {
    ROLES.fetch_add(1, Ordering::Relaxed);
}
