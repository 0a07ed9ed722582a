//! Making the index from the leaves: of what lacks one, or of everything.

use super::pairs::{self, Run};
use super::{lock, runs};
use crate::audit::{find, store};
use crate::error::{self, Result};
use crate::pg::{owner, process, xact};
use pgrx::prelude::*;
use std::ops::Range;
use std::time::{Duration, Instant};

/// How long the worker builds before it seals again.
const PATIENCE: Duration = Duration::from_millis(200);

/// The level of the largest run that the worker builds at once: more would take too long.
const LARGEST: u8 = 1;

/// Indexes some of what lacks an index, and forgets what was pruned, in a transaction of the
/// sealing worker. Returns whether nothing is left to do.
pub fn some() -> Result<bool> {
    if !lock::try_to_write() {
        return Ok(false);
    }
    let started = Instant::now();
    let size = store::last_block().map_or(0, |block| block.tree_size);
    for run in runs::present() {
        if !find::is_there(run.leaves()) {
            runs::forget(run)?;
        }
    }
    for run in missing(size, LARGEST) {
        if started.elapsed() >= PATIENCE {
            return Ok(false);
        }
        build(run)?;
        runs::merge(run)?;
    }
    Ok(true)
}

/// The runs to build, so that everything below `size` has one that can; none of what was pruned.
fn missing(size: u64, largest: u8) -> Vec<Run> {
    let covered: Vec<Range<u64>> = runs::present().into_iter().map(Run::leaves).collect();
    super::gaps(covered, size - size % Run::LEAST)
        .into_iter()
        .flat_map(|gap| Run::within(gap, largest))
        .filter(|run| find::is_there(run.leaves()))
        .collect()
}

/// The pairs of a run, sorted.
pub fn pairs_of(run: Run) -> Vec<u64> {
    let mut pairs = Vec::new();
    find::leaves(run.leaves(), |index, leaf, _| {
        pairs.extend(pairs::pair(index, leaf));
    });
    pairs.sort_unstable();
    pairs
}

fn build(run: Run) -> Result<()> {
    runs::put(run, &pairs_of(run))
}

/// Makes the index anew from the leaves; returns how many leaves it covers.
#[pg_extern(parallel_unsafe)]
fn rebuild_audit_index() -> Result<i64> {
    if owner::table(c"audit_log").is_none() {
        return Ok(0);
    }
    if process::in_recovery() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "a standby cannot rebuild the index of the audit trail",
            "Call the function on the primary; the standby gets the index from there.",
        ));
    }
    if xact::keeps_its_snapshot() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            "the index of the audit trail is rebuilt in transactions of level READ COMMITTED only",
            "BEGIN ISOLATION LEVEL READ COMMITTED, or call the function outside a transaction block.",
        ));
    }
    lock::exclusively();
    owner::run(|| -> Result<()> { runs::clear() })?;
    // a snapshot of its own, behind the deletion
    owner::run(|| {
        let size = store::last_block().map_or(0, |block| block.tree_size);
        for run in missing(size, Run::TOP) {
            pgrx::check_for_interrupts!();
            build(run)?;
        }
        Ok((size - size % Run::LEAST) as i64)
    })
}
