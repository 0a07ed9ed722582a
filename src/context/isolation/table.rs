//! Which tables can be isolated, and by which column.

use super::kind::Kind;
use super::{spi, utf8};
use crate::error::{self, Result};
use pgrx::prelude::*;
use pgrx::spi::quote_identifier;

/// A table as the catalog describes it to the caller.
pub struct Table {
    /// Its identity for the length of this transaction.
    pub oid: pg_sys::Oid,
    /// Schema and name, quoted; the name alone of a temporary table.
    pub name: String,
    /// Whether the caller has the rights of its owner.
    pub owned: bool,
    /// Whether it is a partition of another table.
    pub is_partition: bool,
    /// Whether it is a partitioned table.
    pub is_partitioned: bool,
    /// Whether row level security is enabled.
    pub security_enabled: bool,
    /// Whether row level security binds the owner too.
    pub security_forced: bool,
    schema: String,
    kind: String,
    persistence: String,
}

/// A column of a table.
pub struct Column {
    /// Its number in this table: partitions may order their columns differently.
    pub number: i16,
    /// Its quoted name.
    pub name: String,
    /// Its type.
    pub type_oid: pg_sys::Oid,
    type_name: String,
}

impl Table {
    /// Looks the table up.
    pub fn find(oid: pg_sys::Oid) -> Result<Self> {
        let found = Spi::connect_mut(|client| {
            // `update` and not `select`, here and below: a fresh snapshot shows what was
            // committed while this transaction waited for the lock.
            let rows = client.update(
                "SELECT pg_catalog.convert_to(n.nspname, 'UTF8'),
                        pg_catalog.convert_to(
                            CASE c.relpersistence WHEN 't' THEN pg_catalog.quote_ident(c.relname)
                                 ELSE pg_catalog.format('%I.%I', n.nspname, c.relname) END, 'UTF8'),
                        c.relkind::text, c.relpersistence::text,
                        pg_catalog.pg_has_role(c.relowner, 'USAGE'), c.relispartition,
                        c.relrowsecurity, c.relforcerowsecurity
                 FROM pg_catalog.pg_class c
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.oid = $1",
                None,
                &[oid.into()],
            )?;
            if rows.is_empty() {
                return Ok(None);
            }
            let row = rows.first();
            let kind: String = row.get(3)?.unwrap_or_default();
            Ok(Some(Table {
                oid,
                schema: utf8(row.get(1)?),
                name: utf8(row.get(2)?),
                is_partitioned: kind == "p",
                kind,
                persistence: row.get(4)?.unwrap_or_default(),
                owned: row.get(5)?.unwrap_or_default(),
                is_partition: row.get(6)?.unwrap_or_default(),
                security_enabled: row.get(7)?.unwrap_or_default(),
                security_forced: row.get(8)?.unwrap_or_default(),
            }))
        });
        found.map_err(spi)?.ok_or_else(|| {
            error::report(
                PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
                "the table does not exist",
            )
        })
    }

    /// Only permanent tables of the application can be isolated.
    pub fn refuse_unless_isolatable(&self) -> Result<()> {
        let reason = match self.kind.as_str() {
            _ if self.schema == "ward" => "belongs to pg_ward",
            _ if self.schema.starts_with("pg_toast") || self.schema == "pg_catalog" => {
                "is a system catalog"
            }
            _ if self.schema == "information_schema" => "is a system catalog",
            _ if self.persistence == "t" => "is temporary",
            "r" | "p" => return Ok(()),
            "v" | "m" => {
                "is a view: isolate the tables it reads, and let it run with the rights of its caller"
            }
            "f" => "is a foreign table, which has no row level security",
            _ => "is not a table",
        };
        Err(error::report(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("cannot isolate {}: it {reason}", self.name),
        ))
    }

    /// Finds a column that a function was given the name of.
    pub fn column(&self, kind: Kind, name: &str) -> Result<Column> {
        self.find_column(Some(name), 0)?.ok_or_else(|| {
            let purpose = match kind {
                Kind::Parent => "refers to the parent".to_owned(),
                _ => format!("holds the {}", kind.noun()),
            };
            error::report_hint(
                PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
                format!(
                    "table {} has no column {}",
                    self.name,
                    quote_identifier(name)
                ),
                format!("Name the column that {purpose} as the second argument."),
            )
        })
    }

    /// The column of a number.
    pub fn column_number(&self, number: i16) -> Result<Option<Column>> {
        self.find_column(None, number)
    }

    fn find_column(&self, name: Option<&str>, number: i16) -> Result<Option<Column>> {
        Spi::connect_mut(|client| {
            let rows = client.update(
                "SELECT a.attnum, a.atttypid, pg_catalog.convert_to(pg_catalog.quote_ident(a.attname), 'UTF8'),
                        pg_catalog.convert_to(pg_catalog.format_type(a.atttypid, a.atttypmod), 'UTF8')
                 FROM pg_catalog.pg_attribute a
                 WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
                   AND CASE WHEN $2 IS NULL THEN a.attnum = $3
                            ELSE a.attname = pg_catalog.convert_from($2, 'UTF8') END",
                None,
                &[
                    self.oid.into(),
                    name.map(str::as_bytes).into(),
                    number.into(),
                ],
            )?;
            if rows.is_empty() {
                return Ok(None);
            }
            let row = rows.first();
            let found = row.get::<i16>(1)?.zip(row.get::<pg_sys::Oid>(2)?);
            Ok(match found {
                None => None,
                Some((number, type_oid)) => Some(Column {
                    number,
                    name: utf8(row.get(3)?),
                    type_oid,
                    type_name: utf8(row.get(4)?),
                }),
            })
        })
        .map_err(spi)
    }

    /// What a column is compared with.
    pub fn accessor(&self, kind: Kind, column: &Column) -> Result<&'static str> {
        kind.accessor(column.type_oid).ok_or_else(|| {
            error::report_hint(
                PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                format!(
                    "column {} of table {} is of type {}",
                    column.name, self.name, column.type_name
                ),
                format!(
                    "The {} column must be of type uuid, text, character varying, smallint, \
                     integer or bigint.",
                    kind.noun()
                ),
            )
        })
    }
}

/// The table, then everything that inherits from it, partitions included: each can be queried
/// directly, and then only its own policies count.
pub fn family(root: pg_sys::Oid) -> Result<Vec<pg_sys::Oid>> {
    Spi::connect_mut(|client| {
        client
            .update(
                "WITH RECURSIVE family(oid) AS (
                     SELECT $1
                     UNION
                     SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN family f ON i.inhparent = f.oid
                     WHERE EXISTS (SELECT FROM pg_catalog.pg_class c
                                   WHERE c.oid = i.inhrelid AND c.relkind NOT IN ('i', 'I')))
                 SELECT oid FROM family ORDER BY oid <> $1, oid",
                None,
                &[root.into()],
            )?
            .map(|row| row.get::<pg_sys::Oid>(1))
            .filter_map(|oid| oid.transpose())
            .collect::<pgrx::spi::Result<Vec<_>>>()
    })
    .map_err(spi)
}
