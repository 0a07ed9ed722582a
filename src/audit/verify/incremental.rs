//! Verification that goes on where the last one ended.

use super::super::store::{self, Block};
use super::range::Range;
use super::record::{self, Records};
use super::run::Pass;
use super::{Checked, Verdict, jobs, options, verdict, verify};
use crate::error::{self, Result};
use crate::pg::{owner, process, who};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use ward_log::{AuditMac, Options, Verification, Violation, ViolationType};

/// What one run has found.
struct Run {
    checked: Checked,
    from_block: u64,
    last: Block,
    forged: Vec<i64>,
    first: Option<Violation>,
    violations: u64,
    key: AuditMac,
}

/// Verifies the blocks since the last verification that found nothing, and records the outcome.
#[pg_extern(parallel_unsafe)]
fn verify_audit_trail_incremental(
    full: default!(Option<bool>, false),
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
    let jobs = self::jobs(jobs)?;
    let full = full.ok_or_else(|| {
        error::report(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "full must not be NULL",
        )
    })?;
    if process::in_recovery() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "a standby cannot record a verification",
            "ward.verify_audit_trail_integrity() verifies here and records nothing.",
        ));
    }
    let Some(run) = owner::run(|| run(full, jobs))? else {
        return Ok(TableIterator::once(without_blocks(jobs)?));
    };
    let record = Verification {
        number: 0,
        verified_at: process::now_micros(),
        verified_by: who::role_name(who::session_role()).unwrap_or_default(),
        from_block: run.from_block,
        to_block: run.last.block_no,
        size: run.last.tree_size,
        root: run.last.root,
        violations: run.violations + run.forged.len() as u64,
    };
    record::add(record, &run.key)?;
    let mut row = verdict(&run.checked, run.first);
    if let Some(number) = run.forged.first() {
        row.0 = false;
        row.4.get_or_insert_with(|| {
            format!(
                "verification_forged: record {number} of ward.audit_verification was not made with an audit key of this log"
            )
        });
    }
    Ok(TableIterator::once(row))
}

/// The verdict about a log without blocks, which is right only if none was ever verified. Nothing is recorded.
fn without_blocks(jobs: u32) -> Result<Verdict> {
    let mut first = None;
    let checked = verify(&Range::new(None, None)?, jobs, &mut |violation| {
        first.get_or_insert(violation);
    })?;
    if first.is_none() && owner::run(record::is_any) {
        first = Some(Violation {
            kind: ViolationType::SizeMismatch,
            block: None,
            entry: None,
            detail: "ward.audit_verification knows of blocks, and there are none".to_owned(),
        });
    }
    Ok(verdict(&checked, first))
}

/// Verifies; None when nothing is sealed.
fn run(full: bool, jobs: u32) -> Result<Option<Run>> {
    let Some(last) = store::last_block() else {
        return Ok(None);
    };
    let options = options()?;
    let keys: Vec<AuditMac> = options
        .audit_keys
        .iter()
        .map(|(_, key)| AuditMac::new(key))
        .collect();
    let Some(key) = keys.last().cloned() else {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "the audit key is not in the registry, so a verification cannot be recorded",
            "ward.verify_audit_trail_integrity() verifies what can be verified without it.",
        ));
    };
    let records = Records::read(&keys);
    // A log that no longer has the head that was verified is verified as a whole, against that head.
    let from_block = match &records.sound {
        Some(sound) if !full && still_has(sound) => sound.to_block + 1,
        _ => 0,
    };
    let heads = match &records.sound {
        Some(sound) if from_block == 0 => vec![(sound.size, sound.root)],
        _ => Vec::new(),
    };
    let (mut first, mut violations) = (None, 0);
    let mut entries = 0;
    if from_block <= last.block_no {
        let pass = Pass {
            size: last.tree_size,
            from_block,
            until: None,
            counted: 0..u64::MAX,
            options: Options { heads, ..options },
            jobs,
        };
        entries = pass.run(&mut |violation| {
            violations += 1;
            first.get_or_insert(violation);
        })?;
    }
    Ok(Some(Run {
        checked: Checked {
            entries,
            blocks: (last.block_no + 1).saturating_sub(from_block),
        },
        from_block,
        forged: records.forged,
        first,
        violations,
        key,
        last,
    }))
}

/// Whether the log still has the tree head that a verification ended with.
fn still_has(record: &Verification) -> bool {
    let mut same = false;
    store::blocks(record.to_block, 1, |block| {
        same = (block.block_no, block.tree_size, block.root)
            == (record.to_block, record.size, record.root);
    });
    same
}
