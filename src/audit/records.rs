//! Parts of the trail: one record's, one block's or some blocks', a single entry.

use super::index::{self, Found, Tags};
use super::trail::{Reader, Wanted};
use super::{entries, find, store};
use crate::error::{self, Result};
use crate::pg::query::{self, Arg};
use crate::pg::srf::Rows;
use crate::pg::{owner, relation};
use pgrx::prelude::*;
use std::collections::HashSet;
use std::ops::Range;
use ward_log::{Shape, record_id_text, record_of};

/// Fills `rows` with the entries about a record of table `table`, the oldest first.
pub fn history(rows: &mut Rows, table: Option<pg_sys::Oid>, record: Option<&str>) -> Result<()> {
    entries::check_reader()?;
    let table = table.ok_or_else(|| missing("tab"))?;
    let record = record.ok_or_else(|| missing("record_id"))?;
    let record = record_id_text(record).into_owned();
    let name = relation::name(table);
    owner::run(|| {
        let mut reader = Reader::new(rows)?;
        let of_table = of_table(name, with_partitions(table), reader.shapes().values());
        let shapes = reader.shapes().iter();
        let tags = Tags::of(shapes.filter(|(_, s)| of_table(s)).map(|(id, _)| id));
        reader.want(Wanted {
            record: record.clone(),
            of_table,
        });
        let found = index::look_up(&record, &tags, reader.size());
        sealed(&mut reader, &record, found);
        reader.unsealed()
    })
}

/// Fills `rows` with one entry, if the sealed leaf of that number is an entry.
pub fn entry(rows: &mut Rows, id: Option<i64>) -> Result<()> {
    entries::check_reader()?;
    let id = super::proof::natural("entry_id", id)?;
    owner::run(|| {
        let mut reader = Reader::new(rows)?;
        if id < reader.size()
            && let Some((leaf, image)) = reader.find(id)
        {
            reader.single(id, &leaf, image.as_deref());
        }
        Ok(())
    })
}

/// Fills `rows` with the entries of blocks, without those that are not sealed.
pub fn blocks(rows: &mut Rows, first: Option<i64>, last: Option<i64>) -> Result<()> {
    entries::check_reader()?;
    let first = super::proof::natural("first_block", first)?;
    let count = match last {
        None => u64::MAX,
        Some(_) => super::proof::natural("last_block", last)?
            .checked_sub(first)
            .ok_or_else(|| {
                error::report_hint(
                    PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                    "last_block is before first_block",
                    "Leave last_block NULL for everything that is sealed.",
                )
            })?
            .saturating_add(1),
    };
    owner::run(|| {
        let mut reader = Reader::new(rows)?;
        let mut leaves = 0..0;
        store::blocks(first, count, |block| {
            if leaves.is_empty() {
                leaves.start = block.first_leaf;
            }
            leaves.end = block.tree_size;
            reader.know_block(&block);
        });
        reader.range(leaves);
        Ok(())
    })
}

/// The numbers of a table and of its partitions, at every level.
fn with_partitions(table: pg_sys::Oid) -> HashSet<u32> {
    let mut oids = HashSet::from([table.to_u32()]);
    query::read(
        c"SELECT relid::oid::bigint FROM pg_partition_tree($1::oid::regclass)",
        &[Arg::Int8(table.to_u32().into())],
        |row| {
            oids.insert(row.int8(1) as u32);
        },
    );
    oids
}

/// What tells the table's shapes: its name; its own number or a partition's; and the number of a table
/// that had the name and is gone, so that what that was called otherwise belongs to it. The numbers of
/// tables are others after a restore from a dump.
fn of_table<'s>(
    name: (String, String),
    mut oids: HashSet<u32>,
    shapes: impl Iterator<Item = &'s Shape>,
) -> Box<dyn Fn(&Shape) -> bool> {
    let named = move |shape: &Shape| shape.schema == name.0 && shape.table == name.1;
    let gone = |oid: &u32| relation::name(pg_sys::Oid::from(*oid)).1.is_empty();
    let of_name = shapes.filter(|shape| named(shape));
    oids.extend(of_name.map(|shape| shape.relation_oid).filter(gone));
    Box::new(move |shape| oids.contains(&shape.relation_oid) || named(shape))
}

/// Renders sealed entries in order. Where the index does not fit the entries, everything is read.
fn sealed(reader: &mut Reader, record: &str, found: Found) {
    let size = reader.size();
    let tail = size - size % index::LEAST;
    let not_indexed: u64 = found
        .unknown
        .iter()
        .map(|range| range.end.min(tail).saturating_sub(range.start))
        .sum();
    if found.damaged || !through_index(reader, record, found) {
        reader.start_again();
        tell_unfit();
        whole(reader, record, 0..size);
    } else if not_indexed > 0 {
        pgrx::notice!(
            "{not_indexed} entries of the audit trail are not indexed yet and were read one by one"
        );
    }
}

/// False, with some rows written, when the index says what the entries do not.
fn through_index(reader: &mut Reader, record: &str, found: Found) -> bool {
    reader.know_blocks(&found.leaves);
    let known = found.leaves.into_iter().map(|id| (id..id + 1, true));
    let unknown = found.unknown.into_iter().map(|range| (range, false));
    let mut steps: Vec<(Range<u64>, bool)> = known.chain(unknown).collect();
    steps.sort_unstable_by_key(|(range, _)| range.start);
    for (range, known) in steps {
        pgrx::check_for_interrupts!();
        if !known {
            whole(reader, record, range);
            continue;
        }
        match reader.find(range.start) {
            Some((leaf, image)) if index::fits(range.start, &leaf, record) => {
                if reader.wants(&leaf) {
                    reader.single(range.start, &leaf, image.as_deref());
                }
            }
            None if !find::is_there(range) => {}
            _ => return false,
        }
    }
    true
}

/// Reads every leaf of a range.
fn whole(reader: &mut Reader, record: &str, range: Range<u64>) {
    find::leaves(range, |id, leaf, image| {
        let of_record = record_of(leaf).is_some_and(|(_, id)| id == record.as_bytes());
        if of_record && reader.wants(leaf) {
            reader.single(id, leaf, image);
        }
    });
}

fn tell_unfit() {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED,
        "the index of the audit trail does not fit its entries, all of which were read instead",
        "Somebody changed ward.audit_record_index or the log. ward.verify_audit_index() and \
         ward.audit_violations() say where; ward.rebuild_audit_index() makes the index anew.",
    )
    .report(PgLogLevel::WARNING);
}

fn missing(argument: &str) -> pgrx::pg_sys::panic::ErrorReport {
    error::report(
        PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
        format!("{argument} must not be NULL"),
    )
}
