//! The policies of an isolated table.
//!
//! `ward_tenant_isolation` is restrictive: every row a command sees or writes must pass it,
//! whatever other policies the table has or gets. A table without any permissive policy shows no
//! rows at all, so one that has none gets `ward_tenant_access`, with the same condition;
//! PostgreSQL evaluates the equal conditions once.

use super::spi;
use super::table::{Table, TenantColumn};
use crate::error::{self, Result};
use crate::pg::encoding;
use pgrx::prelude::*;
use pgrx::spi::quote_literal;

const ISOLATION: &str = "ward_tenant_isolation";
const ACCESS: &str = "ward_tenant_access";

/// Whether row level security was in force before, as the policy's comment records it.
#[derive(Clone, Copy)]
struct Before {
    enabled: bool,
    forced: bool,
}

impl Before {
    fn comment(self) -> String {
        format!(
            "Tenant isolation by pg_ward. Row level security before: {}, {}.",
            if self.enabled { "enabled" } else { "disabled" },
            if self.forced { "forced" } else { "not forced" }
        )
    }

    fn parse(comment: &str) -> Option<Self> {
        [false, true]
            .into_iter()
            .flat_map(|enabled| [false, true].map(|forced| Before { enabled, forced }))
            .find(|before| before.comment() == comment)
    }
}

/// How far a table is isolated already.
pub struct State {
    comment: Option<String>,
    columns: Vec<i16>,
    isolated: bool,
    has_access: bool,
    needs_access: bool,
}

impl State {
    /// Reads the state of a locked table.
    pub fn of(table: &Table) -> Result<Self> {
        Spi::connect_mut(|client| {
            let row = client
                .update(
                    "SELECT p.oid IS NOT NULL,
                            pg_catalog.obj_description(p.oid, 'pg_policy'),
                            EXISTS (SELECT FROM pg_catalog.pg_policy a
                                    WHERE a.polrelid = $1 AND a.polname = $3),
                            EXISTS (SELECT FROM pg_catalog.pg_policy o
                                    WHERE o.polrelid = $1 AND o.polpermissive
                                      AND o.polname NOT IN ($2, $3)),
                            ARRAY(SELECT DISTINCT d.refobjsubid::smallint FROM pg_catalog.pg_depend d
                                  WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
                                    AND d.objid = p.oid AND d.refobjid = $1 AND d.refobjsubid > 0)
                     FROM (SELECT) one LEFT JOIN pg_catalog.pg_policy p
                          ON p.polrelid = $1 AND p.polname = $2",
                    None,
                    &[table.oid.into(), ISOLATION.into(), ACCESS.into()],
                )?
                .first();
            let has_access = row.get(3)?.unwrap_or(false);
            let others = row.get(4)?.unwrap_or(false);
            Ok(State {
                comment: row.get(2)?,
                columns: row.get(5)?.unwrap_or_default(),
                isolated: row.get(1)?.unwrap_or(false),
                has_access,
                needs_access: has_access || !others,
            })
        })
        .map_err(spi)
    }

    /// Whether the isolation policy is there.
    pub fn isolated(&self) -> bool {
        self.isolated
    }

    /// Changing the column is for the owner to do in two steps, knowingly.
    pub fn refuse_other_column(&self, table: &Table, column: &TenantColumn) -> Result<()> {
        if self.columns.iter().all(|number| *number == column.number) {
            return Ok(());
        }
        Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("table {} is isolated by another column", table.name),
            "Call ward.disable_isolation() first.",
        ))
    }

    fn before(&self, table: &Table) -> Result<Before> {
        if !self.isolated {
            return Ok(Before {
                enabled: table.security_enabled,
                forced: table.security_forced,
            });
        }
        self.comment
            .as_deref()
            .and_then(Before::parse)
            .ok_or_else(|| {
                error::report_hint(
                    PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                    format!(
                        "the comment of policy {ISOLATION} on table {} no longer tells what the table had before",
                        table.name
                    ),
                    format!(
                        "If row level security was off, first run: COMMENT ON POLICY {ISOLATION} ON {} IS {};",
                        table.name,
                        quote_literal(Before { enabled: false, forced: false }.comment())
                    ),
                )
            })
    }
}

/// Creates the policies, or creates them anew, so that calling it again repairs what was changed.
pub fn create(table: &Table, column: &TenantColumn, state: &State) -> Result<()> {
    let comment = quote_literal(state.before(table)?.comment());
    let name = &table.name;
    let condition = format!("{} = {}", column.name, column.accessor);
    let mut statements = drop_policies(name, state);
    if state.needs_access {
        statements.push(format!(
            "CREATE POLICY {ACCESS} ON {name} AS PERMISSIVE FOR ALL TO PUBLIC \
             USING ({condition}) WITH CHECK ({condition})"
        ));
    }
    statements.extend([
        format!(
            "CREATE POLICY {ISOLATION} ON {name} AS RESTRICTIVE FOR ALL TO PUBLIC \
             USING ({condition}) WITH CHECK ({condition})"
        ),
        format!("COMMENT ON POLICY {ISOLATION} ON {name} IS {comment}"),
        format!("ALTER TABLE ONLY {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"),
    ]);
    run(&statements)
}

/// Removes the policies and restores what the table had before.
pub fn remove(table: &Table, state: &State) -> Result<()> {
    let before = state.before(table)?;
    let enable = if before.enabled { "ENABLE" } else { "DISABLE" };
    let force = if before.forced { "FORCE" } else { "NO FORCE" };
    let mut statements = drop_policies(&table.name, state);
    statements.push(format!(
        "ALTER TABLE ONLY {} {enable} ROW LEVEL SECURITY, {force} ROW LEVEL SECURITY",
        table.name
    ));
    run(&statements)
}

fn drop_policies(table: &str, state: &State) -> Vec<String> {
    [(ACCESS, state.has_access), (ISOLATION, state.isolated)]
        .into_iter()
        .filter(|(_, exists)| *exists)
        .map(|(policy, _)| format!("DROP POLICY {policy} ON {table}"))
        .collect()
}

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

fn unnameable() -> pgrx::pg_sys::panic::ErrorReport {
    error::report(
        PgSqlErrorCode::ERRCODE_UNTRANSLATABLE_CHARACTER,
        "a name has a character that the database's encoding does not have",
    )
}
