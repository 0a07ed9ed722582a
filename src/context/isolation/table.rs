//! Which tables can be isolated, and by which column.

use super::spi;
use crate::error::{self, Result};
use crate::pg::context::base_type;
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
    /// Whether row level security is enabled.
    pub security_enabled: bool,
    /// Whether row level security binds the owner too.
    pub security_forced: bool,
    schema: String,
    kind: String,
    persistence: String,
}

/// The column that names the tenant, and what it is compared with.
pub struct TenantColumn {
    /// Its number in this table: partitions may order their columns differently.
    pub number: i16,
    /// Its quoted name.
    pub name: String,
    /// The accessor of the column's type.
    pub accessor: &'static str,
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
            Ok(Some(Table {
                oid,
                schema: utf8(row.get(1)?),
                name: utf8(row.get(2)?),
                kind: row.get(3)?.unwrap_or_default(),
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

    /// Finds the tenant column and the accessor to compare it with.
    pub fn tenant_column(&self, name: &str) -> Result<TenantColumn> {
        let found = Spi::connect_mut(|client| {
            let rows = client.update(
                "SELECT a.attnum, a.atttypid,
                        pg_catalog.convert_to(pg_catalog.format_type(a.atttypid, a.atttypmod), 'UTF8')
                 FROM pg_catalog.pg_attribute a
                 WHERE a.attrelid = $1 AND a.attname = pg_catalog.convert_from($2, 'UTF8') AND a.attnum > 0 AND NOT a.attisdropped",
                None,
                &[self.oid.into(), name.as_bytes().into()],
            )?;
            if rows.is_empty() {
                return Ok(None);
            }
            let row = rows.first();
            Ok(row
                .get::<i16>(1)?
                .zip(row.get::<pg_sys::Oid>(2)?)
                .zip(row.get::<Vec<u8>>(3)?.map(|name| utf8(Some(name)))))
        });
        let quoted = quote_identifier(name);
        let Some(((number, type_oid), type_name)) = found.map_err(spi)? else {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
                format!("table {} has no column {quoted}", self.name),
                "Name the column that holds the tenant as the second argument.",
            ));
        };
        let accessor = match base_type(type_oid) {
            pg_sys::UUIDOID => "ward.get_current_tenant_id()",
            pg_sys::TEXTOID | pg_sys::VARCHAROID => "ward.get_tenant_context()",
            pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID => {
                "ward.get_current_tenant_number()"
            }
            _ => {
                return Err(error::report_hint(
                    PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                    format!(
                        "column {quoted} of table {} is of type {type_name}",
                        self.name
                    ),
                    "The tenant column must be of type uuid, text, character varying, smallint, \
                     integer or bigint.",
                ));
            }
        };
        Ok(TenantColumn {
            number,
            name: quoted,
            accessor,
        })
    }

    /// Warns when no index leads with the tenant column: every query will then read the rows of
    /// all tenants.
    pub fn advise_index(&self, column: &TenantColumn) -> Result<()> {
        let indexed = Spi::connect_mut(|client| {
            client
                .update(
                    "SELECT EXISTS (SELECT FROM pg_catalog.pg_index i
                     WHERE i.indrelid = $1 AND i.indkey[0] = $2 AND i.indisvalid AND i.indpred IS NULL)",
                    None,
                    &[self.oid.into(), column.number.into()],
                )?
                .first()
                .get_one::<bool>()
        });
        if indexed.map_err(spi)? == Some(true) {
            return Ok(());
        }
        // A partitioned table's index cannot be built concurrently.
        let concurrently = if self.kind == "p" {
            ""
        } else {
            " CONCURRENTLY"
        };
        error::report_hint(
            PgSqlErrorCode::ERRCODE_WARNING,
            format!(
                "no index of table {} begins with column {}",
                self.name, column.name
            ),
            format!(
                "CREATE INDEX{concurrently} ON {} ({});",
                self.name, column.name
            ),
        )
        .report(PgLogLevel::WARNING);
        Ok(())
    }
}

/// A name that the query gave as UTF-8.
fn utf8(name: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&name.unwrap_or_default()).into_owned()
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
