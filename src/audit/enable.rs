//! Enabling and disabling the audit of a table.

use super::{event, store};
use crate::error::{self, Result};
use crate::keys::{self, Purpose};
use crate::pg::{catalog, encoding, relation};
use pgrx::prelude::*;
use std::ffi::{CStr, CString};

mod baseline;
mod ddl;
mod hidden;
mod owners;
mod registry;
mod triggers;

use hidden::Lists;
use ward_log::Severity;

pub use ddl::{follow, owners_have_changed, owners_may_change};

/// Audits every change of a table from now on, and records the rows it has if asked to. Calling it
/// again changes the hidden columns.
// Declarations are spelled out because Rust has no type for regclass and name.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."enable_audit"("tab" regclass, "exclude" name[] DEFAULT '{}', "redact" name[] DEFAULT '{}',
    "snapshot" boolean DEFAULT false)
RETURNS void VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn enable_audit(
    tab: Option<pg_sys::Oid>,
    exclude: Option<Array<&CStr>>,
    redact: Option<Array<&CStr>>,
    snapshot: Option<bool>,
) -> Result<()> {
    let (exclude, redact) = (names(exclude)?, names(redact)?);
    let table = target(tab)?;
    check_columns(&table, &exclude)?;
    check_columns(&table, &redact)?;
    if let Some(both) = exclude.iter().find(|name| redact.contains(name)) {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!(
                "column \"{}\" is both excluded and redacted",
                catalog::shown(both)
            ),
        ));
    }
    triggers::lock(table.oid)?;
    not_below_another(&table)?;
    prepare()?;
    if !store::identity().is_some_and(|identity| identity.is_here()) {
        registry::found_again()?;
    }
    let children = registry::children(table.oid)?;
    triggers::drop(table.oid)?;
    let lists = Lists {
        exclude: utf8(&exclude),
        redact: utf8(&redact),
        gone: Vec::new(),
    };
    triggers::create(table.oid, &lists)?;
    registry::remember(table.oid)?;
    // NULL is not asking for it.
    let snapshot = snapshot == Some(true);
    entry(
        "audit_enabled",
        Severity::Info,
        &table,
        &children,
        Some((&lists, snapshot)),
    )?;
    if snapshot {
        baseline::record(table.oid)?;
    }
    Ok(())
}

/// Stops auditing a table. What was recorded stays.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."disable_audit"("tab" regclass)
RETURNS void VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn disable_audit(tab: Option<pg_sys::Oid>) -> Result<()> {
    let table = target(tab)?;
    triggers::lock(table.oid)?;
    not_below_another(&table)?;
    if !triggers::audited(table.oid)? {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            format!("table {} is not audited", table.quoted),
            "SELECT * FROM ward.audited_tables lists those that are.",
        ));
    }
    let children = registry::children(table.oid)?;
    triggers::drop(table.oid)?;
    registry::forget(table.oid)?;
    entry("audit_disabled", Severity::Medium, &table, &children, None)
}

/// Records that the audit of a table began or ended, and how.
fn entry(
    event_type: &str,
    severity: Severity,
    table: &Target,
    children: &serde_json::Value,
    how: Option<(&Lists, bool)>,
) -> Result<()> {
    let (schema, name) = relation::name(table.oid);
    let mut details = serde_json::json!({ "schema": schema, "table": name });
    if !children.as_array().is_some_and(Vec::is_empty) {
        details["children"] = children.clone();
    }
    if let Some((lists, snapshot)) = how {
        details["exclude"] = listed(&lists.exclude);
        details["redact"] = listed(&lists.redact);
        details["snapshot"] = snapshot.into();
    }
    event::record(event_type, severity, &details.to_string())
}

/// A list of columns, or how many there are when an entry could not hold them all. The entry of the
/// table's shape says it of every column.
fn listed(names: &[String]) -> serde_json::Value {
    if names.len() <= 50 {
        names.into()
    } else {
        names.len().into()
    }
}

/// Refuses a table that is audited as part of another: the triggers of a whole are made together.
fn not_below_another(table: &Target) -> Result<()> {
    match triggers::audited_ancestor(table.oid)? {
        None => Ok(()),
        Some(root) => {
            let root = catalog::shown(&root);
            Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("table {} is audited as part of {root}", table.quoted),
                format!("Enable or disable the audit of {root}, or detach the table first."),
            ))
        }
    }
}

/// Column names; NULL names no column.
fn names(list: Option<Array<&CStr>>) -> Result<Vec<CString>> {
    list.iter()
        .flat_map(Array::iter)
        .map(|name| match name {
            Some(name) => Ok(name.to_owned()),
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
    let quoted = catalog::shown(&catalog::qualified_name(oid));
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

fn check_columns(table: &Target, names: &[CString]) -> Result<()> {
    match names
        .iter()
        .find(|name| !catalog::has_column(table.oid, name))
    {
        None => Ok(()),
        Some(name) => Err(error::report(
            PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN,
            format!(
                "table {} has no column \"{}\"",
                table.quoted,
                catalog::shown(name)
            ),
        )),
    }
}

fn utf8(names: &[CString]) -> Vec<String> {
    names.iter().map(|name| encoding::to_utf8(name)).collect()
}

/// Makes what the log needs and does not have yet: its keys and its identity. Runs as the caller's
/// role, which must be allowed to write the tables.
pub fn prepare() -> Result<()> {
    keys::ensure_internal_key(Purpose::Audit)?;
    keys::ensure_internal_key(Purpose::CheckpointSigning)?;
    match store::identity() {
        Some(_) => Ok(()),
        None => store::put_incarnation(&store::Identity::new_here()?, None),
    }
}
