//! Counts how often each key version is used: in this process first, then in shared memory, where a
//! table of fixed size has two counters for each version. No lock, and per value no more than an
//! addition.

use crate::pg::{process, shared};
use pgrx::prelude::*;
use pgrx::{PGRXSharedMemory, PgAtomic, pg_shmem_init};
use std::cell::{Cell, RefCell};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};

/// Key versions that a server can count since its start.
pub const PLACES: usize = 4096;

/// Key versions that a process counts by itself; others with the same place take turns.
const LOCAL: usize = 16;

/// Uses after which a process passes its count on within a transaction.
const PASS_ON: u32 = 4096;

/// How often a session asks for the counts to be written to the table.
const WRITE_EVERY: i64 = 60_000_000;

/// What a key version was used for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value was encrypted.
    Encryption,
    /// A value was decrypted.
    Decryption,
}

/// The counts of a key version.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Values encrypted.
    pub encryptions: u64,
    /// Values decrypted.
    pub decryptions: u64,
    /// When a count was last passed on, in microseconds since 2000.
    pub last_used: i64,
}

#[derive(Default)]
struct Place {
    /// Of database and key version; 0 while the place is free.
    tag: AtomicU64,
    encryptions: AtomicU64,
    decryptions: AtomicU64,
    last_used: AtomicI64,
}

struct Table {
    places: [Place; PLACES],
    /// Uses that found no place.
    lost: AtomicU64,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            places: std::array::from_fn(|_| Place::default()),
            lost: AtomicU64::new(0),
        }
    }
}

// SAFETY: atomics only, no pointers.
unsafe impl PGRXSharedMemory for Table {}

// SAFETY: no other structure in shared memory has this name.
static TABLE: PgAtomic<Table> = unsafe { PgAtomic::new(c"pg_ward key usage") };

/// Of this process, which has one thread: it loads and stores, it need not add atomically.
struct Local {
    key_id: AtomicU64,
    encryptions: AtomicU32,
    decryptions: AtomicU32,
}

impl Local {
    const fn new() -> Self {
        Self {
            key_id: AtomicU64::new(0),
            encryptions: AtomicU32::new(0),
            decryptions: AtomicU32::new(0),
        }
    }

    fn pass_on(&self) {
        let take = |count: &AtomicU32| count.swap(0, Ordering::Relaxed);
        let (encryptions, decryptions) = (take(&self.encryptions), take(&self.decryptions));
        if encryptions | decryptions == 0 {
            return;
        }
        let Some(place) = claim(tag(self.key_id.load(Ordering::Relaxed).to_be_bytes())) else {
            let uses = u64::from(encryptions) + u64::from(decryptions);
            TABLE.get().lost.fetch_add(uses, Ordering::Relaxed);
            return;
        };
        let add = |counter: &AtomicU64, count| {
            if count > 0 {
                counter.fetch_add(u64::from(count), Ordering::Relaxed);
            }
        };
        add(&place.encryptions, encryptions);
        add(&place.decryptions, decryptions);
        place.last_used.fetch_max(now(), Ordering::Relaxed);
    }
}

static COUNTED: [Local; LOCAL] = [const { Local::new() }; LOCAL];
/// Whether anything was counted since the last transaction ended.
static ANY: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// When this session asks again for the counts to be written to the table.
    static WRITE_AT: Cell<i64> = const { Cell::new(0) };
    /// What this transaction has written to the table.
    static WRITTEN: RefCell<Vec<Written>> = const { RefCell::new(Vec::new()) };
}

struct Written {
    key_id: [u8; 8],
    counts: Counts,
    /// How deep in savepoints its row is: 1 where none would take it back.
    depth: i32,
}

/// Counts one use of a key version.
pub fn count(key_id: [u8; 8], kind: Kind) {
    let [.., low] = key_id;
    let local = &COUNTED[usize::from(low) % LOCAL];
    let key_id = u64::from_be_bytes(key_id);
    if local.key_id.load(Ordering::Relaxed) != key_id {
        local.pass_on();
        local.key_id.store(key_id, Ordering::Relaxed);
    }
    let counter = match kind {
        Kind::Encryption => &local.encryptions,
        Kind::Decryption => &local.decryptions,
    };
    let count = counter.load(Ordering::Relaxed) + 1;
    counter.store(count, Ordering::Relaxed);
    if count >= PASS_ON {
        local.pass_on();
    }
    ANY.store(true, Ordering::Relaxed);
}

/// What the whole server has counted of a key version of this database and not yet written to the
/// table.
pub fn counts(key_id: [u8; 8]) -> Counts {
    pass_on();
    find(tag(key_id)).map_or_else(Counts::default, |place| Counts {
        encryptions: place.encryptions.load(Ordering::Relaxed),
        decryptions: place.decryptions.load(Ordering::Relaxed),
        last_used: place.last_used.load(Ordering::Relaxed),
    })
}

/// Of these, what this transaction has not written to the table yet.
pub fn unwritten(key_id: [u8; 8]) -> Counts {
    let mut counts = counts(key_id);
    WRITTEN.with_borrow(|written| {
        for done in written.iter().filter(|done| done.key_id == key_id) {
            counts.encryptions = counts.encryptions.saturating_sub(done.counts.encryptions);
            counts.decryptions = counts.decryptions.saturating_sub(done.counts.decryptions);
        }
    });
    counts
}

/// Uses that were not counted, because more than [`PLACES`] versions were used.
pub fn lost() -> u64 {
    TABLE.get().lost.load(Ordering::Relaxed)
}

/// Notes that this transaction has written these counts to the table: they are taken out of shared
/// memory when it is committed.
pub fn written(key_id: [u8; 8], counts: Counts) {
    WRITTEN.with_borrow_mut(|written| {
        written.push(Written {
            key_id,
            counts,
            depth: depth(),
        });
    });
}

/// Requests the shared memory and registers the callbacks, in the postmaster, for all its children.
// The macro asks for PostgreSQL versions that this crate has no feature for.
#[allow(unexpected_cfgs)]
pub fn init() {
    pg_shmem_init!(TABLE);
    // SAFETY: callbacks of the types asked for, in a library that is never unloaded.
    unsafe {
        pg_sys::RegisterXactCallback(Some(at_transaction), ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_subtransaction), ptr::null_mut());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_transaction(
    event: pg_sys::XactEvent::Type,
    _arg: *mut core::ffi::c_void,
) {
    use pg_sys::XactEvent::*;
    match event {
        XACT_EVENT_COMMIT | XACT_EVENT_PARALLEL_COMMIT | XACT_EVENT_PREPARE => {
            settle(event == XACT_EVENT_COMMIT);
            ended();
        }
        // Its row would be added when somebody commits it, and the counts in shared memory would stay.
        XACT_EVENT_PRE_PREPARE if WRITTEN.with_borrow(|written| !written.is_empty()) => {
            crate::error::raise(crate::error::report_hint(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                "cannot PREPARE a transaction that has written the usage of keys",
                "Call ward.flush_key_usage() in a transaction of its own.",
            ))
        }
        // What was done counts even if its result was thrown away.
        XACT_EVENT_ABORT | XACT_EVENT_PARALLEL_ABORT => {
            settle(false);
            ended();
        }
        _ => {}
    }
}

/// With a savepoint the rows written since are gone, so their counts stay in shared memory; those of
/// before are not. What a released one wrote is its parent's.
#[pg_guard]
unsafe extern "C-unwind" fn at_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    _own: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _arg: *mut core::ffi::c_void,
) {
    use pg_sys::SubXactEvent::{SUBXACT_EVENT_ABORT_SUB, SUBXACT_EVENT_COMMIT_SUB};
    let depth = depth();
    WRITTEN.with_borrow_mut(|written| match event {
        SUBXACT_EVENT_ABORT_SUB => written.retain(|row| row.depth < depth),
        SUBXACT_EVENT_COMMIT_SUB => {
            for row in written.iter_mut() {
                row.depth = row.depth.min(depth - 1);
            }
        }
        _ => {}
    });
}

fn depth() -> i32 {
    // SAFETY: reads the state of this process.
    unsafe { pg_sys::GetCurrentTransactionNestLevel() }
}

/// Takes what was written out of shared memory, or forgets that it was. Still under the lock of the
/// writer, so nobody writes the same counts twice.
fn settle(committed: bool) {
    let written = WRITTEN.take();
    if !committed {
        return;
    }
    for row in written {
        if let Some(place) = find(tag(row.key_id)) {
            subtract(&place.encryptions, row.counts.encryptions);
            subtract(&place.decryptions, row.counts.decryptions);
        }
    }
}

fn subtract(counter: &AtomicU64, written: u64) {
    // Never fails: the closure always answers.
    let _ = counter.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
        Some(count.saturating_sub(written))
    });
}

fn ended() {
    if !ANY.swap(false, Ordering::Relaxed) {
        return;
    }
    pass_on();
    let now = now();
    if now < WRITE_AT.get() || process::in_recovery() {
        return;
    }
    WRITE_AT.set(now.saturating_add(WRITE_EVERY));
    // The launcher starts a worker, which writes the counts before it leaves.
    if let Some(slot) = shared::mine() {
        slot.dirty.store(true, Ordering::Release);
    }
}

fn pass_on() {
    COUNTED.iter().for_each(Local::pass_on);
}

fn now() -> i64 {
    // SAFETY: reads the clock.
    unsafe { pg_sys::GetCurrentTimestamp() }
}

/// Copies of a database have the same key versions, so the database is part of it. Never 0.
fn tag(key_id: [u8; 8]) -> u64 {
    let database = u64::from(process::my_database().to_u32());
    (u64::from_be_bytes(key_id) ^ database.wrapping_mul(0x9E37_79B9_7F4A_7C15)) | 1
}

/// The places of a tag, in the order in which they are tried. A place is never given back, so the
/// first free one ends the search.
fn places(tag: u64) -> impl Iterator<Item = &'static Place> {
    let table = TABLE.get();
    let start = (tag >> 32) as usize % PLACES;
    let (before, from) = table.places.split_at(start);
    from.iter().chain(before)
}

fn find(tag: u64) -> Option<&'static Place> {
    places(tag)
        .take_while(|place| place.tag.load(Ordering::Acquire) != 0)
        .find(|place| place.tag.load(Ordering::Acquire) == tag)
}

fn claim(tag: u64) -> Option<&'static Place> {
    places(tag).find(|place| {
        let taken = place
            .tag
            .compare_exchange(0, tag, Ordering::AcqRel, Ordering::Acquire);
        taken.is_ok() || taken == Err(tag)
    })
}
