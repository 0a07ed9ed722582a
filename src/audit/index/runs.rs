//! The index's table: sorted runs of pairs, in pages.

use super::pairs::{self, Page, Run};
use crate::error::{self, Result};
use crate::pg::owner;
use crate::pg::query::{self, Arg, Row};
use pgrx::prelude::*;
use std::collections::BTreeSet;

/// Pages per INSERT.
const BATCH: usize = 64;

/// Stores a run, in place of what is stored of it. The pairs ascend.
pub fn put(run: Run, pairs: &[u64]) -> Result<()> {
    forget(run)?;
    for batch in pairs::pages(pairs).chunks(BATCH) {
        let fences: Vec<i64> = batch.iter().map(|page| page.fence as i64).collect();
        let ends: Vec<i64> = batch.iter().map(|page| page.upto as i64).collect();
        let contents: Vec<&[u8]> = batch.iter().map(|page| page.pairs.as_slice()).collect();
        Spi::run_with_args(
            "INSERT INTO ward.audit_record_index (level, run, fence, upto, pairs) \
             SELECT $1, $2, * FROM unnest($3, $4, $5)",
            &[
                i16::from(run.level).into(),
                (run.number as i64).into(),
                fences.into(),
                ends.into(),
                contents.into(),
            ],
        )
        .map_err(error::spi)?;
    }
    Ok(())
}

fn delete(level: u8, first: u64, last: u64) -> Result<()> {
    Spi::run_with_args(
        "DELETE FROM ward.audit_record_index WHERE level = $1 AND run BETWEEN $2 AND $3",
        &[
            i16::from(level).into(),
            (first as i64).into(),
            (last as i64).into(),
        ],
    )
    .map_err(error::spi)
}

/// Deletes everything.
pub fn clear() -> Result<()> {
    Spi::run("DELETE FROM ward.audit_record_index").map_err(error::spi)
}

/// Deletes a run.
pub fn forget(run: Run) -> Result<()> {
    delete(run.level, run.number, run.number)
}

/// Joins runs into the larger ones that `run` completes. What is written is read again, so the caller's
/// transaction sees it.
pub fn merge(mut run: Run) -> Result<()> {
    while run.level < Run::TOP {
        let parent = run.parent();
        if !has_all_children(parent) {
            break;
        }
        let Some(pairs) = joined(parent) else {
            break;
        };
        put(parent, &pairs)?;
        let first = parent.number * Run::FAN;
        delete(run.level, first, first + Run::FAN - 1)?;
        run = parent;
    }
    Ok(())
}

fn has_all_children(parent: Run) -> bool {
    let first = parent.number * Run::FAN;
    let mut count = 0;
    owner::run(|| {
        query::read(
            c"SELECT count(*) FROM ward.audit_record_index \
              WHERE fence = 0 AND level = $1 AND run BETWEEN $2 AND $3",
            &[
                Arg::Int2(i16::from(parent.level) - 1),
                Arg::Int8(first as i64),
                Arg::Int8((first + Run::FAN - 1) as i64),
            ],
            |row| count = row.int8(1),
        );
    });
    count == Run::FAN as i64
}

/// The pairs of the runs that `parent` is made of; None while one is missing or damaged.
fn joined(parent: Run) -> Option<Vec<u64>> {
    let mut stored = Stored::default();
    let first = parent.number * Run::FAN;
    owner::run(|| {
        query::read(
            c"SELECT level::bigint, run, fence, upto, pairs FROM ward.audit_record_index \
              WHERE level = $1 AND run BETWEEN $2 AND $3 ORDER BY level, run, fence",
            &[
                Arg::Int2(i16::from(parent.level) - 1),
                Arg::Int8(first as i64),
                Arg::Int8((first + Run::FAN - 1) as i64),
            ],
            |row| stored.add(row),
        );
    });
    let mut pairs = Vec::new();
    let mut children = parent.children();
    let whole = stored.runs.iter().all(|(run, pages)| {
        children.next() == Some(*run) && pairs::read(pages, 0, pairs::END, &mut pairs)
    });
    if !whole || children.next().is_some() {
        return None;
    }
    // a merge of sorted runs is what this sort is good at
    pairs.sort();
    Some(pairs)
}

/// The runs that are there, as the active snapshot sees them.
pub fn present() -> Vec<Run> {
    let mut found = Vec::new();
    query::read(
        c"SELECT level::bigint, run FROM ward.audit_record_index WHERE fence = 0",
        &[],
        |row| found.extend(run(row)),
    );
    found
}

/// Of `wanted` the runs that are there, each with the pages that may hold a pair between `low` and `high`.
pub fn look_up(wanted: &BTreeSet<Run>, low: u64, high: u64) -> Vec<(Run, Vec<Page>)> {
    let levels: Vec<u64> = wanted.iter().map(|run| run.level.into()).collect();
    let numbers: Vec<u64> = wanted.iter().map(|run| run.number).collect();
    let mut stored = Stored::default();
    query::read(
        c"SELECT p.level::bigint, p.run, p.fence, p.upto, p.pairs FROM unnest($3, $4) AS r (level, run), \
          LATERAL ((SELECT * FROM ward.audit_record_index p \
                    WHERE p.level = r.level::smallint AND p.run = r.run AND p.fence <= $1 \
                    ORDER BY p.fence DESC LIMIT 1) \
                   UNION ALL \
                   (SELECT * FROM ward.audit_record_index p \
                    WHERE p.level = r.level::smallint AND p.run = r.run AND p.fence > $1 AND p.fence <= $2)) p \
          ORDER BY 1, 2, 3",
        &[
            Arg::Int8(low as i64),
            Arg::Int8(high as i64),
            Arg::Int8s(&levels),
            Arg::Int8s(&numbers),
        ],
        |row| stored.add(row),
    );
    stored.runs
}

/// The pages of one run.
pub fn pages_of(run: Run) -> Vec<Page> {
    let mut stored = Stored::default();
    query::read(
        c"SELECT level::bigint, run, fence, upto, pairs FROM ward.audit_record_index \
          WHERE level = $1 AND run = $2 ORDER BY fence",
        &[Arg::Int2(run.level.into()), Arg::Int8(run.number as i64)],
        |row| stored.add(row),
    );
    stored
        .runs
        .pop()
        .map(|(_, pages)| pages)
        .unwrap_or_default()
}

/// Rows as they are stored: (level, run, fence, upto, pairs), sorted by the first three.
#[derive(Default)]
struct Stored {
    runs: Vec<(Run, Vec<Page>)>,
}

impl Stored {
    fn add(&mut self, row: &Row) {
        let Some(run) = run(row) else { return };
        let page = Page {
            fence: row.int8(3) as u64,
            upto: row.int8(4) as u64,
            pairs: row.bytes(5),
        };
        match self.runs.last_mut() {
            Some((last, pages)) if *last == run => pages.push(page),
            _ => self.runs.push((run, vec![page])),
        }
    }
}

/// The run that a row (level, run, …) is of; none where only tampering can have put it.
fn run(row: &Row) -> Option<Run> {
    let level = u8::try_from(row.int8(1))
        .ok()
        .filter(|level| *level <= Run::TOP)?;
    let number = u64::try_from(row.int8(2))
        .ok()
        .filter(|number| *number < 1 << 40)?;
    Some(Run { level, number })
}
