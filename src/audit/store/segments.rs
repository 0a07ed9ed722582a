//! The tables that sealed leaves lie in, and what is left of those that were pruned.

use crate::error::{self, Result};
use crate::pg::query::{self, Arg};
use crate::pg::{owner, segment};
use pgrx::prelude::*;
use std::ffi::CStr;

/// Leaves per segment, as a power of two, where the log does not say otherwise.
const SEGMENT_BITS: u32 = 20;

/// Leaves per segment, as a power of two. Fixed before the first block.
pub fn segment_bits() -> u32 {
    let mut bits = SEGMENT_BITS;
    query::read(
        c"SELECT segment_bits::bigint FROM ward.audit_layout",
        &[],
        |row| {
            bits = u32::try_from(row.int8(1))
                .unwrap_or(bits)
                .clamp(10, SEGMENT_BITS)
        },
    );
    bits
}

/// Whether segment `number` was made by the sealer of this log.
pub fn is_registered(number: u64) -> bool {
    let mut found = false;
    query::read(
        c"SELECT 1::bigint FROM ward.audit_segment WHERE segment_no = $1",
        &[Arg::Int8(number as i64)],
        |_| found = true,
    );
    found
}

/// How many leaves a log can have whose last block row says `size`: no more than tiles were stored for. A forged size
/// must not send a reader through numbers without end.
pub fn vouched(size: u64) -> u64 {
    let mut tiles = 0;
    let query = c"SELECT count(*) FROM ward.audit_tile WHERE level = 0";
    query::read(query, &[], |row| tiles = row.int8(1) as u64);
    size.min(tiles << 8)
}

/// Numbers of the segments that a log of `size` leaves has or had, and of those that are there beyond, ascending.
pub fn segment_numbers(size: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..vouched(size).div_ceil(1 << segment_bits())).collect();
    query::read(
        c"SELECT DISTINCT substr(relname::text, 15)::bigint FROM pg_class \
          WHERE relnamespace = to_regnamespace('ward') AND relkind = 'r' \
          AND relname::text ~ '^audit_segment_[0-9]{6,12}$' ORDER BY 1",
        &[],
        |row| {
            let number = row.int8(1) as u64;
            if numbers.last().is_none_or(|last| *last < number) {
                numbers.push(number);
            }
        },
    );
    numbers
}

/// The table of segment `number`, or None when there is none.
pub fn segment_table(number: u64) -> Option<pg_sys::Oid> {
    let name = std::ffi::CString::new(segment_name(number)).ok()?;
    owner::segment(&name)
}

/// Makes the table of segment `number`. It is no member of the extension, so that a dump holds it,
/// but goes when the log goes.
pub fn create_segment(number: u64) -> Result<pg_sys::Oid> {
    let name = segment_name(number);
    create_segment_table(number, &name)?;
    Spi::run_with_args(
        "INSERT INTO ward.audit_segment (segment_no, relation) VALUES ($1, $2::text::name)",
        &[(number as i64).into(), name.as_str().into()],
    )
    .map_err(error::spi)?;
    let table = segment_table(number).ok_or_else(missing_segment)?;
    owner::bind_to_log(table);
    Ok(table)
}

/// Rows are compressed where the server can do that fast, which halves them: pglz would take longer than all else
/// that sealing does.
fn create_segment_table(number: u64, name: &str) -> Result<()> {
    let storage = if has_lz4()? {
        "ALTER records SET STORAGE MAIN, ALTER records SET COMPRESSION lz4"
    } else {
        "SET (toast_tuple_target = 8160), ALTER records SET STORAGE EXTERNAL"
    };
    ddl(&format!(
        "CREATE TABLE ward.{name} (entry_id bigint NOT NULL, records bytea NOT NULL) \
         USING heap WITH (autovacuum_enabled = false); \
         ALTER TABLE ward.{name} {storage}; \
         COMMENT ON TABLE ward.{name} IS 'Sealed leaves of the audit trail, segment {number}.'"
    ))
}

/// Runs commands about segments' tables. Event triggers that a database has for its users' commands, and that may refuse
/// them, are not for these.
fn ddl(commands: &str) -> Result<()> {
    Spi::run(&format!(
        "SET LOCAL session_replication_role = replica; {commands}; SET LOCAL session_replication_role = origin"
    ))
    .map_err(error::spi)
}

fn has_lz4() -> Result<bool> {
    Spi::get_one(
        "SELECT 'lz4' = ANY (enumvals) FROM pg_catalog.pg_settings WHERE name = 'default_toast_compression'",
    )
    .map(|found| found.unwrap_or(false))
    .map_err(error::spi)
}

/// Makes an empty table that is to take the place of a segment's.
pub fn create_replacement(number: u64) -> Result<pg_sys::Oid> {
    let name = format!("{}_new", segment_name(number));
    create_segment_table(number, &name)?;
    let name = std::ffi::CString::new(name).map_err(|_| missing_segment())?;
    owner::segment(&name).ok_or_else(missing_segment)
}

/// Puts the replacement in the place of a segment's table, which is dropped.
pub fn replace_segment(number: u64) -> Result<()> {
    let name = segment_name(number);
    ddl(&format!(
        "DROP TABLE ward.{name}; ALTER TABLE ward.{name}_new RENAME TO {name}"
    ))?;
    owner::bind_to_log(segment_table(number).ok_or_else(missing_segment)?);
    Ok(())
}

/// Drops the table of a segment that was pruned by the leaf `pruned_by`, and keeps an entry of it for its context.
pub fn drop_segment(number: u64, pruned_by: u64, context: Option<(u64, Vec<u8>)>) -> Result<()> {
    ddl(&format!("DROP TABLE ward.{}", segment_name(number)))?;
    let (entry, context) = context.unzip();
    Spi::run_with_args(
        "WITH gone AS (DELETE FROM ward.audit_segment WHERE segment_no = $1) \
         INSERT INTO ward.audit_pruned_segment (segment_no, pruned_by, context_entry, context) VALUES ($1, $2, $3, $4)",
        &[
            (number as i64).into(),
            (pruned_by as i64).into(),
            entry.map(|entry| entry as i64).into(),
            context.into(),
        ],
    )
    .map_err(error::spi)
}

/// Forgets the entries that were kept of the segments before this one.
pub fn forget_retained(before: u64) -> Result<()> {
    Spi::run_with_args(
        "UPDATE ward.audit_pruned_segment SET context_entry = NULL, context = NULL \
         WHERE segment_no < $1 AND context IS NOT NULL",
        &[(before as i64).into()],
    )
    .map_err(error::spi)
}

/// How many segments were pruned, and images erased.
pub fn removed() -> (i64, i64) {
    let mut removed = (0, 0);
    query::read(
        c"SELECT (SELECT count(*) FROM ward.audit_pruned_segment), \
                 (SELECT coalesce(sum(removed), 0)::bigint FROM ward.audit_removal WHERE kind = 'erase')",
        &[],
        |row| removed = (row.int8(1), row.int8(2)),
    );
    removed
}

/// The leaf by which a segment was pruned, if it was.
pub fn pruned_by(number: u64) -> Option<u64> {
    let mut found = None;
    query::read(
        c"SELECT pruned_by FROM ward.audit_pruned_segment WHERE segment_no = $1",
        &[Arg::Int8(number as i64)],
        |row| found = Some(row.int8(1) as u64),
    );
    found
}

/// The leaves that are still there of segments that were pruned up to this one.
pub fn retained(number: u64, visit: impl FnMut(u64, &[u8])) {
    retained_where(
        c"SELECT context_entry, context FROM ward.audit_pruned_segment WHERE segment_no = $1 AND context IS NOT NULL",
        &[Arg::Int8(number as i64)],
        visit,
    );
}

/// The leaves that are still there of all pruned segments.
pub fn all_retained(visit: impl FnMut(u64, &[u8])) {
    retained_where(
        c"SELECT context_entry, context FROM ward.audit_pruned_segment WHERE context IS NOT NULL",
        &[],
        visit,
    );
}

fn retained_where(query: &CStr, args: &[Arg], mut visit: impl FnMut(u64, &[u8])) {
    query::read(query, args, |row| {
        let entry = row.int8(1) as u64;
        row.with_bytes(2, |leaf| visit(entry, leaf.unwrap_or_default()));
    });
}

fn missing_segment() -> pgrx::pg_sys::panic::ErrorReport {
    error::report(
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        "a segment table cannot be found",
    )
}

fn segment_name(number: u64) -> String {
    format!("audit_segment_{number:06}")
}

/// Calls `visit` with number, leaf and image of the leaves of a segment in order of their numbers, the
/// first of which should be `next`. Rows are stored in that order, so the table is scanned; where a
/// number is out of order, the rest of the table is sorted.
pub fn leaves(
    table: pg_sys::Oid,
    segment_no: u64,
    next: &mut u64,
    mut visit: impl FnMut(u64, &[u8], Option<&[u8]>),
) -> Result<()> {
    leaves_from(
        table,
        segment_no,
        (0, u64::MAX),
        next,
        |_, id, leaf, image| {
            visit(id, leaf, image);
            true
        },
    )
    .map(|_| ())
}

/// As [`leaves`], from page `page` on until leaf `end`, with the leaf's page as long as the rows are in order. Ends after
/// the row with whose leaves `visit` answers false, and says whether it did not.
///
/// A restore puts small rows where there is room in an earlier page: what is missing behind `page` is looked for before.
pub fn leaves_from(
    table: pg_sys::Oid,
    segment_no: u64,
    (page, end): (u32, u64),
    next: &mut u64,
    mut visit: impl FnMut(Option<u32>, u64, &[u8], Option<&[u8]>) -> bool,
) -> Result<bool> {
    let mut disorder = None;
    let mut go_on = true;
    segment::scan_from(table, (page, 0), |stored| {
        let id = stored.entry_id as u64;
        if id != *next {
            disorder = Some(stored.place);
            return false;
        }
        *next = segment::each_leaf(id, stored.records, |id, leaf, image| {
            go_on &= visit(Some(stored.place.0), id, leaf, image);
        });
        go_on
    });
    let incomplete = page > 0 && go_on && *next < end;
    if disorder.is_some() || incomplete {
        let from = disorder.unwrap_or((u32::MAX - 1, 0));
        let before = incomplete.then_some((page, *next));
        sorted_rows(segment_no, from, before, |id, records| {
            let end = segment::each_leaf(id, records, |id, leaf, image| {
                go_on &= visit(None, id, leaf, image);
            });
            *next = (*next).max(end);
            go_on
        })?;
    }
    Ok(go_on)
}

/// The rows of a segment from place `from` (block, offset) on, and those before page `before` whose numbers are not
/// below that given with it, sorted by number. A row that does not belong into the segment comes last, as the highest
/// number there is.
fn sorted_rows(
    segment_no: u64,
    from: (u32, u16),
    before: Option<(u32, u64)>,
    mut visit: impl FnMut(u64, &[u8]) -> bool,
) -> Result<()> {
    let bits = segment_bits();
    let before = before.map_or(String::new(), |(page, least)| {
        format!("OR ctid < '({page},0)'::tid AND entry_id >= {least}")
    });
    let query = format!(
        "SELECT CASE WHEN entry_id >> {bits} = {segment_no} THEN entry_id ELSE {} END, records \
         FROM ward.{} WHERE ctid >= '({},{})'::tid {before} ORDER BY 1",
        i64::MAX,
        segment_name(segment_no),
        from.0,
        from.1
    );
    let query = std::ffi::CString::new(query).map_err(|_| missing_segment())?;
    query::read_while(&query, &[], |row| {
        let id = row.int8(1) as u64;
        row.with_bytes(2, |records| visit(id, records.unwrap_or_default()))
    });
    Ok(())
}
