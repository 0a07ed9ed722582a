//! The launcher and the sealing workers.
//!
//! The launcher is connected to no database. It starts a worker for a database when a writer marks
//! it, when somebody asks for a seal, and once for every database after a start (entries may be left
//! from before a crash). A worker leaves after a round without work, so that DROP DATABASE and
//! CREATE DATABASE … TEMPLATE do not have to wait for it.

use super::index;
use super::publish::Publisher;
use super::retention;
use super::seal::{self, Round, Sealer};
use super::store;
use crate::error::{self, Result};
use crate::pg::journal::{Journal, Mode};
use crate::pg::shared::{self, RETRY, STARTING, Shared, Slot, TURN};
use crate::pg::worker::{self, Started};
use crate::pg::{owner, process, settings};
use pgrx::bgworkers::BackgroundWorker;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

/// Pages of a journal above which writers are sent to the other one, so that it can be emptied.
const ROTATE_PAGES: u32 = 8192;

/// The longest interval between rounds that a worker waits inside the database. It leaves before a
/// longer one, so that DROP DATABASE and CREATE DATABASE … TEMPLATE, which wait five seconds for
/// others to leave, succeed.
const LINGER: Duration = Duration::from_secs(2);

/// How soon entries of unfinished transactions are looked at again.
const PENDING: Duration = Duration::from_secs(1);

/// How often the launcher looks for slots of databases that were dropped.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

/// How often a worker writes the usage of keys to its table.
const KEY_USAGE: Duration = Duration::from_secs(60);

/// How long `seal_audit_trail()` waits for a launcher that does not run.
const PATIENCE: Duration = Duration::from_secs(10);

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

fn interval() -> Duration {
    Duration::from_millis(u64::try_from(SEAL_INTERVAL.get()).unwrap_or(0))
}

/// The launcher's loop.
pub fn launcher() {
    let shared = shared::get();
    shared.launcher.store(process::my_pid(), Ordering::Release);
    worker::announce_exit();
    for slot in shared.slots() {
        // Whom an earlier launcher was about to start is unknown; such a worker enters itself.
        let _ = slot
            .worker
            .compare_exchange(STARTING, 0, Ordering::AcqRel, Ordering::Acquire);
    }
    let databases = process::databases().into_iter();
    let mut launcher = Launcher {
        shared,
        started: Vec::new(),
        sweep: databases
            .filter(|database| database.accepts_connections)
            .map(|database| database.oid)
            .collect(),
        sweeping: None,
        sweep_again: None,
        warned: None,
        checked: Instant::now(),
    };
    loop {
        let wait = launcher.step();
        process::nap(wait);
        if BackgroundWorker::sighup_received() {
            settings::reload();
            for slot in shared.slots() {
                slot.not_after(interval().max(RETRY));
            }
        }
    }
}

struct Launcher {
    shared: &'static Shared,
    /// Workers started for a slot.
    started: Vec<(pg_sys::Oid, Started)>,
    /// Databases still to be looked at once.
    sweep: VecDeque<pg_sys::Oid>,
    /// The worker that looks at one of them. It has no slot until it has found a log.
    sweeping: Option<(pg_sys::Oid, Started)>,
    /// When to go on after no background worker was free.
    sweep_again: Option<Instant>,
    /// When the lack of background workers was last logged.
    warned: Option<Instant>,
    /// When slots of dropped databases were last looked for.
    checked: Instant,
}

impl Launcher {
    /// Starts what is to be started; answers how long to wait for the next step.
    fn step(&mut self) -> Duration {
        self.reap();
        self.sweep();
        // Slots first, databases after: the database of a slot taken in between is not missed.
        let mut unattended: Vec<&Slot> = self.shared.slots().filter(|slot| idle(slot)).collect();
        unattended.sort_by_key(|slot| slot.began_at());
        if self.checked.elapsed() >= HOUSEKEEPING || unattended.iter().any(|slot| ready(slot)) {
            self.checked = Instant::now();
            let databases = process::databases();
            for slot in &unattended {
                if !databases.iter().any(|database| database.oid == slot.oid()) {
                    slot.free();
                } else if ready(slot) {
                    self.start(slot);
                }
            }
        }
        let waiting = self
            .shared
            .slots()
            .filter(|slot| idle(slot) && has_work(slot));
        let wait = waiting.map(Slot::due_in).min().unwrap_or(RETRY).min(RETRY);
        if self.sweeping.is_some() || !self.sweep.is_empty() {
            return wait.min(Duration::from_millis(50));
        }
        wait.max(Duration::from_millis(1))
    }

    /// Notices workers that ended before they could enter themselves in their slot.
    fn reap(&mut self) {
        let shared = self.shared;
        self.started.retain(|(database, worker)| {
            if !worker.gone() {
                return true;
            }
            if let Some(slot) = shared.find(*database)
                && slot
                    .worker
                    .compare_exchange(STARTING, 0, Ordering::AcqRel, Ordering::Acquire)
                    .is_ok()
            {
                slot.ended();
            }
            false
        });
    }

    fn start(&mut self, slot: &Slot) {
        let database = slot.oid();
        let began_at = slot.began_at();
        slot.begin();
        slot.worker.store(STARTING, Ordering::Release);
        match worker::start_sealer(database) {
            Some(worker) => {
                self.started.retain(|(other, _)| *other != database);
                self.started.push((database, worker));
            }
            None => {
                slot.worker.store(0, Ordering::Release);
                if self.ask_for_turn() {
                    slot.put_off(began_at);
                    self.warn(HOUSEKEEPING);
                } else {
                    slot.ended();
                    self.warn(RETRY);
                }
            }
        }
    }

    /// Has a worker of another database end after its round; false when there is none. So every database
    /// gets its turn, however few background workers there are.
    fn ask_for_turn(&self) -> bool {
        let busy = |slot: &&Slot| slot.worker.load(Ordering::Acquire) != 0;
        // One that has left its slot holds its place until the postmaster has seen it end.
        let ending = || self.started.iter().any(|(_, worker)| !worker.gone());
        if !self.shared.slots().any(|slot| busy(&slot)) && !ending() {
            return false;
        }
        self.shared.crowded.store(true, Ordering::Release);
        for slot in self.shared.slots().filter(busy) {
            process::wake(&slot.worker);
        }
        true
    }

    /// Looks at every database once, one after the other.
    fn sweep(&mut self) {
        if let Some((database, worker)) = &self.sweeping {
            let entered = |slot: &Slot| slot.worker.load(Ordering::Acquire) != 0;
            if !worker.gone() && !self.shared.find(*database).is_some_and(entered) {
                return;
            }
            self.sweeping = None;
        }
        if self.sweep_again.is_some_and(|time| Instant::now() < time) {
            return;
        }
        let Some(database) = self.sweep.pop_front() else {
            return;
        };
        if let Some(slot) = self.shared.find(database) {
            slot.dirty.store(true, Ordering::Release);
        } else if let Some(worker) = worker::start_sealer(database) {
            self.sweeping = Some((database, worker));
        } else {
            self.sweep.push_front(database);
            let pause = if self.ask_for_turn() { TURN } else { RETRY };
            self.sweep_again = Some(Instant::now() + pause);
            self.warn(RETRY);
        }
    }

    fn warn(&mut self, pause: Duration) {
        if self.warned.is_none_or(|time| time.elapsed() >= pause) {
            self.warned = Some(Instant::now());
            pgrx::warning!(
                "pg_ward cannot start a sealing worker: no background worker is free (raise max_worker_processes)"
            );
        }
    }
}

/// Whether the slot has no live worker.
fn idle(slot: &Slot) -> bool {
    let pid = slot.worker.load(Ordering::Acquire);
    if pid > 0 && !process::alive(pid) {
        let gone = slot
            .worker
            .compare_exchange(pid, 0, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if gone {
            slot.ended();
        }
        return gone;
    }
    pid == 0
}

fn has_work(slot: &Slot) -> bool {
    slot.dirty.load(Ordering::Acquire) || slot.pending.load(Ordering::Acquire) || slot.asked()
}

/// Whether a worker is to be started for the slot now.
fn ready(slot: &Slot) -> bool {
    let at_once = !slot.failing.load(Ordering::Acquire)
        && (slot.asked() || (slot.dirty.load(Ordering::Acquire) && interval() <= LINGER));
    at_once || (has_work(slot) && slot.due_in().is_zero())
}

/// Notes in shared memory that this process ends.
pub fn left() {
    let shared = shared::get();
    let pid = process::my_pid();
    let _ = shared
        .launcher
        .compare_exchange(pid, 0, Ordering::AcqRel, Ordering::Acquire);
    if let Some(slot) = shared.find(process::my_database())
        && slot.worker.load(Ordering::Acquire) == pid
    {
        // First the outcome: a worker that is started next begins an attempt of its own.
        slot.ended();
        slot.worker.store(0, Ordering::Release);
        process::wake(&shared.launcher);
    }
}

/// Enters this process as the worker of `database`; None when there is nothing to do for it.
fn enter(database: pg_sys::Oid) -> Option<&'static Slot> {
    let shared = shared::get();
    let has_log = || worker::transaction(|| {}, || owner::table(c"audit_log").is_some());
    let slot = match shared.find(database) {
        Some(slot) => slot,
        None if !has_log() => return None,
        None => {
            let claimed = shared.claim(database);
            if claimed.is_none() {
                pgrx::warning!(
                    "pg_ward cannot seal the audit trail of database {}: {} databases have one already",
                    database.to_u32(),
                    shared::SLOTS
                );
            }
            claimed?
        }
    };
    let current = slot.worker.load(Ordering::Acquire);
    if process::alive(current) {
        return None;
    }
    slot.worker
        .compare_exchange(
            current,
            process::my_pid(),
            Ordering::AcqRel,
            Ordering::Acquire,
        )
        .ok()?;
    worker::announce_exit();
    Some(slot)
}

/// The sealing worker's loop.
pub fn sealer(database: pg_sys::Oid) {
    let Some(slot) = enter(database) else {
        return;
    };
    let mut state = None;
    let mut publisher = Publisher::new();
    let mut written = None;
    // what an earlier worker left to remove
    let mut removals = true;
    loop {
        slot.dirty.store(false, Ordering::Release);
        let asked = slot.begin();
        worker::report(c"sealing the audit trail");
        let outcome = round(&mut state).unwrap_or_else(|report| error::raise(report));
        let Some((round, block_xid)) = outcome else {
            slot.handed_over();
            return;
        };
        removals |= matches!(round, Round::Sealed);
        let mut cleaning = false;
        if removals {
            let left = retention::perform().unwrap_or_else(|report| error::raise(report));
            removals = left.any;
            cleaning = left.journals;
        }
        if let (Some(sealer), true) = (&mut state, cleaning || matches!(round, Round::Sealed)) {
            let at = if cleaning { 1 } else { ROTATE_PAGES };
            rotate(sealer, slot, block_xid, at).unwrap_or_else(|report| error::raise(report));
        }
        let waits = removals || state.as_ref().is_some_and(Sealer::waits);
        slot.pending.store(waits, Ordering::Release);
        slot.not_before(interval().max(PENDING));
        slot.succeeded(asked);
        // who waits for the seal need not wait for this
        if let Some(wait) = publish(&mut publisher, &round) {
            slot.pending.store(true, Ordering::Release);
            if !waits && interval() <= LINGER {
                slot.not_before(wait.max(PENDING));
            }
        }
        if written.is_none_or(|time: Instant| time.elapsed() >= KEY_USAGE) {
            written = Some(Instant::now());
            worker::transaction(|| {}, crate::keys::flush_by_worker)
                .unwrap_or_else(|report| error::raise(report));
        }
        if let Some(sealer) = &mut state
            && sealer.index().lacks()
        {
            let whole = worker::transaction(|| {}, index::build_some)
                .unwrap_or_else(|report| error::raise(report));
            sealer.index().set_whole(whole);
        }
        worker::report_idle();
        let asked_again = || slot.requested.load(Ordering::Acquire) > asked;
        if !asked_again() {
            let stay = match round {
                Round::Sealed => true,
                Round::Empty => slot.dirty.load(Ordering::Acquire),
                Round::NoLog => false,
            };
            if !stay || interval() > LINGER {
                return;
            }
            process::nap(interval());
        }
        if shared::get().crowded.swap(false, Ordering::AcqRel) {
            // Another database's turn; what comes meanwhile is sealed when it is this one's again.
            slot.dirty.store(true, Ordering::Release);
            return;
        }
        if BackgroundWorker::sighup_received() {
            settings::reload();
        }
    }
}

/// Publishes the head of the log if it is time; else how long that takes.
fn publish(publisher: &mut Publisher, round: &Round) -> Option<Duration> {
    let sealed = match round {
        Round::NoLog => return None,
        Round::Empty => false,
        Round::Sealed => true,
    };
    publisher
        .round(sealed)
        .unwrap_or_else(|report| error::raise(report))
}

/// One round in its own transaction; also the id of that transaction. None when the log was made
/// anew, or continued by somebody else, since this process's last round: then everything that the
/// process remembers, keys included, is out of date.
fn round(state: &mut Option<Sealer>) -> Result<Option<(Round, u64)>> {
    let lock = || {
        if let Some(blocks) = owner::table(c"audit_block") {
            worker::lock_exclusively(blocks);
        }
    };
    worker::transaction(lock, || {
        if owner::table(c"audit_block").is_none() {
            return Ok(Some((Round::NoLog, 0)));
        }
        // Taken out: after an error it is stale.
        let mut sealer = match state.take() {
            Some(sealer) if sealer.is_current() => sealer,
            Some(_) => return Ok(None),
            None => match Sealer::load()? {
                Some(sealer) => sealer,
                None => return Ok(Some((Round::NoLog, 0))),
            },
        };
        let round = sealer.round()?;
        *state = Some(sealer);
        Ok(Some((round, worker::own_xid())))
    })
}

/// Sends writers to the other journal when theirs has grown, and empties the one they have left.
/// `at` is the number of pages from which on that is worth it.
fn rotate(sealer: &mut Sealer, slot: &Slot, block_xid: u64, at: u32) -> Result<()> {
    let lock = || {};
    worker::transaction(lock, || {
        let current = slot.journal.load(Ordering::Acquire) as usize & 1;
        let pages = seal::open_journals(Mode::Read)?.map(|journal| journal.pages());
        let other = 1 - current;
        if pages[other] > 0 {
            if pages[other] >= at || pages[current] >= at {
                empty(sealer, other as u8, block_xid)?;
            }
        } else if pages[current] >= at {
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
pub(super) fn seal_audit_trail() -> Result<i64> {
    if process::in_recovery() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "the audit trail cannot be sealed on a standby",
            "Call ward.seal_audit_trail() on the primary.",
        ));
    }
    sealed_once_more()?;
    // As the owner and with a fresh snapshot: the caller's own may be older than the block.
    Ok(owner::run(store::last_block).map_or(0, |block| block.tree_size as i64))
}

/// Has the worker seal, and waits until it has.
pub fn sealed_once_more() -> Result<()> {
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
    let launcher = &shared::get().launcher;
    process::wake(launcher);
    process::wake(&slot.worker);
    let mut served = Instant::now();
    let mut looked = Instant::now();
    loop {
        // Success first: a later round that fails takes nothing back.
        if slot.sealed.load(Ordering::Acquire) >= ticket {
            break;
        }
        if slot.failed.load(Ordering::Acquire) >= ticket {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_EXTERNAL_ROUTINE_EXCEPTION,
                "sealing the audit trail failed",
                "The server's log says why. The sealing worker tries again by itself.",
            ));
        }
        if looked.elapsed() >= Duration::from_millis(100) {
            looked = Instant::now();
            let served_by = |cell: &AtomicI32| process::alive(cell.load(Ordering::Acquire));
            if served_by(launcher) || served_by(&slot.worker) {
                served = looked;
            } else if served.elapsed() >= PATIENCE {
                return Err(error::report_hint(
                    PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    "the audit trail cannot be sealed: pg_ward's launcher is not running",
                    "The server's log says why. If it lacks background workers, raise max_worker_processes and restart the server.",
                ));
            }
        }
        process::nap(Duration::from_millis(2));
    }
    Ok(())
}
