//! Fills the new column of a conversion, some rows in each transaction.

use super::part::{self, Done};
use super::{Transform, progress};
use crate::error::Result;
use crate::pg::columns::scan::{self, Part, Select};
use crate::pg::columns::table::{Column, Table};
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

// Declarations are spelled out because Rust has no type for regclass and name.
/// Converts the next rows of a table. Answers the places of rows that others are working on.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."convert_next"("tab" regclass, "source" name, "target" name, "batch" integer)
RETURNS TABLE ("finished" boolean, "locked" text[]) VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn convert_next(
    tab: pg_sys::Oid,
    source: &CStr,
    target: &CStr,
    batch: i32,
) -> Result<TableIterator<'static, (name!(finished, bool), name!(locked, Vec<String>))>> {
    let table = Table::open(tab)?;
    let progress = progress::Progress::of(&table, tab, target)?;
    // Blocks that came later hold rows that the trigger saw.
    let next = part::next(&table, progress.next_block, progress.blocks, batch)?;
    let Some((first, past)) = next else {
        return Ok(TableIterator::once((true, Vec::new())));
    };
    let done = convert(&table, source, target, &Part::Blocks(first, past), false)?;
    progress.advance(&table, past, done.changed)?;
    Ok(TableIterator::once((false, done.locked)))
}

/// Converts rows that others were working on, and waits for them.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."convert_places"("tab" regclass, "source" name, "target" name, "places" text[])
RETURNS bigint VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn convert_places(
    tab: pg_sys::Oid,
    source: &CStr,
    target: &CStr,
    places: Vec<Option<String>>,
) -> Result<i64> {
    let table = Table::open(tab)?;
    let done = convert(&table, source, target, &part::places(&places)?, true)?;
    Ok(done.changed)
}

/// Forgets how far a conversion of a table has come.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."forget_conversion"("tab" regclass, "target" name)
RETURNS void VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn forget_conversion(tab: pg_sys::Oid, target: &CStr) -> Result<()> {
    Table::open(tab)?;
    progress::forget(tab, target)
}

fn convert(table: &Table, source: &CStr, target: &CStr, part: &Part, wait: bool) -> Result<Done> {
    let (source, target) = (table.column(source)?, table.column(target)?);
    let transform = Transform::between(&source, &target)?;
    let mut rows = Vec::new();
    let missing = Select {
        value: c"NULL",
        part,
        condition: &missing(&source, &target),
    };
    scan::select_all(table, &missing, |place, _| {
        rows.push((place, ()));
        true
    })?;
    part::rewrite(table, target.index, rows, wait, |old, ()| {
        match (old.value(&source), old.value(&target)) {
            (Some(value), None) => transform.apply(&value).map(Some),
            _ => Ok(None),
        }
    })
}

/// The condition that a row has the old value, but not the new one.
fn missing(source: &Column, target: &Column) -> CString {
    let condition = [
        source.quoted.to_bytes(),
        b" IS NOT NULL AND ",
        target.quoted.to_bytes(),
        b" IS NULL",
    ]
    .concat();
    CString::new(condition).unwrap_or_default()
}
