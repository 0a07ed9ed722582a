//! The launcher: which databases get a sealing worker, and when.

use super::{LINGER, interval};
use crate::pg::shared::{self, RETRY, STARTING, Shared, Slot, TURN};
use crate::pg::worker::{self, Started};
use crate::pg::{process, settings};
use pgrx::bgworkers::BackgroundWorker;
use pgrx::prelude::*;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often the launcher looks for slots of databases that were dropped.
const HOUSEKEEPING: Duration = Duration::from_secs(60);

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
