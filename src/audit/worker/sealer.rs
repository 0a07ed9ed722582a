//! The sealing worker of one database.

use super::{LINGER, interval};
use crate::audit::publish::Publisher;
use crate::audit::seal::{self, Round, Sealer};
use crate::audit::{index, retention};
use crate::error::{self, Result};
use crate::pg::journal::{Journal, Mode};
use crate::pg::shared::{self, Slot};
use crate::pg::{owner, process, settings, worker};
use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Pages of a journal above which writers are sent to the other one, so that it can be emptied. Few, so that writers meet
/// pages that processors still have in their caches; many enough that the emptying, of which every writer takes notice, is
/// rare.
const ROTATE_PAGES: u32 = 1024;

/// How soon entries of unfinished transactions are looked at again.
const PENDING: Duration = Duration::from_secs(1);

/// The shortest pause between two rounds.
const SHORTEST: Duration = Duration::from_millis(5);

/// How often a worker writes the usage of keys to its table.
const KEY_USAGE: Duration = Duration::from_secs(60);

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
        let began = Instant::now();
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
            // from the beginning of one round to that of the next, as the setting says
            process::nap(interval().saturating_sub(began.elapsed()).max(SHORTEST));
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
