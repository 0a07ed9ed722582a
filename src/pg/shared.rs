//! Shared memory between writers, the launcher and the sealing workers: one slot per database.
//! All fields are atomics, so that a committing writer takes no lock.

use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, PgAtomic, pg_shmem_init};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};

/// Databases with an audit trail that one cluster can seal at the same time.
pub const SLOTS: usize = 256;

/// What is known of one database.
#[derive(Default)]
pub struct Slot {
    /// The database's oid; 0 while the slot is free. Never given to another database.
    pub database: AtomicU32,
    /// Set by a writer after its commit, cleared by the worker before it takes its snapshot.
    pub dirty: AtomicBool,
    /// Which journal writers should use. Only a hint: the sealer reads both.
    pub journal: AtomicU32,
    /// Number of the last `seal_audit_trail()` call.
    pub requested: AtomicU64,
    /// Calls up to this number have been served.
    pub sealed: AtomicU64,
    /// Calls up to this number have met an error.
    pub failed: AtomicU64,
    /// Process id of the database's worker, or 0.
    pub worker: AtomicI32,
    /// Whether the last worker met an error: then new entries do not start another before its time.
    pub failing: AtomicBool,
    /// Not before this time (microseconds since 1970) a failed or waiting worker is started again.
    pub retry_at: AtomicI64,
    /// Whether the last worker left entries of unfinished transactions behind.
    pub pending: AtomicBool,
}

/// The whole shared state.
pub struct Shared {
    /// Process id of the launcher, or 0.
    pub launcher: AtomicI32,
    slots: [Slot; SLOTS],
}

impl Default for Shared {
    fn default() -> Self {
        Shared {
            launcher: AtomicI32::new(0),
            slots: std::array::from_fn(|_| Slot::default()),
        }
    }
}

// SAFETY: atomics only, no pointers.
unsafe impl PGRXSharedMemory for Shared {}

// SAFETY: the name is used nowhere else.
static SHARED: PgAtomic<Shared> = unsafe { PgAtomic::new(c"pg_ward_audit") };

/// Reserves the memory.
pub fn init() {
    pg_shmem_init!(SHARED);
}

/// The shared state.
pub fn get() -> &'static Shared {
    SHARED.get()
}

impl Shared {
    /// All slots in use.
    pub fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots
            .iter()
            .filter(|slot| slot.database.load(Ordering::Acquire) != 0)
    }

    /// The slot of `database`, taken if it had none; None when all are taken.
    pub fn slot(&self, database: pg_sys::Oid) -> Option<&Slot> {
        let oid = database.to_u32();
        self.slots.iter().find(|slot| {
            slot.database.load(Ordering::Acquire) == oid
                || slot
                    .database
                    .compare_exchange(0, oid, Ordering::AcqRel, Ordering::Acquire)
                    .map_or_else(|taken| taken == oid, |_| true)
        })
    }
}

/// The slot of the database this backend is connected to.
pub fn mine() -> Option<&'static Slot> {
    // SAFETY: reads a backend global.
    get().slot(unsafe { pg_sys::MyDatabaseId })
}
