//! Going on elsewhere: in another cluster, whose transaction ids are others, and from a restore that was declared.

use super::{Draft, Round, Sealer, open_journals, torn};
use crate::audit::history::Order;
use crate::audit::signing_key;
use crate::audit::store::Identity;
use crate::error::{self, Result};
use crate::pg::journal::Mode;
use crate::pg::{owner, process, worker};
use pgrx::prelude::*;
use std::time::Duration;
use ward_log::{Beginning, Snapshot};

/// How often the locks are tried for that keep others from the journals, and how long is waited in between.
const LOCK_TRIES: usize = 40;
const LOCK_WAIT: Duration = Duration::from_millis(50);

impl Sealer {
    /// Goes on in a cluster that counts other transaction ids: closes the old space with all entries that came along,
    /// and begins the new one. Writers wait for it, so all that the journals hold is of the old one.
    pub(super) fn change_xids(&mut self, now: Snapshot, reason: String) -> Result<Round> {
        lock_journals()?;
        let left_at = self.tree.size();
        let journals = open_journals(Mode::Read)?;
        let all = Snapshot {
            xmin: u64::MAX,
            xmax: u64::MAX,
            xip: Vec::new(),
        };
        let ready = self.progress.finished(&journals, &self.snapshot, &all);
        let last = ready
            .last()
            .map_or(0, |chunk| chunk.xid.saturating_add(1))
            .max(self.snapshot.xmax);
        let closing = Draft {
            before: self.snapshot.clone(),
            after: Snapshot {
                xmin: last,
                xmax: last,
                xip: Vec::new(),
            },
            begins: None,
            anyway: true,
        };
        self.block(closing, &journals, &ready)?;
        drop(journals);
        Spi::run("TRUNCATE ward.audit_journal_0, ward.audit_journal_1").map_err(error::spi)?;
        let begins = Identity {
            new_xids: true,
            ..Identity::beginning(reason, left_at)?
        };
        self.begin(begins, Snapshot::default(), now)
    }

    /// Makes a block that holds nothing but the beginning of an incarnation.
    fn begin(&mut self, begins: Identity, before: Snapshot, after: Snapshot) -> Result<Round> {
        let draft = Draft {
            before,
            after,
            begins: Some(begins),
            anyway: true,
        };
        let journals = open_journals(Mode::Read)?;
        self.block(draft, &journals, &[])
    }

    /// Does what sealed leaves order.
    pub(super) fn perform(&mut self, orders: Vec<(u64, Vec<u8>)>) -> Result<()> {
        let mut restored: Option<(u64, String)> = None;
        for (entry, leaf) in orders {
            let Some(order) = Order::of(&leaf) else {
                continue;
            };
            match order {
                Order::KeyChange { old_key, new_key } => {
                    signing_key::sealed(&old_key, &new_key, entry)?;
                }
                Order::Restore { size, reason } => {
                    let smallest = restored.map_or(size, |(other, _)| other.min(size));
                    restored = Some((smallest, reason));
                }
            }
        }
        let Some((size, reason)) = restored else {
            return Ok(());
        };
        let reason = Beginning::Declared.reason(Some(&reason));
        let begins = Identity {
            restored_size: Some(size),
            ..Identity::beginning(reason, self.tree.size())?
        };
        let snapshot = self.snapshot.clone();
        self.begin(begins, snapshot.clone(), snapshot)?;
        Ok(())
    }
}

/// Keeps everybody else from the journals until the transaction ends. Who waits for this worker may have read them, so it
/// does not wait for him.
fn lock_journals() -> Result<()> {
    for name in [c"audit_journal_0", c"audit_journal_1"] {
        let table = owner::table(name).ok_or_else(torn)?;
        let mut tries = 0;
        while !worker::try_lock_against_all(table) {
            tries += 1;
            if tries > LOCK_TRIES {
                return Err(error::report_hint(
                    PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE,
                    "the audit log was brought to another cluster and cannot go on: its journals are in use",
                    "The sealing worker tries again by itself. A prepared transaction that has written entries has to end first.",
                ));
            }
            process::nap(LOCK_WAIT);
        }
    }
    Ok(())
}
