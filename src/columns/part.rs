//! The piece of a table that one transaction works on.

use crate::error::{self, Result};
use crate::pg::columns::rewrite::{Old, Outcome, Rewriter};
use crate::pg::columns::scan::{self, Part, Place};
use crate::pg::columns::table::{Table, Value};
use pgrx::prelude::*;

/// What one transaction has done.
#[derive(Default)]
pub struct Done {
    /// How many rows have a new value.
    pub changed: i64,
    /// Rows that others were working on, for a transaction that may wait for each.
    pub locked: Vec<String>,
}

impl Done {
    /// Counts a row.
    pub fn count(&mut self, place: Place, outcome: Outcome) {
        match outcome {
            Outcome::Changed => self.changed += 1,
            Outcome::Locked => self.locked.push(place.to_string()),
            Outcome::Kept | Outcome::Gone => {}
        }
    }
}

/// About as many blocks, from `first` on, as hold `rows` rows. None from `end` on, and at the end of
/// the table.
pub fn next(table: &Table, first: i64, end: i64, rows: i32) -> Result<Option<(i64, i64)>> {
    if rows < 1 {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "the size of a batch must be at least 1",
        ));
    }
    let blocks = scan::blocks(table).min(end);
    if first >= blocks {
        return Ok(None);
    }
    let step = (f64::from(rows) / table.rows_per_block()).max(1.0) as i64;
    Ok(Some((first, first.saturating_add(step).min(blocks))))
}

/// The rows at these places, given as texts.
pub fn places(texts: &[Option<String>]) -> Result<Part> {
    texts
        .iter()
        .map(|text| text.as_deref().and_then(Place::parse))
        .collect::<Option<Vec<_>>>()
        .map(Part::Places)
        .ok_or_else(|| {
            error::report(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "a place is not that of a row",
            )
        })
}

/// Gives each of the rows the value that `value` finds for it.
pub fn rewrite<T>(
    table: &Table,
    column: usize,
    rows: Vec<(Place, T)>,
    wait: bool,
    mut value: impl FnMut(&Old, T) -> Result<Option<Value>>,
) -> Result<Done> {
    let mut done = Done::default();
    if rows.is_empty() {
        return Ok(done);
    }
    let mut rewriter = Rewriter::new(table, column);
    for (place, row) in rows {
        let outcome = rewriter.row(place, wait, |old| value(old, row))?;
        done.count(place, outcome);
    }
    Ok(done)
}
