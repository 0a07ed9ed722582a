//! Verification in SQL: feeds the stored leaves to `ward_log`'s verifier, which the offline verifier
//! uses too.

pub mod incremental;
mod range;
mod record;
mod run;
mod source;

pub(super) use source::Stored;

use super::store::{self, Block};
use crate::error::{self, Result};
use crate::keys::{self, Purpose};
use crate::pg::{owner, process, query};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use range::{Covered, Range};
use run::Pass;
use std::ffi::CStr;
use ward_log::{Hash, Options, Violation, ViolationType, consistency_proof, verify_consistency};
use zeroize::Zeroizing;

/// How many processes may verify together.
const MAX_JOBS: i32 = 64;

/// What a trigger that is not as it was made is reported as.
const TRIGGER_ALTERED: &str = "trigger_altered";

macro_rules! findings_of {
    ($view:literal) => {
        match CStr::from_bytes_with_nul(
            concat!(
                "SELECT convert_to(concat_ws(': ', CASE WHEN table_name IS NOT NULL ",
                "THEN format('%I.%I', table_schema, table_name) END, problem), 'UTF8') FROM ward.",
                $view,
                "\0"
            )
            .as_bytes(),
        ) {
            Ok(query) => query,
            Err(_) => c"",
        }
    };
}

const ALTERED: &CStr = findings_of!("audit_trigger_findings");
const ALTERED_TRIGGERS: &CStr = findings_of!("audit_trigger_problems");

/// What was checked.
struct Checked {
    entries: u64,
    blocks: u64,
}

/// Verifies what a range covers, as one snapshot sees it, and hands every violation to `report`.
fn verify(range: &Range, jobs: u32, report: &mut dyn FnMut(Violation)) -> Result<Checked> {
    if process::in_recovery() {
        // Before the snapshot: a standby replays what its primary removes without asking who has not seen the order.
        owner::run(hold_segments);
    }
    owner::run(|| {
        let covered = range.covered();
        let checked = verify_covered(&covered, jobs, report)?;
        range.misplaced(&covered).into_iter().for_each(report);
        Ok(checked)
    })
}

fn verify_covered(
    covered: &Covered,
    jobs: u32,
    report: &mut dyn FnMut(Violation),
) -> Result<Checked> {
    // Without any block there may be leaves and tiles still, whose blocks somebody deleted.
    let last = store::last_block();
    let size = last.as_ref().map_or(0, |last| last.tree_size);
    let blocks = covered.blocks.end - covered.blocks.start;
    let pass = |from_block, until| -> Result<Pass> {
        Ok(Pass {
            size,
            from_block,
            until,
            counted: covered.leaves.clone(),
            options: options()?,
            jobs,
        })
    };
    if covered.all {
        let entries = pass(0, None)?.run(report)?;
        return Ok(Checked { entries, blocks });
    }
    let Some(last) = last.filter(|_| blocks > 0) else {
        return Ok(Checked { entries: 0, blocks });
    };
    if covered.blocks.end <= last.block_no {
        let mut sound = true;
        let entries =
            pass(covered.blocks.start, Some(covered.leaves.end))?.run(&mut |_| sound = false)?;
        if !connected(covered, &last) {
            report(unconnected());
        } else if sound {
            return Ok(Checked { entries, blocks });
        }
        // What lies behind the range may explain what was found, or say what it is.
    }
    let entries = pass(covered.blocks.start, None)?.run(&mut |violation| {
        if covered.concerns(&violation) {
            report(violation);
        }
    })?;
    Ok(Checked { entries, blocks })
}

/// Keeps all segments from being dropped or replaced until the transaction ends.
fn hold_segments() {
    let size = store::last_block().map_or(0, |last| last.tree_size);
    for number in store::segment_numbers(size) {
        // looking it up locks it
        store::segment_table(number);
    }
}

/// What the verifier relies on. Call it after the snapshot was taken: a key that a sealed entry names is there by then.
fn options() -> Result<Options> {
    let audit_keys = keys::all_versions(Purpose::Audit)?
        .iter()
        .map(|key| (key.id.0, Zeroizing::new(*key.material.expose())))
        .collect();
    Ok(Options {
        audit_keys,
        ..Options::default()
    })
}

/// Whether the stored hashes prove that the tree at the end of a range became the log's tree.
fn connected(covered: &Covered, last: &Block) -> bool {
    let size = covered.leaves.end;
    let mut root: Option<Hash> = None;
    store::blocks(covered.blocks.end - 1, 1, |block| root = Some(block.root));
    let proof = consistency_proof(size, last.tree_size, store::tile);
    match (root, proof) {
        (Some(root), Ok(proof)) => {
            verify_consistency((size, &root), (last.tree_size, &last.root), &proof)
        }
        _ => false,
    }
}

fn unconnected() -> Violation {
    Violation {
        kind: ViolationType::TileAltered,
        block: None,
        entry: None,
        detail: "the stored hashes do not connect the range with the end of the log; \
                 verify the whole log to find the place"
            .to_owned(),
    }
}

/// What differs between the tables whose audit was enabled and the triggers that are there, and with `entries` the trail.
pub(super) fn altered_triggers(entries: bool, found: &mut dyn FnMut(String)) {
    if owner::table(c"audit_log").is_none() {
        return;
    }
    let query = if entries { ALTERED } else { ALTERED_TRIGGERS };
    if owner::table(c"audit_trigger_findings").is_none() {
        found(
            "view ward.audit_trigger_findings is missing or no member of the extension pg_ward"
                .to_owned(),
        );
        return;
    }
    owner::run(|| {
        query::read(query, &[], |row| {
            found(String::from_utf8_lossy(&row.bytes(1)).into_owned())
        });
    });
}

/// How many processes are to work.
fn jobs(jobs: Option<i32>) -> Result<u32> {
    let refused = || {
        error::report_hint(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("jobs must be between 1 and {MAX_JOBS}"),
            "It is how many processes work; max_parallel_workers limits it, too.",
        )
    };
    let jobs = jobs.filter(|jobs| *jobs <= MAX_JOBS).ok_or_else(refused)?;
    u32::try_from(jobs)
        .ok()
        .filter(|jobs| *jobs > 0)
        .ok_or_else(refused)
}

/// One row: valid, or the first failure.
type Verdict = (bool, i64, i64, Option<i64>, Option<String>);

fn verdict(checked: &Checked, first: Option<Violation>) -> Verdict {
    let reason = first.as_ref().map(|violation| {
        let block = violation
            .block
            .map_or(String::new(), |block| format!(" in block {block}"));
        format!("{}{block}: {}", violation.kind.as_str(), violation.detail)
    });
    (
        first.is_none(),
        checked.entries as i64,
        checked.blocks as i64,
        first
            .and_then(|violation| violation.entry)
            .and_then(|entry| i64::try_from(entry).ok()),
        reason,
    )
}

/// Verifies the sealed log: one row, valid or with the first failure.
#[pg_extern(parallel_unsafe)]
fn verify_audit_trail_integrity(
    from_time: default!(Option<TimestampWithTimeZone>, "NULL"),
    to_time: default!(Option<TimestampWithTimeZone>, "NULL"),
    jobs: default!(Option<i32>, 1),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(is_valid, bool),
            name!(entries_checked, i64),
            name!(blocks_checked, i64),
            name!(first_bad_entry, Option<i64>),
            name!(reason, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let range = Range::new(from_time, to_time)?;
    let mut first: Option<Violation> = None;
    let checked = verify(&range, self::jobs(jobs)?, &mut |violation| {
        first.get_or_insert(violation);
    })?;
    Ok(TableIterator::once(verdict(&checked, first)))
}

/// Verifies the sealed log and returns every failure; without a time range, also what differs between the triggers
/// and what was enabled.
#[pg_extern(parallel_unsafe)]
fn audit_violations(
    from_time: default!(Option<TimestampWithTimeZone>, "NULL"),
    to_time: default!(Option<TimestampWithTimeZone>, "NULL"),
    jobs: default!(Option<i32>, 1),
) -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(kind, String),
            name!(block, Option<i64>),
            name!(entry, Option<i64>),
            name!(detail, String),
        ),
    >,
    ErrorReport,
> {
    let range = Range::new(from_time, to_time)?;
    let mut found = Vec::new();
    verify(&range, self::jobs(jobs)?, &mut |violation| {
        found.push((
            violation.kind.as_str().to_owned(),
            violation.block.map(|block| block as i64),
            violation.entry.and_then(|entry| i64::try_from(entry).ok()),
            violation.detail,
        ));
    })?;
    if range.is_everything() {
        altered_triggers(true, &mut |detail| {
            found.push((TRIGGER_ALTERED.to_owned(), None, None, detail));
        });
    }
    Ok(TableIterator::new(found))
}
