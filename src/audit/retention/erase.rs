//! Erasing the images of a record.

use super::perform::{Target, Targets};
use crate::audit::{capture, store};
use crate::error::{self, Result};
use crate::pg::values::Text;
use crate::pg::{owner, query};
use pgrx::prelude::*;
use std::collections::BTreeSet;
use ward_log::{EraseLeaf, MAX_TEXT_LEN, Shape, record_id_text};

/// A table as a shape names it.
type Named = (u32, String, String);

/// Has the images of all entries of a record erased. Returns how many there are.
// Declarations are spelled out because Rust has no type for regclass.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."erase_audit_images"("tab" regclass, "record_id" text, "reason" text)
RETURNS bigint VOLATILE PARALLEL UNSAFE
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn erase_audit_images(
    tab: Option<pg_sys::Oid>,
    record_id: Option<Text>,
    reason: Option<Text>,
) -> Result<i64> {
    let tab =
        tab.ok_or_else(|| super::null("tab", "Name a table, for example 'public.orders'."))?;
    let (record_id, reason) = (record(record_id)?, self::reason(reason)?);
    super::begin()?;
    let tables = owner::run(|| {
        let (schema, table) = names(tab)?;
        let oid = tab.to_u32();
        // Only within one history does an OID name one table.
        let one_history = store::incarnations().len() == 1;
        let mut tables = described(|shape| {
            (shape.schema == schema && shape.table == table)
                || (one_history && shape.relation_oid == oid)
        });
        if is_audited(tab) {
            tables.insert((oid, schema, table));
        }
        Ok::<_, pgrx::pg_sys::panic::ErrorReport>(tables)
    })?;
    order(&tables, &record_id, &reason)
}

/// The same for a table that does not exist any more.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."erase_audit_images"("table_schema" text, "table_name" text, "record_id" text, "reason" text)
RETURNS bigint VOLATILE PARALLEL UNSAFE
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn erase_audit_images_by_name(
    table_schema: Option<Text>,
    table_name: Option<Text>,
    record_id: Option<Text>,
    reason: Option<Text>,
) -> Result<i64> {
    let hint = "They are columns of ward.audit_trail.";
    let schema = text(table_schema.ok_or_else(|| super::null("table_schema", hint))?)?;
    let table = text(table_name.ok_or_else(|| super::null("table_name", hint))?)?;
    let (record_id, reason) = (record(record_id)?, self::reason(reason)?);
    super::begin()?;
    let tables = owner::run(|| described(|shape| shape.schema == schema && shape.table == table));
    order(&tables, &record_id, &reason)
}

fn record(record_id: Option<Text>) -> Result<String> {
    let given = record_id.ok_or_else(|| {
        super::null(
            "record_id",
            "It is the record_id that ward.audit_trail shows.",
        )
    })?;
    Ok(record_id_text(&text(given)?).into_owned())
}

fn reason(reason: Option<Text>) -> Result<String> {
    let hint = "It stays in the log: name the request, not the person.";
    let reason = text(reason.ok_or_else(|| super::null("reason", hint))?)?;
    if reason.is_empty() || reason.len() > usize::from(MAX_TEXT_LEN) {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("reason must have between 1 and {MAX_TEXT_LEN} bytes"),
            hint,
        ));
    }
    Ok(reason)
}

fn text(given: Text) -> Result<String> {
    String::from_utf8(given.utf8()?.into_owned()).map_err(|_| {
        error::report(
            PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
            "a text is not valid in the database's encoding",
        )
    })
}

/// Writes an erase leaf for each name that the table had, and counts the images that are sealed.
fn order(tables: &BTreeSet<Named>, record_id: &str, reason: &str) -> Result<i64> {
    if tables.is_empty() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            "the audit trail has no entries of this table",
            "For a table that had another name, give schema and name as ward.audit_trail shows them.",
        ));
    }
    let (now, images) = owner::run(|| -> Result<_> {
        let mut targets = Targets::default();
        for table in tables {
            targets.add(Target {
                entry: u64::MAX,
                table: table.clone(),
                record_id: record_id.to_owned(),
                end: u64::MAX,
            });
        }
        Ok((super::policy::now(), super::count::count(&targets)))
    })?;
    for (relation_oid, schema, table) in tables {
        capture::order(now, |frame, out| {
            EraseLeaf {
                frame,
                relation_oid: *relation_oid,
                schema,
                table,
                record_id,
                reason,
            }
            .encode(out);
        })?;
    }
    Ok(images as i64)
}

/// The tables that shapes of the log describe.
fn described(wanted: impl Fn(&Shape) -> bool) -> BTreeSet<Named> {
    let mut found = BTreeSet::new();
    query::read(c"SELECT content FROM ward.audit_shape", &[], |row| {
        if let Ok(shape) = Shape::parse_content(&row.bytes(1))
            && wanted(&shape)
        {
            found.insert((shape.relation_oid, shape.schema, shape.table));
        }
    });
    found
}

/// Schema and name of a table.
fn names(table: pg_sys::Oid) -> Result<(String, String)> {
    let mut found = None;
    query::read(
        c"SELECT convert_to(n.nspname::text, 'UTF8'), convert_to(c.relname::text, 'UTF8') \
          FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1::oid",
        &[query::Arg::Int8(i64::from(table.to_u32()))],
        |row| {
            let name = |column| String::from_utf8_lossy(&row.bytes(column)).into_owned();
            found = Some((name(1), name(2)));
        },
    );
    found.ok_or_else(|| {
        error::report_hint(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("there is no table with oid {}", table.to_u32()),
            "For a dropped table, give schema and name as ward.audit_trail shows them.",
        )
    })
}

fn is_audited(table: pg_sys::Oid) -> bool {
    let mut found = false;
    query::read(
        c"SELECT 1::bigint FROM ward.audit_trigger WHERE relation = $1::oid",
        &[query::Arg::Int8(i64::from(table.to_u32()))],
        |_| found = true,
    );
    found
}
