//! Verification in SQL: feeds the stored leaves to `ward_log`'s verifier, which the offline verifier
//! uses too.

use super::store;
use crate::error::{self, Result};
use crate::keys::{self, Purpose};
use crate::pg::owner;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::collections::HashMap;
use ward_log::{BlockInfo, Hash, LogSource, Options, Summary, Verifier, Violation};

/// How many tiles or blocks are read at once.
const PREFETCH: u64 = 256;

/// Verifies the whole log as one snapshot sees it, and hands every violation to `report`.
fn verify(report: &mut dyn FnMut(Violation)) -> Result<Option<Summary>> {
    if owner::table(c"audit_log").is_none() {
        return Ok(None);
    }
    let keys = keys::all_versions(Purpose::Audit)?;
    let audit_keys = keys
        .iter()
        .map(|key| (key.id.0, *key.material.expose()))
        .collect();
    owner::run(|| {
        let Some(last) = store::last_block() else {
            return Ok(None);
        };
        let options = Options {
            audit_keys,
            ..Options::default()
        };
        let mut verifier = Verifier::new(Stored::default(), options, report);
        let mut next = 0;
        for number in 0.. {
            match store::segment_table(number) {
                Some(table) => store::leaves(table, number, &mut next, |id, leaf, image| {
                    verifier.leaf(id, leaf, image);
                })?,
                None if number << store::SEGMENT_BITS >= last.tree_size => break,
                // The verifier reports the gap when the next leaf comes.
                None => {}
            }
        }
        Ok(Some(verifier.finish(last.tree_size)))
    })
}

/// The stored tiles and blocks, read ahead.
#[derive(Default)]
struct Stored {
    leaf_tiles: HashMap<u64, Option<Vec<Hash>>>,
    blocks: HashMap<u64, BlockInfo>,
    blocks_from: Option<u64>,
}

impl LogSource for Stored {
    fn tile(&mut self, level: u8, index: u64) -> Option<Vec<Hash>> {
        if level > 0 {
            return store::tile(level, index);
        }
        if !self.leaf_tiles.contains_key(&index) {
            self.leaf_tiles.clear();
            store::tiles(0, index, PREFETCH, |index, hashes| {
                self.leaf_tiles.insert(index, hashes);
            });
        }
        self.leaf_tiles.entry(index).or_insert(None).clone()
    }

    fn block(&mut self, block_no: u64) -> Option<BlockInfo> {
        let ahead = self
            .blocks_from
            .is_some_and(|from| (from..from + PREFETCH).contains(&block_no));
        if !ahead {
            // Keep the block before: it is asked for again at a boundary.
            let from = block_no.saturating_sub(1);
            self.blocks.clear();
            self.blocks_from = Some(from);
            store::blocks(from, PREFETCH, |block| {
                self.blocks.insert(block.block_no, block.into());
            });
            self.blocks.retain(|number, _| *number < from + PREFETCH);
        }
        self.blocks.get(&block_no).cloned()
    }
}

impl From<store::Block> for BlockInfo {
    fn from(block: store::Block) -> Self {
        BlockInfo {
            block_no: block.block_no,
            first_leaf: block.first_leaf,
            tree_size: block.tree_size,
            root: block.root,
            snapshot: block.snapshot,
            sealed_at: block.sealed_at,
        }
    }
}

/// Blocks sealed in a time range, as a filter of violations and counts.
struct Range {
    from: Option<i64>,
    to: Option<i64>,
}

impl Range {
    fn new(
        from: Option<TimestampWithTimeZone>,
        to: Option<TimestampWithTimeZone>,
    ) -> Result<Range> {
        let micros = |time: TimestampWithTimeZone| {
            pg_sys::TimestampTz::from(time) + crate::pg::process::EPOCH_SHIFT
        };
        let range = Range {
            from: from.map(micros),
            to: to.map(micros),
        };
        if let (Some(from), Some(to)) = (range.from, range.to)
            && from > to
        {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "from_time is later than to_time",
                "Leave one of them NULL for an open range.",
            ));
        }
        Ok(range)
    }

    fn is_open(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// First and last block, and their leaves, whose entries can lie in the range.
    fn blocks(&self) -> Option<(u64, u64, u64)> {
        let mut covered: Option<(u64, u64, u64)> = None;
        let mut ended = false;
        owner::run(|| {
            store::blocks(0, u64::MAX, |block| {
                let late_enough = self.from.is_none_or(|from| block.sealed_at >= from);
                if late_enough && !ended {
                    let (first, _, leaves) = covered.unwrap_or((block.block_no, 0, 0));
                    let own = block.tree_size.saturating_sub(block.first_leaf);
                    covered = Some((first, block.block_no, leaves + own));
                    // The first block sealed after the range may still hold entries of it.
                    ended = self.to.is_some_and(|to| block.sealed_at > to);
                }
            });
        });
        covered
    }
}

/// Verifies the sealed log: one row, valid or with the first failure.
#[pg_extern(parallel_unsafe)]
fn verify_audit_trail_integrity(
    from_time: default!(Option<TimestampWithTimeZone>, "NULL"),
    to_time: default!(Option<TimestampWithTimeZone>, "NULL"),
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
    let covered = range.blocks();
    let mut first: Option<Violation> = None;
    let summary = verify(&mut |violation| {
        if first.is_none() && within(&range, covered, &violation) {
            first = Some(violation);
        }
    })?;
    let (entries, blocks) = match (&summary, covered) {
        (Some(summary), _) if range.is_open() => (summary.entries, summary.blocks),
        (Some(_), Some((from, to, leaves))) => (leaves, to - from + 1),
        _ => (0, 0),
    };
    let reason = first.as_ref().map(|violation| {
        let block = violation
            .block
            .map_or(String::new(), |block| format!(" in block {block}"));
        format!("{}{block}: {}", violation.kind.as_str(), violation.detail)
    });
    Ok(TableIterator::once((
        first.is_none(),
        entries as i64,
        blocks as i64,
        first
            .and_then(|violation| violation.entry)
            .map(|entry| entry as i64),
        reason,
    )))
}

/// Whether a violation concerns the range; those without a block concern every range.
fn within(range: &Range, covered: Option<(u64, u64, u64)>, violation: &Violation) -> bool {
    match (violation.block, covered) {
        _ if range.is_open() => true,
        (None, _) => true,
        (Some(block), Some((from, to, _))) => (from..=to).contains(&block),
        (Some(_), None) => false,
    }
}

/// Verifies the sealed log and returns every failure.
#[pg_extern(parallel_unsafe)]
fn audit_violations(
    from_time: default!(Option<TimestampWithTimeZone>, "NULL"),
    to_time: default!(Option<TimestampWithTimeZone>, "NULL"),
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
    let covered = range.blocks();
    let mut found = Vec::new();
    verify(&mut |violation| {
        if within(&range, covered, &violation) {
            found.push((
                violation.kind.as_str().to_owned(),
                violation.block.map(|block| block as i64),
                violation.entry.map(|entry| entry as i64),
                violation.detail,
            ));
        }
    })?;
    Ok(TableIterator::new(found))
}
