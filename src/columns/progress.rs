//! How far a conversion has come, stored in the transaction that does the work.

use crate::error::{self, Result};
use crate::pg::columns::scan;
use crate::pg::columns::table::Table;
use crate::pg::owner;
use pgrx::prelude::*;
use std::ffi::CStr;

/// Progress in one table or partition.
pub struct Progress {
    table: pg_sys::Oid,
    target: Vec<u8>,
    /// The first block that was not converted yet.
    pub next_block: i64,
    /// How many blocks there were at the beginning.
    pub blocks: i64,
}

impl Progress {
    /// The progress so far, from the beginning if there is none or the table was rewritten since.
    /// Others who convert the same table wait until this transaction ends.
    pub fn of(table: &Table, oid: pg_sys::Oid, target: &CStr) -> Result<Self> {
        let blocks = scan::blocks(table);
        let row = owner::run(|| {
            Spi::connect_mut(|client| {
                client
                    .update(
                        "INSERT INTO ward.column_conversion AS c (relation, target, file, blocks) \
                         VALUES ($1, pg_catalog.convert_from($2, pg_catalog.getdatabaseencoding()), \
                                 pg_catalog.pg_relation_filenode($1), $3) \
                         ON CONFLICT (relation, target) DO UPDATE SET \
                             next_block = CASE WHEN c.file = excluded.file THEN c.next_block ELSE 0 END, \
                             blocks = CASE WHEN c.file = excluded.file THEN c.blocks ELSE excluded.blocks END, \
                             file = excluded.file \
                         RETURNING next_block, blocks",
                        None,
                        &[oid.into(), target.to_bytes().into(), blocks.into()],
                    )?
                    .first()
                    .get_two::<i64, i64>()
            })
        });
        let (next_block, blocks) = row.map_err(error::spi)?;
        Ok(Self {
            table: oid,
            target: target.to_bytes().to_vec(),
            next_block: next_block.unwrap_or(0),
            blocks: blocks.unwrap_or(0),
        })
    }

    /// Records that all blocks before `past` are converted, and says so every tenth of the table.
    pub fn advance(&self, table: &Table, past: i64, changed: i64) -> Result<()> {
        owner::run(|| {
            Spi::connect_mut(|client| {
                client
                    .update(
                        "UPDATE ward.column_conversion SET next_block = $3, changed = changed + $4, \
                             updated_at = pg_catalog.clock_timestamp() \
                         WHERE relation = $1 \
                           AND target = pg_catalog.convert_from($2, pg_catalog.getdatabaseencoding())",
                        None,
                        &[
                            self.table.into(),
                            self.target.as_slice().into(),
                            past.into(),
                            changed.into(),
                        ],
                    )
                    .map(|_| ())
            })
        })
        .map_err(error::spi)?;
        let tenth = |block: i64| block.saturating_mul(10) / self.blocks.max(1);
        if tenth(past) > tenth(self.next_block) && past < self.blocks {
            notice!(
                "{}: {past} of {} blocks are converted",
                table.shown(),
                self.blocks
            );
        }
        Ok(())
    }
}

/// Removes what is stored of a conversion.
pub fn forget(table: pg_sys::Oid, target: &CStr) -> Result<()> {
    owner::run(|| {
        Spi::connect_mut(|client| {
            client
                .update(
                    "DELETE FROM ward.column_conversion WHERE relation = $1 \
                     AND target = pg_catalog.convert_from($2, pg_catalog.getdatabaseencoding())",
                    None,
                    &[table.into(), target.to_bytes().into()],
                )
                .map(|_| ())
        })
    })
    .map_err(error::spi)
}
