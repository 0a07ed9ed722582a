//! What the owner of a table is told when its isolation changes.

use super::table::Table;
use super::{spi, utf8};
use crate::error::{self, Result};
use pgrx::prelude::*;
use pgrx::spi::quote_literal;

/// Warns of foreign keys between isolated tables that can reach rows of others, and mentions what
/// else tells of them: unique keys, and tables that refer to this one and are not isolated yet.
pub fn keys(table: &Table) -> Result<()> {
    let rows = Spi::connect_mut(|client| {
        client
            .update(
                "SELECT kind = 'foreign key'
                            AND EXISTS (SELECT FROM ward.isolated_tables i WHERE i.tab = table_name),
                        pg_catalog.convert_to(pg_catalog.format('%s of %s: %s', pg_catalog.quote_ident(constraint_name), table_name, problem), 'UTF8'),
                        pg_catalog.convert_to(remediation, 'UTF8')
                 FROM ward.isolation_foreign_keys($1)",
                None,
                &[table.oid.into()],
            )?
            .map(|row| {
                Ok((
                    row.get::<bool>(1)? == Some(true),
                    utf8(row.get(2)?),
                    utf8(row.get(3)?),
                ))
            })
            .collect::<pgrx::spi::Result<Vec<_>>>()
    })
    .map_err(spi)?;
    for (_, problem, remediation) in rows.iter().filter(|(warn, ..)| *warn) {
        error::report_hint(
            PgSqlErrorCode::ERRCODE_WARNING,
            format!("foreign key {problem}"),
            remediation.clone(),
        )
        .report(PgLogLevel::WARNING);
    }
    let others = rows.iter().filter(|(warn, ..)| !warn).count();
    if others > 0 {
        error::report_hint(
            PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!(
                "{others} foreign or unique {} of rows of table {}",
                if others == 1 {
                    "key can tell somebody else"
                } else {
                    "keys can tell somebody else"
                },
                table.name
            ),
            format!(
                "SELECT * FROM ward.isolation_foreign_keys({}) shows which, and how to change them.",
                quote_literal(&table.name)
            ),
        )
        .report(PgLogLevel::NOTICE);
    }
    Ok(())
}

/// Tells what is left behind.
pub fn disabled(table: &Table) -> Result<()> {
    let (open, children) = Spi::connect_mut(|client| {
        let row = client
            .update(
                "SELECT NOT c.relrowsecurity AND EXISTS (SELECT FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid),
                        (SELECT pg_catalog.convert_to(pg_catalog.string_agg(DISTINCT p.polrelid::pg_catalog.regclass::text, ', '), 'UTF8')
                         FROM pg_catalog.pg_depend d
                         JOIN pg_catalog.pg_policy p ON p.oid = d.objid AND p.polname = 'ward_parent_isolation'
                         WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
                           AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
                           AND d.refobjid = c.oid AND p.polrelid <> c.oid)
                 FROM pg_catalog.pg_class c WHERE c.oid = $1",
                None,
                &[table.oid.into()],
            )?
            .first();
        Ok((row.get::<bool>(1)?, row.get::<Vec<u8>>(2)?))
    })
    .map_err(spi)?;
    if open == Some(true) {
        error::report_hint(
            PgSqlErrorCode::ERRCODE_WARNING,
            format!(
                "the policies of table {} are not in force: row level security is off, as it was before",
                table.name
            ),
            format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY;", table.name),
        )
        .report(PgLogLevel::WARNING);
    }
    if let Some(children) = children {
        notice!(
            "tables that are isolated through table {} stay so: {}",
            table.name,
            utf8(Some(children))
        );
    }
    Ok(())
}
