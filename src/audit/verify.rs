//! Verification in SQL: feeds the stored leaves to `ward_log`'s verifier, which the offline verifier
//! uses too.

use super::store;
use crate::error::{self, Result};
use crate::keys::{self, Purpose};
use crate::pg::owner;
use crate::pg::process::EPOCH_SHIFT;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::collections::HashMap;
use ward_log::{BlockInfo, Hash, LogSource, Options, Verifier, Violation, ViolationType};
use zeroize::Zeroizing;

/// How many tiles or blocks are read at once.
const PREFETCH: u64 = 256;

/// Verifies the whole log as one snapshot sees it, and hands every violation to `report`.
fn verify(range: &Range, report: &mut dyn FnMut(Violation)) -> Result<Checked> {
    owner::run(|| {
        // Without any block there may be leaves and tiles still, whose blocks somebody deleted.
        let size = store::last_block().map_or(0, |last| last.tree_size);
        let covered = range.covered();
        let mut report = |violation: Violation| {
            if covered.concerns(&violation) {
                report(violation);
            }
        };
        // After the snapshot: a key that a sealed entry names is there by now.
        let audit_keys = keys::all_versions(Purpose::Audit)?
            .iter()
            .map(|key| (key.id.0, Zeroizing::new(*key.material.expose())))
            .collect();
        let options = Options {
            audit_keys,
            ..Options::default()
        };
        let mut verifier = Verifier::new(Stored::default(), options, &mut report);
        store::lost_shapes(0, |content| verifier.shape(content));
        let mut entries = 0;
        let mut next = 0;
        for number in store::segment_numbers(size) {
            match store::segment_table(number) {
                Some(table) => store::leaves(table, number, &mut next, |id, leaf, image| {
                    if leaf.first().is_some_and(|kind| ENTRIES.contains(kind))
                        && covered.leaves.contains(&id)
                    {
                        entries += 1;
                    }
                    verifier.leaf(id, leaf, image);
                })?,
                // The verifier notices the gap when the next leaf comes.
                None => store::retained(number, |id, leaf| verifier.leaf(id, leaf, None)),
            }
        }
        let summary = verifier.finish(size);
        if summary.violations == 0 && store::block_count() != summary.blocks {
            report(Violation {
                kind: ViolationType::BlockAltered,
                block: None,
                entry: None,
                detail: "there are rows of blocks that the log does not have".to_owned(),
            });
        }
        Ok(Checked {
            entries,
            blocks: covered.blocks.end - covered.blocks.start,
        })
    })
}

/// Type bytes of leaves that are entries of the trail (docs/log-format.md).
const ENTRIES: [u8; 5] = [0x01, 0x06, 0x13, 0x14, 0x15];

/// What was checked.
struct Checked {
    entries: u64,
    blocks: u64,
}

/// The stored tiles and blocks, read ahead.
#[derive(Default)]
pub(super) struct Stored {
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

/// A time range, in microseconds since 1970; None is open.
struct Range {
    from: Option<i64>,
    to: Option<i64>,
}

/// The blocks whose entries can lie in a range.
struct Covered {
    all: bool,
    blocks: std::ops::Range<u64>,
    leaves: std::ops::Range<u64>,
}

impl Range {
    fn new(
        from: Option<TimestampWithTimeZone>,
        to: Option<TimestampWithTimeZone>,
    ) -> Result<Range> {
        let micros = |time: TimestampWithTimeZone| {
            pg_sys::TimestampTz::from(time).saturating_add(EPOCH_SHIFT)
        };
        let range = Range {
            // minus infinity and infinity are the smallest and largest timestamps
            from: from
                .map(micros)
                .filter(|from| *from != i64::MIN + EPOCH_SHIFT),
            to: to.map(micros).filter(|to| *to != i64::MAX),
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

    /// From the first block sealed in or after the range to the first one sealed after it, which may
    /// still hold entries of it.
    fn covered(&self) -> Covered {
        let mut covered = Covered {
            all: self.from.is_none() && self.to.is_none(),
            blocks: 0..0,
            leaves: 0..0,
        };
        let mut ended = false;
        store::blocks(0, u64::MAX, |block| {
            if ended || self.from.is_some_and(|from| block.sealed_at < from) {
                return;
            }
            if covered.blocks.is_empty() {
                covered.blocks.start = block.block_no;
                covered.leaves.start = block.first_leaf;
            }
            covered.blocks.end = block.block_no + 1;
            covered.leaves.end = block.tree_size;
            ended = self.to.is_some_and(|to| block.sealed_at > to);
        });
        if covered.all {
            // Whatever the rows say, everything is looked at.
            covered.leaves = 0..u64::MAX;
        }
        covered
    }
}

impl Covered {
    /// A violation that belongs to no block concerns every range.
    fn concerns(&self, violation: &Violation) -> bool {
        self.all
            || violation
                .block
                .is_none_or(|block| self.blocks.contains(&block))
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
    let mut first: Option<Violation> = None;
    let checked = verify(&range, &mut |violation| {
        first.get_or_insert(violation);
    })?;
    let reason = first.as_ref().map(|violation| {
        let block = violation
            .block
            .map_or(String::new(), |block| format!(" in block {block}"));
        format!("{}{block}: {}", violation.kind.as_str(), violation.detail)
    });
    Ok(TableIterator::once((
        first.is_none(),
        checked.entries as i64,
        checked.blocks as i64,
        first
            .and_then(|violation| violation.entry)
            .and_then(|entry| i64::try_from(entry).ok()),
        reason,
    )))
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
    let mut found = Vec::new();
    verify(&range, &mut |violation| {
        found.push((
            violation.kind.as_str().to_owned(),
            violation.block.map(|block| block as i64),
            violation.entry.and_then(|entry| i64::try_from(entry).ok()),
            violation.detail,
        ));
    })?;
    Ok(TableIterator::new(found))
}
