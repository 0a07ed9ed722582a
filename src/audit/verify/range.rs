//! Which blocks a time range covers.

use super::super::find::Finder;
use super::super::store::{self, Block};
use crate::error::{self, Result};
use crate::pg::process::EPOCH_SHIFT;
use pgrx::prelude::*;
use ward_log::{Leaf, Violation, ViolationType};

/// A time range, in microseconds since 1970; None is open.
pub struct Range {
    from: Option<i64>,
    to: Option<i64>,
}

/// The blocks whose entries can lie in a range.
pub struct Covered {
    /// Everything is asked for.
    pub all: bool,
    /// The blocks.
    pub blocks: std::ops::Range<u64>,
    /// Their leaves.
    pub leaves: std::ops::Range<u64>,
    /// The last block that its row places before the range.
    before: Option<Block>,
}

impl Range {
    /// From arguments of SQL.
    pub fn new(
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

    /// Whether everything is asked for.
    pub fn is_everything(&self) -> bool {
        self.from.is_none() && self.to.is_none()
    }

    /// From the first block sealed in or after the range to the first one sealed after it, which may
    /// still hold entries of it.
    pub fn covered(&self) -> Covered {
        let mut covered = Covered {
            all: self.is_everything(),
            blocks: 0..0,
            leaves: 0..0,
            before: None,
        };
        let mut ended = false;
        store::blocks(0, u64::MAX, |block| {
            if ended {
                return;
            }
            if covered.blocks.is_empty() {
                // once the range has begun, no row takes a block out of it
                if self.from.is_some_and(|from| block.sealed_at < from) {
                    covered.before = Some(block);
                    return;
                }
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

    /// What is wrong with the beginning of what is covered. Only rows of blocks say when those before were sealed, and nothing
    /// of them is verified. The times of sealing never descend, so the seal leaf of the last one tells of all.
    pub fn misplaced(&self, covered: &Covered) -> Option<Violation> {
        let (from, before) = (self.from?, covered.before.as_ref()?);
        let last = store::last_block()?;
        (!is_sealed_before(before, from, &last)).then(|| Violation {
            kind: ViolationType::BlockAltered,
            block: Some(before.block_no),
            entry: None,
            detail:
                "nothing shows that the block was sealed before the time range, as its row says"
                    .to_owned(),
        })
    }
}

/// Whether the seal leaf of a block, which the log has, says that it was sealed before `from`; or whether that was pruned,
/// as a leaf of the log says: what was pruned with it cannot be verified any more.
fn is_sealed_before(block: &Block, from: i64, last: &Block) -> bool {
    let Some(index) = block.tree_size.checked_sub(1) else {
        return false;
    };
    if index >= last.tree_size {
        return false;
    }
    let head = (last.tree_size, &last.root);
    if let Some((leaf, _)) = Finder::new().leaf(index) {
        return matches!(Leaf::parse(&leaf), Ok(Leaf::Seal(seal))
            if seal.block_no == block.block_no && seal.sealed_at < from)
            && store::has_leaf(head, index, &leaf);
    }
    let mut pruned = false;
    store::orders_from(index, |id, leaf, _| {
        pruned |= matches!(Leaf::parse(leaf), Ok(Leaf::Prune(prune))
            if (prune.from..prune.to).contains(&index))
            && store::has_leaf(head, id, leaf);
    });
    pruned
}

impl Covered {
    /// A violation that belongs to no block concerns every range.
    pub fn concerns(&self, violation: &Violation) -> bool {
        self.all
            || violation
                .block
                .is_none_or(|block| self.blocks.contains(&block))
    }
}
