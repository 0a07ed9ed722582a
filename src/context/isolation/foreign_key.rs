//! The foreign key that tells a row's parent.

use super::policy::State;
use super::table::{Column, Table};
use super::{spi, utf8};
use crate::error::{self, Result};
use pgrx::prelude::*;

/// A foreign key, as the condition of a policy follows it.
pub struct ForeignKey {
    /// The table it refers to.
    pub parent: pg_sys::Oid,
    pairs: Vec<Pair>,
}

/// One column of the key.
struct Pair {
    number: i16,
    /// The quoted name here.
    child: String,
    /// The operator PostgreSQL itself checks the key with.
    operator: String,
    /// The quoted name in the parent.
    parent: String,
}

impl ForeignKey {
    /// The key through `column` to a table that is isolated.
    pub fn through(table: &Table, column: &Column) -> Result<Self> {
        let keys = all(table)?
            .into_iter()
            .filter(|key| key.numbers().contains(&column.number))
            .collect::<Vec<_>>();
        if keys.is_empty() {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
                format!(
                    "column {} of table {} is in no foreign key",
                    column.name, table.name
                ),
                "Create the foreign key to the parent table first.",
            ));
        }
        let mut isolated = Vec::new();
        let mut open = None;
        for key in keys.into_iter().filter(|key| key.parent != table.oid) {
            let parent = Table::find(key.parent)?;
            if State::of(&parent)?.isolated() {
                isolated.push(key);
            } else {
                open = Some(parent);
            }
        }
        // The key with the most columns is the tightest.
        isolated.sort_by_key(|key| std::cmp::Reverse(key.pairs.len()));
        if isolated
            .iter()
            .any(|key| Some(key.parent) != isolated.first().map(|first| first.parent))
        {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_AMBIGUOUS_COLUMN,
                format!(
                    "column {} of table {} refers to more than one isolated table",
                    column.name, table.name
                ),
                "Name a column that only the foreign key to the owning table has.",
            ));
        }
        match (isolated.into_iter().next(), open) {
            (Some(key), _) => Ok(key),
            (None, Some(parent)) => Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("the parent table {} is not isolated", parent.name),
                "Isolate it first, with ward.enable_tenant_isolation(), ward.enable_user_isolation() \
                 or ward.enable_parent_isolation().",
            )),
            (None, None) => Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                format!(
                    "column {} of table {} refers to the table itself",
                    column.name, table.name
                ),
                "A table cannot be isolated through itself: give it a tenant or user column.",
            )),
        }
    }

    /// The key of exactly these columns, to one of `parents`.
    pub fn of_columns(
        table: &Table,
        numbers: &[i16],
        parents: &[pg_sys::Oid],
    ) -> Result<Option<Self>> {
        Ok(all(table)?.into_iter().find(|key| {
            let own = key.numbers();
            parents.contains(&key.parent)
                && own.len() == numbers.len()
                && own.iter().all(|number| numbers.contains(number))
        }))
    }

    /// The same key on a table that inherits its columns.
    pub fn on(&self, table: &Table) -> Result<Self> {
        let mut pairs = Vec::new();
        for pair in &self.pairs {
            let number = Spi::connect_mut(|client| {
                client
                    .update(
                        "SELECT a.attnum FROM pg_catalog.pg_attribute a
                         WHERE a.attrelid = $1 AND NOT a.attisdropped
                           AND pg_catalog.quote_ident(a.attname) = pg_catalog.convert_from($2, 'UTF8')
                         UNION ALL SELECT NULL LIMIT 1",
                        None,
                        &[table.oid.into(), pair.child.as_bytes().into()],
                    )?
                    .first()
                    .get_one::<i16>()
            })
            .map_err(spi)?;
            let Some(number) = number else {
                return Err(error::report(
                    PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
                    format!("table {} has no column {}", table.name, pair.child),
                ));
            };
            pairs.push(Pair {
                number,
                child: pair.child.clone(),
                operator: pair.operator.clone(),
                parent: pair.parent.clone(),
            });
        }
        Ok(ForeignKey {
            parent: self.parent,
            pairs,
        })
    }

    /// The numbers of its columns here.
    pub fn numbers(&self) -> Vec<i16> {
        self.pairs.iter().map(|pair| pair.number).collect()
    }

    /// The quoted names of its columns here.
    pub fn columns(&self) -> Vec<&str> {
        self.pairs.iter().map(|pair| pair.child.as_str()).collect()
    }

    /// The condition that joins the row `child` with the row `parent`.
    pub fn join(&self, child: &str, parent: &str) -> String {
        let equal = |pair: &Pair| {
            format!(
                "{parent}.{} {} {child}.{}",
                pair.parent, pair.operator, pair.child
            )
        };
        self.pairs
            .iter()
            .map(equal)
            .collect::<Vec<_>>()
            .join(" AND ")
    }
}

/// The foreign keys of a table.
fn all(table: &Table) -> Result<Vec<ForeignKey>> {
    let rows = Spi::connect_mut(|client| {
        client
            .update(
                "SELECT c.oid, c.confrelid, a.attnum,
                        pg_catalog.convert_to(pg_catalog.quote_ident(a.attname), 'UTF8'),
                        pg_catalog.convert_to(
                            pg_catalog.format('OPERATOR(%I.%s)', n.nspname, o.oprname), 'UTF8'),
                        pg_catalog.convert_to(pg_catalog.quote_ident(p.attname), 'UTF8')
                 FROM pg_catalog.pg_constraint c
                 CROSS JOIN LATERAL unnest(c.conkey, c.confkey, c.conpfeqop)
                      WITH ORDINALITY AS k(child, parent, operator, place)
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.child
                 JOIN pg_catalog.pg_attribute p ON p.attrelid = c.confrelid AND p.attnum = k.parent
                 JOIN pg_catalog.pg_operator o ON o.oid = k.operator
                 JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
                 WHERE c.conrelid = $1 AND c.contype = 'f'
                   -- A key to a partitioned table has copies, one to each partition.
                   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint whole
                                   WHERE whole.oid = c.conparentid AND whole.conrelid = c.conrelid)
                 ORDER BY c.oid, k.place",
                None,
                &[table.oid.into()],
            )?
            .map(|row| {
                Ok((
                    row.get::<pg_sys::Oid>(1)?,
                    row.get::<pg_sys::Oid>(2)?,
                    row.get::<i16>(3)?,
                    [utf8(row.get(4)?), utf8(row.get(5)?), utf8(row.get(6)?)],
                ))
            })
            .collect::<pgrx::spi::Result<Vec<_>>>()
    })
    .map_err(spi)?;
    let mut keys: Vec<(pg_sys::Oid, ForeignKey)> = Vec::new();
    for row in rows {
        let (Some(constraint), Some(parent), Some(number), [child, operator, column]) = row else {
            continue;
        };
        if keys.last().is_none_or(|(last, _)| *last != constraint) {
            let pairs = Vec::new();
            keys.push((constraint, ForeignKey { parent, pairs }));
        }
        if let Some((_, key)) = keys.last_mut() {
            key.pairs.push(Pair {
                number,
                child,
                operator,
                parent: column,
            });
        }
    }
    Ok(keys.into_iter().map(|(_, key)| key).collect())
}
