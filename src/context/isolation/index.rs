//! The index a policy needs: without one, every query reads the rows of everybody.

use super::rule::Rule;
use super::table::Table;
use super::{run, spi, utf8};
use crate::error::{self, Result};
use crate::pg::context::{self as relation, CREATED};
use crate::pg::{catalog, index_worker};
use pgrx::prelude::*;

/// Size of a table, in bytes, up to which its index is created within the call: it takes less than a
/// second or so, while nobody else can use the table.
const SMALL: i64 = 32 * 1024 * 1024;

/// When an index that is missing is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Creation {
    /// Within the call when the table is small; else the caller is told.
    Auto,
    /// Within the call.
    Now,
    /// By a background worker after commit, while the table is in use.
    Concurrently,
    /// Not at all.
    Never,
}

impl Creation {
    /// Parses the argument.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        match text {
            Some("auto") => Ok(Creation::Auto),
            Some("now") => Ok(Creation::Now),
            Some("concurrently") => Ok(Creation::Concurrently),
            Some("never") => Ok(Creation::Never),
            _ => Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "create_index is none of its four values",
                "Give 'auto', 'now', 'concurrently' or 'never'.",
            )),
        }
    }

    /// Sees to the index of a table that has just been isolated.
    pub fn ensure(self, table: &Table, rule: &Rule) -> Result<()> {
        let Some((number, column)) = rule.leading() else {
            return Ok(());
        };
        if self == Creation::Never || exists(table.oid, number)? {
            return Ok(());
        }
        match self {
            Creation::Concurrently => {
                index_worker::request(table.oid);
                notice!(
                    "an index on column {column} of table {} is built in the background after commit",
                    table.name
                );
                Ok(())
            }
            Creation::Auto if size(table)? > SMALL => {
                advise(table, column);
                Ok(())
            }
            _ => {
                let index = relation::NewIndex::on(table.oid, number, false);
                let ours = !takes_over(table.oid, column)?;
                catalog::execute(&index.create)?;
                if ours {
                    catalog::execute(&index.comment)?;
                }
                notice!(
                    "created an index on column {column} of table {}",
                    table.name
                );
                Ok(())
            }
        }
    }
}

/// Says which statement creates the index of a table that is too large to do so unasked.
fn advise(table: &Table, column: &str) {
    // A partitioned table's index cannot be built concurrently by one statement.
    let concurrently = if table.is_partitioned {
        ""
    } else {
        " CONCURRENTLY"
    };
    error::report_hint(
        PgSqlErrorCode::ERRCODE_WARNING,
        format!(
            "no index of table {} begins with column {column}",
            table.name
        ),
        format!(
            "CREATE INDEX{concurrently} ON {} ({column}); or call the function again with \
             create_index => 'concurrently'.",
            table.name
        ),
    )
    .report(PgLogLevel::WARNING);
}

/// Whether a valid index begins with the column.
pub fn exists(table: pg_sys::Oid, column: i16) -> Result<bool> {
    Spi::connect_mut(|client| {
        client
            .update(
                "SELECT EXISTS (
                     SELECT FROM pg_catalog.pg_index i
                     JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid
                     JOIN pg_catalog.pg_am a ON a.oid = c.relam AND a.amname IN ('btree', 'hash')
                     WHERE i.indrelid = $1 AND i.indkey[0] = $2 AND i.indisvalid AND i.indpred IS NULL)",
                None,
                &[table.into(), column.into()],
            )?
            .first()
            .get_one::<bool>()
    })
    .map(|found| found == Some(true))
    .map_err(spi)
}

fn size(table: &Table) -> Result<i64> {
    Spi::connect_mut(|client| {
        client
            .update(
                // A table that is neither partitioned nor a partition has no tree.
                "SELECT pg_catalog.sum(pg_catalog.pg_relation_size(oid))::bigint
                 FROM (SELECT $1::pg_catalog.oid UNION
                       SELECT relid FROM pg_catalog.pg_partition_tree($1)) AS tables(oid)",
                None,
                &[table.oid.into()],
            )?
            .first()
            .get_one::<i64>()
    })
    .map(|bytes| bytes.unwrap_or(i64::MAX))
    .map_err(spi)
}

/// Drops the indexes that were created for the isolation of a table.
pub fn drop_created(table: &Table) -> Result<()> {
    let names = Spi::connect_mut(|client| {
        client
            .update(
                "SELECT pg_catalog.convert_to(pg_catalog.format('%I.%I', n.nspname, c.relname), 'UTF8')
                 FROM pg_catalog.pg_index i
                 JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid AND NOT c.relispartition
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE i.indrelid = $1
                   AND pg_catalog.obj_description(i.indexrelid, 'pg_class') = $2
                   AND NOT i.indisreplident AND NOT i.indisunique
                 ORDER BY i.indexrelid",
                None,
                &[table.oid.into(), CREATED.into()],
            )?
            .map(|row| row.get::<Vec<u8>>(1).map(utf8))
            .collect::<pgrx::spi::Result<Vec<_>>>()
    })
    .map_err(spi)?;
    for name in names {
        run(&[format!("DROP INDEX {name}")])?;
    }
    Ok(())
}

/// Whether the index of a partitioned table would take over indexes of its partitions that are the
/// owner's own: dropping it would drop those.
pub fn takes_over(table: pg_sys::Oid, column: &str) -> Result<bool> {
    Spi::connect_mut(|client| {
        client
            .update(
                "SELECT EXISTS (
                     SELECT FROM pg_catalog.pg_partition_tree($1) t
                     JOIN pg_catalog.pg_index i ON i.indrelid = t.relid
                     JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid AND NOT c.relispartition
                     JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                     WHERE t.relid <> $1 AND i.indnatts = 1
                       AND pg_catalog.quote_ident(a.attname) = pg_catalog.convert_from($2, 'UTF8')
                       AND pg_catalog.obj_description(i.indexrelid, 'pg_class') IS DISTINCT FROM $3)",
                None,
                &[table.into(), column.as_bytes().into(), CREATED.into()],
            )?
            .first()
            .get_one::<bool>()
    })
    .map(|found| found != Some(false))
    .map_err(spi)
}

/// An index to build.
pub struct Missing {
    /// On which table.
    pub table: pg_sys::Oid,
    /// On which of its columns.
    pub column: i16,
    /// Whether it would take over indexes of the owner's own.
    pub takes_over: bool,
}

/// What the worker has to build for a table that asked for it: the tables of which an index must be
/// created concurrently, and then the partitioned table whose index takes them over.
pub fn missing(table: pg_sys::Oid) -> Result<Vec<Missing>> {
    let Ok(root) = Table::find(table) else {
        return Ok(Vec::new());
    };
    let mut missing = Vec::new();
    for found in &super::policy::State::of(&root)?.found {
        let Ok(rule) = Rule::existing(&root, found) else {
            continue;
        };
        let Some((number, column)) = rule.leading() else {
            continue;
        };
        if exists(table, number)? {
            continue;
        }
        for (leaf, leaf_number) in leaves(&root, column)? {
            if leaf != table && !exists(leaf, leaf_number)? {
                missing.push(Missing {
                    table: leaf,
                    column: leaf_number,
                    takes_over: false,
                });
            }
        }
        missing.push(Missing {
            table,
            column: number,
            takes_over: takes_over(table, column)?,
        });
    }
    Ok(missing)
}

/// The partitions that hold rows, and the number of the column there.
fn leaves(table: &Table, column: &str) -> Result<Vec<(pg_sys::Oid, i16)>> {
    Spi::connect_mut(|client| {
        client
            .update(
                "SELECT t.relid::pg_catalog.oid, a.attnum
                 FROM pg_catalog.pg_partition_tree($1) t
                 JOIN pg_catalog.pg_class c ON c.oid = t.relid AND c.relkind = 'r'
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = t.relid AND NOT a.attisdropped
                  AND pg_catalog.quote_ident(a.attname) = pg_catalog.convert_from($2, 'UTF8')
                 WHERE t.isleaf ORDER BY 1",
                None,
                &[table.oid.into(), column.as_bytes().into()],
            )?
            .map(|row| Ok(row.get::<pg_sys::Oid>(1)?.zip(row.get::<i16>(2)?)))
            .filter_map(pgrx::spi::Result::transpose)
            .collect::<pgrx::spi::Result<Vec<_>>>()
    })
    .map_err(spi)
}
