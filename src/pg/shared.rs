//! Shared memory between writers, the launcher and the sealing workers: one slot per database.
//! All fields are atomics, so that a committing writer takes no lock.

use super::process;
use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, PgAtomic, pg_shmem_init};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Databases with an audit trail that one cluster can seal at the same time.
pub const SLOTS: usize = 256;

/// In [`Slot::worker`]: the launcher has asked for a worker that has not entered itself yet.
pub const STARTING: i32 = -1;

/// How long to wait before a failed worker is started again.
pub const RETRY: Duration = Duration::from_secs(5);

/// How soon the launcher looks again for a background worker that another database gives up.
pub const TURN: Duration = Duration::from_millis(100);

/// What is known of one database.
#[derive(Default)]
pub struct Slot {
    /// The database's oid; 0 while the slot is free. The launcher frees the slot of a database that
    /// was dropped.
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
    /// Process id of the database's worker, [`STARTING`], or 0.
    pub worker: AtomicI32,
    /// Whether the last attempt failed: then neither new entries nor calls start another before its
    /// time.
    pub failing: AtomicBool,
    /// Not before this time (microseconds since 1970) a failed or waiting worker is started again.
    pub retry_at: AtomicI64,
    /// Whether the last worker left entries of unfinished transactions behind.
    pub pending: AtomicBool,
    /// Calls up to this number are served by the attempt that is under way.
    attempt: AtomicU64,
    /// Whether an attempt is under way that has not reported success. One whose worker is gone has
    /// failed, however it ended: a worker that dies of a FATAL error cannot report anything.
    unreported: AtomicBool,
    /// When the last attempt began, in microseconds since 1970.
    began_at: AtomicI64,
    /// Until when a courier may be out for this database, in microseconds since 1970.
    courier_until: AtomicI64,
}

impl Slot {
    /// The database the slot belongs to.
    pub fn oid(&self) -> pg_sys::Oid {
        pg_sys::Oid::from(self.database.load(Ordering::Acquire))
    }

    /// Begins an attempt to seal, which has failed unless it reports success; answers the number of
    /// the last call that it serves.
    pub fn begin(&self) -> u64 {
        let asked = self.requested.load(Ordering::Acquire);
        self.attempt.store(asked, Ordering::Release);
        self.unreported.store(true, Ordering::Release);
        self.began_at
            .store(process::now_micros(), Ordering::Release);
        asked
    }

    /// When the last attempt to seal began: who has waited longest comes first.
    pub fn began_at(&self) -> i64 {
        self.began_at.load(Ordering::Acquire)
    }

    /// Takes back that an attempt begins, which had begun before at `began_at`: no background worker is
    /// free, but there will be one soon.
    pub fn put_off(&self, began_at: i64) {
        self.unreported.store(false, Ordering::Release);
        self.began_at.store(began_at, Ordering::Release);
        self.dirty.store(true, Ordering::Release);
        self.not_before(TURN);
    }

    /// Reports that the attempt that served calls up to `asked` succeeded.
    pub fn succeeded(&self, asked: u64) {
        self.unreported.store(false, Ordering::Release);
        self.failing.store(false, Ordering::Release);
        self.sealed.fetch_max(asked, Ordering::AcqRel);
    }

    /// Leaves the attempt to another worker, which is to be started at once.
    pub fn handed_over(&self) {
        self.unreported.store(false, Ordering::Release);
        self.retry_at.store(0, Ordering::Release);
        self.dirty.store(true, Ordering::Release);
    }

    /// Notes that the worker is gone: an attempt without success has failed, its callers learn that,
    /// and it is repeated after a while.
    pub fn ended(&self) {
        if self.unreported.swap(false, Ordering::AcqRel) {
            self.failing.store(true, Ordering::Release);
            self.dirty.store(true, Ordering::Release);
            self.not_before(RETRY);
            self.failed
                .fetch_max(self.attempt.load(Ordering::Acquire), Ordering::AcqRel);
        }
    }

    /// Whether a call waits that no attempt has served.
    pub fn asked(&self) -> bool {
        let done = self
            .sealed
            .load(Ordering::Acquire)
            .max(self.failed.load(Ordering::Acquire));
        self.requested.load(Ordering::Acquire) > done
    }

    /// Sets the time of the next attempt to `pause` from now.
    pub fn not_before(&self, pause: Duration) {
        self.retry_at.store(from_now(pause), Ordering::Release);
    }

    /// Moves the time of the next attempt to at most `pause` from now.
    pub fn not_after(&self, pause: Duration) {
        self.retry_at.fetch_min(from_now(pause), Ordering::AcqRel);
    }

    /// How long it is until the time of the next attempt; zero when that has come.
    pub fn due_in(&self) -> Duration {
        let left = self.retry_at.load(Ordering::Acquire) - process::now_micros();
        Duration::from_micros(u64::try_from(left).unwrap_or(0))
    }

    /// Notes that a courier leaves, who is taken to be lost after `limit`.
    pub fn courier_leaves(&self, limit: Duration) {
        self.courier_until.store(from_now(limit), Ordering::Release);
    }

    /// Notes that the courier is back.
    pub fn courier_is_back(&self) {
        self.courier_until.store(0, Ordering::Release);
    }

    /// Whether a courier is out.
    pub fn courier_is_out(&self) -> bool {
        self.courier_until.load(Ordering::Acquire) > process::now_micros()
    }

    /// Gives the slot of a dropped database back. Nobody uses it any more: its database has no
    /// sessions and no worker.
    pub fn free(&self) {
        for number in [&self.requested, &self.sealed, &self.failed, &self.attempt] {
            number.store(0, Ordering::Release);
        }
        for flag in [&self.dirty, &self.failing, &self.pending, &self.unreported] {
            flag.store(false, Ordering::Release);
        }
        self.journal.store(0, Ordering::Release);
        self.retry_at.store(0, Ordering::Release);
        self.began_at.store(0, Ordering::Release);
        self.courier_is_back();
        self.worker.store(0, Ordering::Release);
        self.database.store(0, Ordering::Release);
    }
}

fn from_now(pause: Duration) -> i64 {
    process::now_micros().saturating_add(i64::try_from(pause.as_micros()).unwrap_or(i64::MAX))
}

/// The whole shared state.
pub struct Shared {
    /// Process id of the launcher, or 0.
    pub launcher: AtomicI32,
    /// Set by the launcher when a database waits because no background worker is free; the first sealing
    /// worker that sees it ends after its round.
    pub crowded: AtomicBool,
    /// Held for the moment in which a slot is taken.
    claiming: AtomicBool,
    slots: [Slot; SLOTS],
}

impl Default for Shared {
    fn default() -> Self {
        Shared {
            launcher: AtomicI32::new(0),
            crowded: AtomicBool::new(false),
            claiming: AtomicBool::new(false),
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

    /// The slot of `database`, if it has one.
    pub fn find(&self, database: pg_sys::Oid) -> Option<&Slot> {
        let oid = database.to_u32();
        self.slots
            .iter()
            .find(|slot| slot.database.load(Ordering::Acquire) == oid)
    }

    /// The slot of `database`, taken if it had none; None when all are taken.
    pub fn claim(&self, database: pg_sys::Oid) -> Option<&Slot> {
        if let Some(slot) = self.find(database) {
            return Some(slot);
        }
        // One process at a time, or two sessions of one database could take two slots. No process
        // can be interrupted in here; if one is killed, the server starts anew with fresh memory.
        while self
            .claiming
            .compare_exchange_weak(false, true, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            std::thread::yield_now();
        }
        let slot = self.find(database).or_else(|| {
            let free = self.find(pg_sys::InvalidOid)?;
            free.database.store(database.to_u32(), Ordering::Release);
            Some(free)
        });
        self.claiming.store(false, Ordering::Release);
        slot
    }
}

/// The slot of the database this backend is connected to, taken if it had none.
pub fn mine() -> Option<&'static Slot> {
    get().claim(process::my_database())
}
