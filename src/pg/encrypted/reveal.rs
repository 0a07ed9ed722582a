//! `ward.reveal`: output functions print text instead of ciphertext, but only into a row on its way to
//! the client.
//!
//! An output function cannot know what its result is for: a row, an error message, a dump, an audit
//! image. So the receiver of a SELECT's rows is wrapped, and only while it sends one is anything
//! revealed. COPY, FETCH and RETURNING have other receivers and stay with ciphertext, and so do the
//! dumps that are made with them.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys::ffi::pg_guard_ffi_boundary;
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::c_int;
use std::sync::OnceLock;

static REVEAL: GucSetting<bool> = GucSetting::<bool>::new(false);
static PREVIOUS: OnceLock<pg_sys::ExecutorRun_hook_type> = OnceLock::new();

thread_local! {
    static SENDING: Cell<bool> = const { Cell::new(false) };
}

/// Whether a row is being sent to a client that asked for text.
pub fn active() -> bool {
    SENDING.get()
}

/// Defines the setting and puts the hook before the one that is there. Only for the postmaster.
pub fn init() {
    GucRegistry::define_bool_guc(
        c"ward.reveal",
        c"Shows text instead of ciphertext in rows of a SELECT that are sent to the client.",
        c"Only values under keys whose usage decrypt the role has. COPY, FETCH and RETURNING show ciphertext.",
        &REVEAL,
        GucContext::Userset,
        GucFlags::default(),
    );
    // SAFETY: hooks are plain globals, changed by the postmaster before it has children.
    unsafe {
        if PREVIOUS.set(pg_sys::ExecutorRun_hook).is_ok() {
            pg_sys::ExecutorRun_hook = Some(executor_run);
        }
    }
}

/// PostgreSQL's own, without pgrx's guard: an error that passes the guard is raised anew and loses
/// what it says of constraint, table, column and place.
mod plain {
    use pgrx::pg_sys;

    unsafe extern "C-unwind" {
        #[cfg(not(feature = "pg18"))]
        pub fn standard_ExecutorRun(
            query: *mut pg_sys::QueryDesc,
            direction: pg_sys::ScanDirection::Type,
            count: u64,
            once: bool,
        );
        #[cfg(feature = "pg18")]
        pub fn standard_ExecutorRun(
            query: *mut pg_sys::QueryDesc,
            direction: pg_sys::ScanDirection::Type,
            count: u64,
        );
    }
}

// Not guarded: an ERROR of a query that reveals nothing jumps over this frame, which holds nothing
// that would have to be dropped, and in which nothing panics.
#[cfg(not(feature = "pg18"))]
unsafe extern "C-unwind" fn executor_run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    once: bool,
) {
    // SAFETY: the arguments are handed on as they came; the executor passes a valid query.
    unsafe {
        if wanted(query) {
            return revealing_run(query, direction, count, once);
        }
        match PREVIOUS.get() {
            Some(Some(previous)) => previous(query, direction, count, once),
            _ => plain::standard_ExecutorRun(query, direction, count, once),
        }
    }
}

#[cfg(not(feature = "pg18"))]
#[pg_guard]
unsafe extern "C-unwind" fn revealing_run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
    once: bool,
) {
    // SAFETY: the arguments are handed on as they came; the boundary turns an ERROR raised inside
    // into a panic, so that the receiver is restored.
    let run = || unsafe {
        match PREVIOUS.get().copied().flatten() {
            Some(previous) => pg_guard_ffi_boundary(|| previous(query, direction, count, once)),
            None => pg_sys::standard_ExecutorRun(query, direction, count, once),
        }
    };
    // SAFETY: the executor passes a valid query.
    unsafe { with_receiver(query, run) }
}

#[cfg(feature = "pg18")]
unsafe extern "C-unwind" fn executor_run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
) {
    // SAFETY: as for the other versions, which have one more argument.
    unsafe {
        if wanted(query) {
            return revealing_run(query, direction, count);
        }
        match PREVIOUS.get() {
            Some(Some(previous)) => previous(query, direction, count),
            _ => plain::standard_ExecutorRun(query, direction, count),
        }
    }
}

#[cfg(feature = "pg18")]
#[pg_guard]
unsafe extern "C-unwind" fn revealing_run(
    query: *mut pg_sys::QueryDesc,
    direction: pg_sys::ScanDirection::Type,
    count: u64,
) {
    // SAFETY: as for the other versions, which have one more argument.
    let run = || unsafe {
        match PREVIOUS.get().copied().flatten() {
            Some(previous) => pg_guard_ffi_boundary(|| previous(query, direction, count)),
            None => pg_sys::standard_ExecutorRun(query, direction, count),
        }
    };
    // SAFETY: the executor passes a valid query.
    unsafe { with_receiver(query, run) }
}

/// Whether the rows of `query` are to be revealed.
///
/// # Safety
/// `query` is valid.
unsafe fn wanted(query: *mut pg_sys::QueryDesc) -> bool {
    if !REVEAL.get() {
        return false;
    }
    // SAFETY: the caller's promise; the kind of process is a global of this process.
    unsafe {
        let inner = (*query).dest;
        !inner.is_null()
            && (*query).operation == pg_sys::CmdType::CMD_SELECT
            && matches!(
                (*inner).mydest,
                pg_sys::CommandDest::DestRemote | pg_sys::CommandDest::DestRemoteExecute
            )
            && !pg_sys::am_walsender
    }
}

/// A receiver that says of each row that it is being sent.
#[repr(C)]
struct Revealing {
    /// First, so that PostgreSQL's pointer to it is a pointer to the whole.
    receiver: pg_sys::DestReceiver,
    inner: *mut pg_sys::DestReceiver,
}

/// # Safety
/// `query` is the query that `run` executes, and is [`wanted`].
unsafe fn with_receiver(query: *mut pg_sys::QueryDesc, run: impl FnOnce()) {
    // SAFETY: the caller's promise.
    let inner = unsafe { (*query).dest };
    // SAFETY: `inner` is a receiver, of which the public part is copied.
    let kind = unsafe { (*inner).mydest };
    let mut wrapper = Revealing {
        receiver: pg_sys::DestReceiver {
            receiveSlot: Some(receive_slot),
            rStartup: Some(startup),
            rShutdown: Some(shutdown),
            rDestroy: None,
            mydest: kind,
        },
        inner,
    };
    // SAFETY: the wrapper outlives `run`, after which, also when it raises, the query has its own
    // receiver again.
    unsafe {
        (*query).dest = (&raw mut wrapper).cast();
        let _restore = Restore { query, inner };
        run();
    }
}

struct Restore {
    query: *mut pg_sys::QueryDesc,
    inner: *mut pg_sys::DestReceiver,
}

impl Drop for Restore {
    fn drop(&mut self) {
        // SAFETY: the query is alive: whoever called ExecutorRun owns it.
        unsafe { (*self.query).dest = self.inner }
    }
}

/// Says that a row is being sent, until it is, or has failed to be.
struct Sending;

impl Sending {
    fn begin() -> Self {
        SENDING.set(true);
        Self
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        SENDING.set(false);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn receive_slot(
    slot: *mut pg_sys::TupleTableSlot,
    receiver: *mut pg_sys::DestReceiver,
) -> bool {
    // SAFETY: PostgreSQL passes the receiver it was given, which is the start of a wrapper; the inner
    // one gets what it would have got.
    unsafe {
        let inner = (*receiver.cast::<Revealing>()).inner;
        match (*inner).receiveSlot {
            Some(receive) => {
                let _sending = Sending::begin();
                pg_guard_ffi_boundary(|| receive(slot, inner))
            }
            None => false,
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn startup(
    receiver: *mut pg_sys::DestReceiver,
    operation: c_int,
    columns: pg_sys::TupleDesc,
) {
    // SAFETY: as in `receive_slot`.
    unsafe {
        let inner = (*receiver.cast::<Revealing>()).inner;
        if let Some(startup) = (*inner).rStartup {
            pg_guard_ffi_boundary(|| startup(inner, operation, columns));
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn shutdown(receiver: *mut pg_sys::DestReceiver) {
    // SAFETY: as in `receive_slot`.
    unsafe {
        let inner = (*receiver.cast::<Revealing>()).inner;
        if let Some(shutdown) = (*inner).rShutdown {
            pg_guard_ffi_boundary(|| shutdown(inner));
        }
    }
}
