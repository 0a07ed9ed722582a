//! Which blocks a time range covers.

use super::super::store;
use crate::error::{self, Result};
use crate::pg::process::EPOCH_SHIFT;
use pgrx::prelude::*;
use ward_log::Violation;

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
    pub fn concerns(&self, violation: &Violation) -> bool {
        self.all
            || violation
                .block
                .is_none_or(|block| self.blocks.contains(&block))
    }
}
