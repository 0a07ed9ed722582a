//! Isolation of tables: row level security that compares a column with the context.
//!
//! The functions run with the caller's rights, so PostgreSQL's own rule holds that only a table's
//! owner may change its policies. What a table had before is written in the comment of its policy:
//! see [`record`].

mod default;
mod foreign_key;
pub(crate) mod index;
mod kind;
mod policy;
mod record;
mod rule;
mod table;
mod trial;
mod warn;

use crate::error::{self, Result};
use crate::pg::context::lock_exclusively;
use crate::pg::encoding;
use index::Creation;
use kind::Kind;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use policy::State;
use rule::Rule;
use std::ffi::CStr;
use table::Table;

pgrx::extension_sql_file!(
    "../../../sql/isolation.sql",
    name = "ward_isolation",
    requires = [
        enable_tenant_isolation,
        enable_user_isolation,
        enable_parent_isolation,
        disable_isolation,
        trial::test_isolation,
        accessors::get_user_context,
        accessors::get_current_user_number
    ]
);
pgrx::extension_sql_file!(
    "../../../sql/isolation_keys.sql",
    name = "ward_isolation_keys",
    requires = ["ward_isolation"]
);
pgrx::extension_sql_file!(
    "../../../sql/isolation_status.sql",
    name = "ward_isolation_status",
    requires = ["ward_isolation"]
);

// The declarations are spelled out because Rust has no type for regclass and name arguments.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."enable_tenant_isolation"("tab" regclass, "tenant_column" name DEFAULT 'tenant_id', "create_index" text DEFAULT 'auto')
RETURNS void VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn enable_tenant_isolation(
    tab: Option<pg_sys::Oid>,
    tenant_column: Option<&CStr>,
    create_index: Option<&str>,
) -> Result<()> {
    enable(Kind::Tenant, tab, tenant_column, create_index)
}

#[pg_extern(sql = r#"
CREATE FUNCTION ward."enable_user_isolation"("tab" regclass, "user_column" name DEFAULT 'user_id', "create_index" text DEFAULT 'auto')
RETURNS void VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn enable_user_isolation(
    tab: Option<pg_sys::Oid>,
    user_column: Option<&CStr>,
    create_index: Option<&str>,
) -> Result<()> {
    enable(Kind::User, tab, user_column, create_index)
}

#[pg_extern(sql = r#"
CREATE FUNCTION ward."enable_parent_isolation"("tab" regclass, "fk_column" name, "create_index" text DEFAULT 'auto')
RETURNS void VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn enable_parent_isolation(
    tab: Option<pg_sys::Oid>,
    fk_column: Option<&CStr>,
    create_index: Option<&str>,
) -> Result<()> {
    enable(Kind::Parent, tab, fk_column, create_index)
}

/// One table of a family, about to be isolated.
struct Step {
    table: Table,
    rule: Rule,
    state: State,
}

fn enable(
    kind: Kind,
    tab: Option<pg_sys::Oid>,
    column: Option<&CStr>,
    create_index: Option<&str>,
) -> Result<()> {
    let creation = Creation::parse(create_index)?;
    let column = column_name(kind, column)?;
    let root = owned(tab)?;
    root.refuse_unless_isolatable()?;
    lock_exclusively(root.oid);
    // Every table is checked before the first is changed, and read again once it is locked.
    let mut steps: Vec<Step> = Vec::new();
    for oid in table::family(root.oid)? {
        owned(Some(oid))?.refuse_unless_isolatable()?;
        lock_exclusively(oid);
        let table = owned(Some(oid))?;
        let rule = match steps.first() {
            None => Rule::new(kind, &table, &column)?,
            Some(first) => first.rule.inherited(&table, &column)?,
        };
        let state = State::of(&table)?;
        state.refuse_other_columns(&table, &rule)?;
        state.before(&table)?;
        rule.condition(&table)?;
        steps.push(Step { table, rule, state });
    }
    let mut inherited = false;
    for step in &steps {
        let recorded = step.state.of_kind(kind).and_then(|found| found.record);
        let recorded = recorded.is_some_and(|record| record.default_added);
        let added = default::add(&step.table, &step.rule, recorded, inherited)?;
        inherited |= added && step.table.oid == root.oid;
        policy::create(&step.table, &step.rule, &step.state, added)?;
    }
    for step in &steps {
        // An index of a partitioned table covers its partitions.
        let covered_by_parent = step.table.is_partition && step.table.oid != root.oid;
        if !covered_by_parent {
            creation.ensure(&step.table, &step.rule)?;
        }
    }
    warn::keys(&root)
}

#[pg_extern(sql = r#"
CREATE FUNCTION ward."disable_isolation"("tab" regclass, "drop_index" bool DEFAULT true)
RETURNS void VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn disable_isolation(tab: Option<pg_sys::Oid>, drop_index: Option<bool>) -> Result<()> {
    let Some(drop_index) = drop_index else {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "drop_index must not be NULL",
        ));
    };
    let root = owned(tab)?;
    lock_exclusively(root.oid);
    let mut family = Vec::new();
    for oid in table::family(root.oid)? {
        owned(Some(oid))?;
        lock_exclusively(oid);
        let table = owned(Some(oid))?;
        let state = State::of(&table)?;
        state.before(&table)?;
        family.push((table, state));
    }
    if family.iter().all(|(_, state)| !state.isolated()) {
        notice!("table {} is not isolated", root.name);
        return Ok(());
    }
    // A partition that was created later has copies of its parent's defaults, but no record.
    let mut defaults: Vec<(Kind, String)> = Vec::new();
    for (table, state) in family.first().iter() {
        for found in &state.found {
            if found.record.is_some_and(|record| record.default_added) {
                let columns = found.column_names(table)?;
                defaults.extend(columns.into_iter().map(|column| (found.kind, column)));
            }
        }
    }
    for (table, state) in &family {
        if state.isolated() {
            policy::remove(table, state)?;
        } else {
            for (kind, column) in &defaults {
                default::remove(table, *kind, column)?;
            }
        }
        if drop_index {
            index::drop_created(table)?;
        }
    }
    warn::disabled(&root)
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

fn column_name(kind: Kind, column: Option<&CStr>) -> Result<String> {
    match column.map(encoding::to_utf8) {
        Some(name) if !name.is_empty() => Ok(name),
        _ => Err(error::report(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            match kind {
                Kind::Parent => "the foreign key column must be named".to_owned(),
                _ => format!("the {} column must be named", kind.noun()),
            },
        )),
    }
}

/// Runs statements that change the table.
fn run(statements: &[String]) -> Result<()> {
    let statements = statements
        .iter()
        .map(|statement| encoding::from_utf8(statement).ok_or_else(unnameable))
        .collect::<Result<Vec<_>>>()?;
    Spi::connect_mut(|client| {
        for statement in &statements {
            client.update(statement, None, &[])?;
        }
        Ok(())
    })
    .map_err(spi)
}

fn unnameable() -> ErrorReport {
    error::report(
        PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER,
        "a name has a character that the database's encoding does not have",
    )
}

/// A name that a query gave as UTF-8.
fn utf8(name: Option<Vec<u8>>) -> String {
    String::from_utf8_lossy(&name.unwrap_or_default()).into_owned()
}

/// A failure of the server's own query interface, which has no better report.
fn spi(failure: pgrx::spi::SpiError) -> ErrorReport {
    error::report(
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        format!("isolation could not query the catalog: {failure}"),
    )
}
