//! The default of a tenant or user column: the context's own.

use super::kind::Kind;
use super::rule::Rule;
use super::table::{Column, Table};
use super::{run, spi, utf8};
use crate::error::Result;
use pgrx::prelude::*;

/// What a column has now.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Current {
    Nothing,
    Context,
    Other,
}

/// Gives the rule's column the context as its default, if it has none. Answers whether the default
/// is pg_ward's to take away again; `inherited` says that the table may have been created with a
/// copy of such a default.
pub fn add(table: &Table, rule: &Rule, recorded: bool, inherited: bool) -> Result<bool> {
    let Some((column, accessor)) = rule.default() else {
        return Ok(false);
    };
    match current(table, column, accessor)? {
        Current::Other => Ok(false),
        Current::Context => Ok(recorded || inherited),
        Current::Nothing => {
            run(&[format!(
                "ALTER TABLE ONLY {} ALTER COLUMN {} SET DEFAULT {accessor}",
                table.name, column.name
            )])?;
            Ok(true)
        }
    }
}

/// Takes the default of the column with this quoted name away again, unless it was changed since.
pub fn remove(table: &Table, kind: Kind, column: &str) -> Result<()> {
    let accessors = kind.accessors();
    let columns = Spi::connect_mut(|client| {
        client
            .update(
                "SELECT pg_catalog.convert_to(pg_catalog.quote_ident(a.attname), 'UTF8')
                 FROM pg_catalog.pg_attribute a
                 JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                 WHERE a.attrelid = $1 AND a.attgenerated = '' AND NOT a.attisdropped
                   AND pg_catalog.quote_ident(a.attname) = pg_catalog.convert_from($5, 'UTF8')
                   AND pg_catalog.pg_get_expr(d.adbin, d.adrelid) IN ($2, $3, $4)",
                None,
                &[
                    table.oid.into(),
                    accessors[0].into(),
                    accessors[1].into(),
                    accessors[2].into(),
                    column.as_bytes().into(),
                ],
            )?
            .map(|row| row.get::<Vec<u8>>(1).map(utf8))
            .collect::<pgrx::spi::Result<Vec<_>>>()
    })
    .map_err(spi)?;
    for column in columns {
        run(&[format!(
            "ALTER TABLE ONLY {} ALTER COLUMN {column} DROP DEFAULT",
            table.name
        )])?;
    }
    Ok(())
}

fn current(table: &Table, column: &Column, accessor: &str) -> Result<Current> {
    let (other, expression) = Spi::connect_mut(|client| {
        let row = client
            .update(
                "SELECT a.attidentity <> '' OR a.attgenerated <> '' OR a.atthasdef
                            OR t.typdefault IS NOT NULL,
                        (SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid) FROM pg_catalog.pg_attrdef d
                         WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum AND a.attgenerated = '')
                            = $3
                 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
                 WHERE a.attrelid = $1 AND a.attnum = $2",
                None,
                &[table.oid.into(), column.number.into(), accessor.into()],
            )?
            .first();
        Ok((row.get(1)?.unwrap_or(true), row.get(2)?.unwrap_or(false)))
    })
    .map_err(spi)?;
    Ok(match (other, expression) {
        (_, true) => Current::Context,
        (true, false) => Current::Other,
        (false, false) => Current::Nothing,
    })
}
