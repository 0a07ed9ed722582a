//! Enabling and disabling the audit of a table.

use super::store;
use crate::error::{self, Result};
use crate::keys::{self, Purpose};
use crate::pg::catalog;
use pgrx::prelude::*;
use std::ffi::CStr;

/// Names of the triggers. They sort after a table's own triggers of usual names, so that a change
/// one of those makes to another audited table is recorded in the order it was made.
const ROW_TRIGGER: &str = "ward_audit";
const TRUNCATE_TRIGGER: &str = "ward_audit_truncate";

/// Audits every change of a table from now on. Calling it again changes the hidden columns.
// Declarations are spelled out because Rust has no type for regclass and name.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."enable_audit"("tab" regclass, "exclude" name[] DEFAULT '{}', "redact" name[] DEFAULT '{}')
RETURNS void VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn enable_audit(
    tab: Option<pg_sys::Oid>,
    exclude: Option<Array<&CStr>>,
    redact: Option<Array<&CStr>>,
) -> Result<()> {
    let (exclude, redact) = (names(exclude)?, names(redact)?);
    let table = target(tab)?;
    check_columns(&table, &exclude)?;
    check_columns(&table, &redact)?;
    if let Some(both) = exclude.iter().find(|name| redact.contains(name)) {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("column \"{both}\" is both excluded and redacted"),
        ));
    }
    keys::ensure_internal_key(Purpose::Audit)?;
    keys::ensure_internal_key(Purpose::CheckpointSigning)?;
    ensure_log()?;
    drop_triggers(&table)?;
    let lists = [&exclude, &redact]
        .map(|list| spi_quote_literal(&serde_json::Value::from(list.as_slice()).to_string()));
    let name = &table.quoted;
    Spi::run(&format!(
        "CREATE TRIGGER {ROW_TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON {name} FOR EACH ROW \
         EXECUTE FUNCTION ward.audit_capture({}, {})",
        lists[0], lists[1]
    ))
    .map_err(error::spi)?;
    Spi::run(&format!(
        "ALTER TABLE {name} ENABLE ALWAYS TRIGGER {ROW_TRIGGER}"
    ))
    .map_err(error::spi)?;
    for member in catalog::with_partitions(table.oid) {
        let name = catalog::qualified_name(member);
        Spi::run(&format!(
            "CREATE TRIGGER {TRUNCATE_TRIGGER} AFTER TRUNCATE ON {name} FOR EACH STATEMENT \
             EXECUTE FUNCTION ward.audit_capture({}, {})",
            lists[0], lists[1]
        ))
        .map_err(error::spi)?;
        Spi::run(&format!(
            "ALTER TABLE ONLY {name} ENABLE ALWAYS TRIGGER {TRUNCATE_TRIGGER}"
        ))
        .map_err(error::spi)?;
    }
    Spi::run_with_args(
        "INSERT INTO ward.audit_table (relation, exclude, redact) VALUES ($1, $2::text[]::name[], $3::text[]::name[]) \
         ON CONFLICT (relation) DO UPDATE SET exclude = excluded.exclude, redact = excluded.redact",
        &[table.oid.into(), exclude.into(), redact.into()],
    )
    .map_err(error::spi)
}

/// Stops auditing a table. What was recorded stays.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."disable_audit"("tab" regclass)
RETURNS void VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn disable_audit(tab: Option<pg_sys::Oid>) -> Result<()> {
    let table = target(tab)?;
    let known: Option<i64> = Spi::get_one_with_args(
        "WITH gone AS (DELETE FROM ward.audit_table WHERE relation = $1 RETURNING 1) SELECT count(*) FROM gone",
        &[table.oid.into()],
    )
    .map_err(error::spi)?;
    if known == Some(0) {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("table {} is not audited", table.quoted),
            "SELECT * FROM ward.audited_tables lists those that are.",
        ));
    }
    drop_triggers(&table)
}

/// Column names; NULL names no column.
fn names(list: Option<Array<&CStr>>) -> Result<Vec<String>> {
    list.iter()
        .flat_map(Array::iter)
        .map(|name| match name {
            Some(name) => Ok(name.to_string_lossy().into_owned()),
            None => Err(error::report(
                PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
                "the list of columns contains a NULL",
            )),
        })
        .collect()
}

struct Target {
    oid: pg_sys::Oid,
    quoted: String,
}

/// The table to audit, if it is one that can be.
fn target(tab: Option<pg_sys::Oid>) -> Result<Target> {
    let Some(oid) = tab else {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "the table is NULL",
            "Name a table, for example 'public.orders'.",
        ));
    };
    let Some(kind) = catalog::kind(oid) else {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("there is no table with oid {}", oid.to_u32()),
        ));
    };
    let quoted = catalog::qualified_name(oid);
    let refuse = |what: &str| {
        error::report_hint(
            PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            format!("{quoted} cannot be audited: it is {what}"),
            "Audit ordinary and partitioned tables.",
        )
    };
    if kind.of_ward {
        return Err(refuse("a table of pg_ward itself"));
    }
    if kind.system {
        return Err(refuse("a system catalog"));
    }
    if kind.temporary {
        return Err(refuse("a temporary table"));
    }
    match kind.letter {
        b'r' | b'p' => Ok(Target { oid, quoted }),
        b'v' => Err(refuse("a view")),
        b'm' => Err(refuse("a materialized view")),
        b'f' => Err(refuse("a foreign table")),
        _ => Err(refuse("not a table")),
    }
}

fn check_columns(table: &Target, names: &[String]) -> Result<()> {
    match names
        .iter()
        .find(|name| !catalog::has_column(table.oid, name))
    {
        None => Ok(()),
        Some(name) => Err(error::report(
            PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            format!("table {} has no column \"{name}\"", table.quoted),
        )),
    }
}

fn drop_triggers(table: &Target) -> Result<()> {
    for member in catalog::with_partitions(table.oid) {
        for trigger in [ROW_TRIGGER, TRUNCATE_TRIGGER] {
            // The partitions' row triggers go with the one of the table they belong to.
            let inherited = member != table.oid && trigger == ROW_TRIGGER;
            if !inherited && catalog::has_trigger(member, trigger) {
                let name = catalog::qualified_name(member);
                Spi::run(&format!("DROP TRIGGER {trigger} ON {name}")).map_err(error::spi)?;
            }
        }
    }
    Ok(())
}

/// Gives the log its identity when it has none.
fn ensure_log() -> Result<()> {
    match store::identity() {
        Some(_) => Ok(()),
        None => store::put_incarnation(&store::Identity::new_here()?, None),
    }
}

fn spi_quote_literal(text: &str) -> String {
    pgrx::spi::quote_literal(text)
}
