//! Archives: one segment as an export that is connected with the log as it is now, to be kept when the segment is pruned.

use super::export::{self, Export};
use super::proof::natural;
use super::retention::published;
use super::{checkpoint, entries, store};
use crate::error::{self, Result};
use crate::pg::owner;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use ward_log::{ExportHead, ExportOrder, consistency_proof, inclusion_proof};

/// A segment of the sealed log as lines of text, with the whole blocks that it has a part in.
#[pg_extern(parallel_unsafe)]
fn archive_segment(
    segment_no: Option<i64>,
) -> std::result::Result<SetOfIterator<'static, String>, ErrorReport> {
    entries::check_reader()?;
    let number = natural("segment_no", segment_no)?;
    Ok(export::lines(owner::run_in_statement(|| begin(number))?))
}

fn begin(number: u64) -> Result<Export> {
    let (identity, last) = checkpoint::last()?;
    let bits = store::segment_bits();
    let segments = last.tree_size >> bits;
    if number >= segments {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            format!("segment {number} is not full: {segments} segments are"),
            format!(
                "A segment has {} leaves. ward.export_audit_trail() exports what is there.",
                1u64 << bits
            ),
        ));
    }
    if let Some(entry) = store::pruned_by(number) {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_NO_DATA_FOUND,
            format!("segment {number} was pruned, as entry {entry} says"),
        ));
    }
    let (from, to) = (number << bits, (number + 1) << bits);
    let (block, _) = export::block_of(to - 1, last.block_no);
    let mut end = None;
    store::blocks(block, 1, |row| end = Some(row));
    let end = end.ok_or_else(damaged)?;
    let head = head(&end, &last)?;
    Export::begin(from, &identity, &end, Some(&head))
}

/// What the log says behind the archive: at the size of the latest published checkpoint, so that whoever has that can
/// compare it, or as it is now.
fn head(end: &store::Block, last: &store::Block) -> Result<ExportHead> {
    let size = published(end.tree_size)?.unwrap_or(last.tree_size);
    let root = store::root_at(size).ok_or_else(damaged)?;
    let mut leaves = Vec::new();
    store::orders_from(end.tree_size, |index, leaf, is_in| {
        if is_in && index < size {
            leaves.push((index, leaf.to_vec()));
        }
    });
    let mut orders = Vec::new();
    for (index, leaf) in leaves {
        orders.push(ExportOrder {
            index,
            leaf,
            inclusion: inclusion_proof(index, size, store::tile).map_err(|_| damaged())?,
        });
    }
    Ok(ExportHead {
        size,
        root,
        consistency: consistency_proof(end.tree_size, size, store::tile).map_err(|_| damaged())?,
        orders,
    })
}

fn damaged() -> ErrorReport {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        "the segment cannot be archived: blocks or stored hashes are missing",
        "SELECT * FROM ward.audit_violations() says where.",
    )
}
