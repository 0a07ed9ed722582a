//! Transaction and subtransaction callbacks, as plain Rust function pointers.

use super::unguarded;
use pgrx::prelude::*;
use std::ffi::c_void;

/// What a part wants to know about transactions. Functions that may raise say so.
pub struct Hooks {
    /// Before commit or prepare; may raise. The flag is true for PREPARE TRANSACTION.
    pub before_commit: fn(prepare: bool),
    /// The transaction ended; must not raise.
    pub ended: fn(committed: bool),
    /// A subtransaction is about to be released; may raise.
    pub before_release: fn(subid: u32),
    /// A subtransaction was released into its parent; must not raise.
    pub released: fn(subid: u32, parent: u32),
    /// A subtransaction was rolled back; must not raise.
    pub rolled_back: fn(subid: u32),
}

/// Whether the transaction reads everything as of its beginning: REPEATABLE READ and SERIALIZABLE.
pub fn keeps_its_snapshot() -> bool {
    // SAFETY: reads a backend global.
    unsafe { pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32 }
}

/// Registers `hooks` for the life of the backend. Called in the postmaster, inherited by fork.
pub fn register(hooks: &'static Hooks) {
    let arg = std::ptr::from_ref(hooks).cast_mut().cast::<c_void>();
    // SAFETY: the callbacks match PostgreSQL's types and `arg` points to a static, read-only struct.
    unsafe {
        pg_sys::RegisterXactCallback(Some(xact), arg);
        pg_sys::RegisterSubXactCallback(Some(subxact), arg);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn xact(event: pg_sys::XactEvent::Type, arg: *mut c_void) {
    // SAFETY: `arg` is the static given to `register`.
    let hooks = unsafe { &*arg.cast::<Hooks>() };
    match event {
        pg_sys::XactEvent::XACT_EVENT_PRE_COMMIT => (hooks.before_commit)(false),
        pg_sys::XactEvent::XACT_EVENT_PRE_PREPARE => (hooks.before_commit)(true),
        pg_sys::XactEvent::XACT_EVENT_COMMIT | pg_sys::XactEvent::XACT_EVENT_PREPARE => {
            (hooks.ended)(true)
        }
        pg_sys::XactEvent::XACT_EVENT_ABORT => (hooks.ended)(false),
        _ => {}
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn subxact(
    event: pg_sys::SubXactEvent::Type,
    subid: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    arg: *mut c_void,
) {
    // SAFETY: `arg` is the static given to `register`.
    let hooks = unsafe { &*arg.cast::<Hooks>() };
    match event {
        pg_sys::SubXactEvent::SUBXACT_EVENT_PRE_COMMIT_SUB => (hooks.before_release)(subid),
        pg_sys::SubXactEvent::SUBXACT_EVENT_COMMIT_SUB => (hooks.released)(subid, parent),
        pg_sys::SubXactEvent::SUBXACT_EVENT_ABORT_SUB => (hooks.rolled_back)(subid),
        _ => {}
    }
}

/// The current subtransaction's number; 1 is the top level.
pub fn current_subid() -> u32 {
    unguarded::subtransaction()
}

/// The full id of the top-level transaction, assigned if it had none.
pub fn top_xid() -> u64 {
    // SAFETY: called inside a transaction.
    unguarded::top_xid().unwrap_or_else(|| unsafe { pg_sys::GetTopFullTransactionId().value })
}
