//! The launcher and the sealing workers.
//!
//! The launcher is connected to no database. It starts a worker for a database when a writer marks
//! it, when somebody asks for a seal, and once for every database after a start (entries may be left
//! from before a crash). A worker leaves after a round without work, so that DROP DATABASE and
//! CREATE DATABASE … TEMPLATE do not have to wait for it.

use super::seal::{self, Round, Sealer};
use crate::error::{self, Result};
use crate::pg::journal::{Journal, Mode};
use crate::pg::shared::{self, Slot};
use crate::pg::{owner, process, settings, worker};
use pgrx::bgworkers::BackgroundWorker;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Pages of a journal above which writers are sent to the other one, so that it can be emptied.
const ROTATE_PAGES: u32 = 8192;

/// How long to wait before a failed or waiting worker is started again.
const RETRY: Duration = Duration::from_secs(5);

static SEAL_INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(1000);

/// Defines the setting and registers the launcher.
pub fn init() {
    GucRegistry::define_int_guc(
        c"ward.seal_interval",
        c"Time between two rounds of sealing.",
        c"Entries are sealed into the audit log at least this often while changes are made.",
        &SEAL_INTERVAL,
        10,
        3_600_000,
        GucContext::Sighup,
        GucFlags::UNIT_MS,
    );
    worker::register_launcher();
}

/// The launcher's loop.
pub fn launcher() {
    let shared = shared::get();
    shared.launcher.store(process::my_pid(), Ordering::Release);
    // Workers of an earlier launcher may still run; ids of dead ones would keep new ones away.
    let mut sweep: VecDeque<pg_sys::Oid> = process::databases().into();
    let mut swept: Option<pg_sys::Oid> = None;
    loop {
        let mut wait = RETRY;
        if swept.is_none_or(|database| shared.slot(database).is_none_or(idle))
            && let Some(database) = sweep.pop_front()
        {
            if let Some(slot) = shared.slot(database) {
                start(slot);
            }
            swept = Some(database);
        }
        if !sweep.is_empty() {
            wait = Duration::from_millis(50);
        }
        for slot in shared.slots().filter(|slot| idle(slot)) {
            let asked = slot.requested.load(Ordering::Acquire)
                > slot
                    .sealed
                    .load(Ordering::Acquire)
                    .max(slot.failed.load(Ordering::Acquire));
            let due = process::now_micros() >= slot.retry_at.load(Ordering::Acquire);
            let work = slot.dirty.load(Ordering::Acquire) || slot.pending.load(Ordering::Acquire);
            let fresh = slot.dirty.load(Ordering::Acquire) && !slot.failing.load(Ordering::Acquire);
            if asked || fresh || (work && due) {
                start(slot);
            } else if work {
                wait = wait.min(Duration::from_secs(1));
            }
        }
        if !BackgroundWorker::wait_latch(Some(wait)) {
            break;
        }
    }
    shared.launcher.store(0, Ordering::Release);
}

/// Whether the slot has no live worker.
fn idle(slot: &Slot) -> bool {
    let pid = slot.worker.load(Ordering::Acquire);
    // The launcher's own id marks a worker that is being started; it must show up in time.
    let never_came =
        pid == process::my_pid() && process::now_micros() >= slot.retry_at.load(Ordering::Acquire);
    if pid != 0 && (never_came || !process::alive(pid)) {
        let _ = slot
            .worker
            .compare_exchange(pid, 0, Ordering::AcqRel, Ordering::Acquire);
        return true;
    }
    pid == 0
}

fn start(slot: &Slot) {
    let database = pg_sys::Oid::from(slot.database.load(Ordering::Acquire));
    // Reserve the place with the launcher's own id until the worker registers itself.
    slot.worker.store(process::my_pid(), Ordering::Release);
    later(slot);
    if !worker::start_sealer(database) {
        slot.worker.store(0, Ordering::Release);
        slot.failing.store(true, Ordering::Release);
        pgrx::warning!(
            "pg_ward cannot start a sealing worker: no background worker is free (raise max_worker_processes)"
        );
    }
}

fn later(slot: &Slot) {
    slot.retry_at.store(
        process::now_micros() + RETRY.as_micros() as i64,
        Ordering::Release,
    );
}

/// A worker's entry in its slot, given back however the worker ends.
pub struct Registration(Option<&'static Slot>);

impl Registration {
    /// Enters this process as the worker of `database`.
    pub fn new(database: pg_sys::Oid) -> Registration {
        let slot = shared::get().slot(database);
        if let Some(slot) = slot {
            slot.worker.store(process::my_pid(), Ordering::Release);
        }
        Registration(slot)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let Some(slot) = self.0 else { return };
        if std::thread::panicking() {
            slot.failed
                .fetch_max(slot.requested.load(Ordering::Acquire), Ordering::AcqRel);
            slot.failing.store(true, Ordering::Release);
            slot.dirty.store(true, Ordering::Release);
            later(slot);
        }
        slot.worker.store(0, Ordering::Release);
        process::wake(&shared::get().launcher);
    }
}

/// The sealing worker's loop.
pub fn sealer(database: pg_sys::Oid) {
    let Some(slot) = shared::get().slot(database) else {
        return;
    };
    let mut state = None;
    loop {
        slot.dirty.store(false, Ordering::Release);
        let asked = slot.requested.load(Ordering::Acquire);
        worker::report(c"sealing the audit trail");
        let (round, block_xid) = round(&mut state).unwrap_or_else(|report| error::raise(report));
        if let (Some(sealer), Round::Sealed) = (&mut state, &round) {
            rotate(sealer, slot, block_xid).unwrap_or_else(|report| error::raise(report));
        }
        slot.pending
            .store(state.as_ref().is_some_and(Sealer::waits), Ordering::Release);
        slot.sealed.fetch_max(asked, Ordering::AcqRel);
        slot.failing.store(false, Ordering::Release);
        worker::report_idle();
        let more =
            slot.dirty.load(Ordering::Acquire) || slot.requested.load(Ordering::Acquire) > asked;
        match round {
            Round::Sealed => {}
            Round::Empty if more => {}
            Round::Empty | Round::NoLog => {
                later(slot);
                return;
            }
        }
        if slot.requested.load(Ordering::Acquire) == asked {
            let interval = Duration::from_millis(SEAL_INTERVAL.get() as u64);
            if !BackgroundWorker::wait_latch(Some(interval)) {
                slot.dirty.store(true, Ordering::Release);
                return;
            }
        }
        if BackgroundWorker::sighup_received() {
            settings::reload();
        }
    }
}

/// One round in its own transaction; also the id of that transaction.
fn round(state: &mut Option<Sealer>) -> Result<(Round, u64)> {
    let lock = || {
        if let Some(blocks) = owner::table(c"audit_block") {
            worker::lock_exclusively(blocks);
        }
    };
    worker::transaction(lock, || {
        // Taken out: after an error it is stale, and the next worker loads it anew.
        let mut sealer = match state.take() {
            Some(sealer) => sealer,
            None => match Sealer::load()? {
                Some(sealer) => sealer,
                None => return Ok((Round::NoLog, 0)),
            },
        };
        let round = sealer.round()?;
        *state = Some(sealer);
        Ok((round, worker::own_xid()))
    })
}

/// Sends writers to the other journal when theirs has grown, and empties the one they have left.
fn rotate(sealer: &mut Sealer, slot: &Slot, block_xid: u64) -> Result<()> {
    let lock = || {};
    worker::transaction(lock, || {
        let current = slot.journal.load(Ordering::Acquire) as usize & 1;
        let pages = seal::open_journals(Mode::Read)?.map(|journal| journal.pages());
        let other = 1 - current;
        if pages[other] > 0 {
            if pages[other] >= ROTATE_PAGES || pages[current] >= ROTATE_PAGES {
                empty(sealer, other as u8, block_xid)?;
            }
        } else if pages[current] >= ROTATE_PAGES {
            slot.journal.store(other as u32, Ordering::Release);
        }
        Ok(())
    })
}

fn empty(sealer: &mut Sealer, number: u8, block_xid: u64) -> Result<()> {
    let name = if number == 0 {
        c"audit_journal_0"
    } else {
        c"audit_journal_1"
    };
    let Some(oid) = owner::table(name) else {
        return Ok(());
    };
    if !worker::seen_by_all(block_xid) || !worker::try_lock_against_all(oid) {
        return Ok(());
    }
    let journal = Journal::open(oid, number, Mode::Read);
    if !sealer.drained(&journal) {
        return Ok(());
    }
    drop(journal);
    // The table gets another file, by which the sealer notices that it must begin at the first page.
    Spi::run(&format!("TRUNCATE ward.audit_journal_{number}")).map_err(error::spi)
}

/// Has the worker seal now, and waits until everything committed before the call is sealed. Returns
/// the number of leaves in the log.
#[pg_extern(parallel_unsafe)]
fn seal_audit_trail() -> Result<i64> {
    if process::in_recovery() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "the audit trail cannot be sealed on a standby",
            "Call ward.seal_audit_trail() on the primary.",
        ));
    }
    let Some(slot) = shared::mine() else {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!(
                "more than {} databases of this cluster have an audit trail",
                shared::SLOTS
            ),
        ));
    };
    let ticket = slot.requested.fetch_add(1, Ordering::AcqRel) + 1;
    process::wake(&shared::get().launcher);
    process::wake(&slot.worker);
    loop {
        if slot.failed.load(Ordering::Acquire) >= ticket {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
                "sealing the audit trail failed",
                "The server's log says why. The sealing worker tries again by itself.",
            ));
        }
        if slot.sealed.load(Ordering::Acquire) >= ticket {
            break;
        }
        process::nap(Duration::from_millis(2));
    }
    let size: Option<i64> =
        owner::run(|| Spi::get_one("SELECT max(tree_size) FROM ward.audit_block"))
            .map_err(error::spi)?;
    Ok(size.unwrap_or(0))
}
