//! Finds rows by their place in the table.

use super::table::{Table, Value};
use crate::error::{self, Result};
use crate::pg::owner;
use crate::pg::query::{self, Row};
use pgrx::prelude::*;
use std::ffi::{CStr, CString, c_int};
use std::fmt;

/// Where a row version lies.
#[derive(Clone, Copy)]
pub struct Place(pub(super) pg_sys::ItemPointerData);

impl Place {
    /// Block and number within the block.
    fn parts(self) -> (u32, u16) {
        let block = self.0.ip_blkid;
        let number = (u32::from(block.bi_hi) << 16) | u32::from(block.bi_lo);
        (number, self.0.ip_posid)
    }

    /// A place from its text form.
    pub fn parse(text: &str) -> Option<Self> {
        let (block, number) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
        let block: u32 = block.parse().ok()?;
        Some(Self(pg_sys::ItemPointerData {
            ip_blkid: pg_sys::BlockIdData {
                bi_hi: (block >> 16) as u16,
                bi_lo: (block & 0xffff) as u16,
            },
            ip_posid: number.parse().ok()?,
        }))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (block, number) = self.parts();
        write!(f, "({block},{number})")
    }
}

/// Which rows of a table.
pub enum Part {
    /// Those in blocks from the first up to, but not including, the second.
    Blocks(i64, i64),
    /// Those at these places.
    Places(Vec<Place>),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blocks(first, past) => {
                write!(f, "ctid >= '({first},0)' AND ctid < '({past},0)'")
            }
            Self::Places(places) => {
                let list: Vec<String> = places.iter().map(|p| format!("\"{p}\"")).collect();
                write!(f, "ctid = ANY ('{{{}}}'::pg_catalog.tid[])", list.join(","))
            }
        }
    }
}

/// A query's parts in the server's encoding: names of columns are not always UTF-8.
pub struct Select<'a> {
    /// What else is asked for besides the place, an expression.
    pub value: &'a CStr,
    /// Which rows.
    pub part: &'a Part,
    /// A further condition.
    pub condition: &'a CStr,
}

/// Calls `visit` with place and value of each row, until it answers false. Rows are those of the
/// active snapshot.
pub fn select(
    table: &Table,
    select: &Select<'_>,
    mut visit: impl FnMut(Place, Option<Value>) -> bool,
) -> Result<()> {
    let text = [
        b"SELECT ctid, ",
        select.value.to_bytes(),
        b" FROM ONLY ",
        table.quoted().to_bytes(),
        b" WHERE (",
        select.part.to_string().as_bytes(),
        b") AND (",
        select.condition.to_bytes(),
        b")",
    ]
    .concat();
    let query = CString::new(text).map_err(|_| {
        error::report(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "an expression contains a zero byte",
        )
    })?;
    query::read_while(&query, &[], |row: &Row| {
        let Some(place) = row.place(1) else {
            return true;
        };
        visit(Place(place), row.value(2).map(Value))
    });
    Ok(())
}

/// As [`select`], with the latest snapshot, and of all rows, whatever policies hide. It runs as the table's owner: reading a
/// table runs code that its owner has put in, which must not get the rights of anybody else.
pub fn select_all(
    table: &Table,
    what: &Select<'_>,
    visit: impl FnMut(Place, Option<Value>) -> bool,
) -> Result<()> {
    // SAFETY: the relation is open.
    let oid = unsafe { (*table.relation()).rd_id };
    owner::run(|| owner::as_owner_of(oid, || select(table, what, visit)))
}

/// How many blocks a table has now.
pub fn blocks(table: &Table) -> i64 {
    // SAFETY: the relation is open.
    i64::from(unsafe {
        pg_sys::RelationGetNumberOfBlocksInFork(
            table.relation(),
            pg_sys::ForkNumber::MAIN_FORKNUM as c_int as _,
        )
    })
}
