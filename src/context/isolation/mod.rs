//! Tenant isolation of tables: row level security that compares a column with the context.
//!
//! Both functions run with the caller's rights, so PostgreSQL's own rule holds that only a
//! table's owner may change its policies. What a table had before is written in the comment of
//! the policy, which is dumped and dropped with it and which only the owner can change.

mod policy;
mod table;

use crate::error::{self, Result};
use crate::pg::context::lock_exclusively;
use crate::pg::encoding;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::ffi::CStr;
use table::Table;

// The declarations are spelled out because Rust has no type for regclass and name arguments.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."enable_tenant_isolation"("tab" regclass, "tenant_column" name DEFAULT 'tenant_id')
RETURNS void VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn enable_tenant_isolation(tab: Option<pg_sys::Oid>, tenant_column: Option<&CStr>) -> Result<()> {
    let column = column_name(tenant_column)?;
    let root = owned(tab)?;
    root.refuse_unless_isolatable()?;
    lock_exclusively(root.oid);
    // Every table is checked before the first is changed, and read again once it is locked.
    let mut family = Vec::new();
    for oid in table::family(root.oid)? {
        owned(Some(oid))?.refuse_unless_isolatable()?;
        lock_exclusively(oid);
        let table = owned(Some(oid))?;
        let column = table.tenant_column(&column)?;
        let state = policy::State::of(&table)?;
        state.refuse_other_column(&table, &column)?;
        family.push((table, column, state));
    }
    for (table, column, state) in &family {
        policy::create(table, column, state)?;
        let covered_by_parent = table.is_partition && table.oid != root.oid;
        if !covered_by_parent {
            table.advise_index(column)?;
        }
    }
    Ok(())
}

#[pg_extern(sql = r#"
CREATE FUNCTION ward."disable_isolation"("tab" regclass)
RETURNS void VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn disable_isolation(tab: Option<pg_sys::Oid>) -> Result<()> {
    let root = owned(tab)?;
    lock_exclusively(root.oid);
    let mut isolated = Vec::new();
    for oid in table::family(root.oid)? {
        owned(Some(oid))?;
        lock_exclusively(oid);
        let table = owned(Some(oid))?;
        let state = policy::State::of(&table)?;
        if state.isolated() {
            isolated.push((table, state));
        }
    }
    if isolated.is_empty() {
        notice!("table {} is not isolated", root.name);
    }
    for (table, state) in &isolated {
        policy::remove(table, state)?;
    }
    Ok(())
}

fn owned(tab: Option<pg_sys::Oid>) -> Result<Table> {
    let Some(oid) = tab else {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "the table must not be NULL",
        ));
    };
    let table = Table::find(oid)?;
    if !table.owned {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!("must be owner of {}", table.name),
        ));
    }
    Ok(table)
}

fn column_name(column: Option<&CStr>) -> Result<String> {
    match column.map(encoding::to_utf8) {
        Some(name) if !name.is_empty() => Ok(name),
        _ => Err(error::report(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "the tenant column must be named",
        )),
    }
}

/// A failure of the server's own query interface, which has no better report.
fn spi(failure: pgrx::spi::SpiError) -> ErrorReport {
    error::report(
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        format!("tenant isolation could not query the catalog: {failure}"),
    )
}
