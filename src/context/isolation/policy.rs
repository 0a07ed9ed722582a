//! The policies of an isolated table.
//!
//! `ward_tenant_isolation`, `ward_user_isolation` and `ward_parent_isolation` are restrictive: every
//! row a command sees or writes must pass each of them, whatever other policies the table has or
//! gets. A table without any permissive policy shows no rows at all, so one that has none gets
//! `ward_access`, with the condition of one of them; PostgreSQL evaluates equal conditions once.

use super::default;
use super::kind::Kind;
use super::record::Record;
use super::rule::Rule;
use super::table::Table;
use super::{run, spi};
use crate::error::{self, Result};
use pgrx::prelude::*;
use pgrx::spi::quote_literal;

const ACCESS: &str = "ward_access";

/// An isolation policy that is there.
pub struct Found {
    /// Its kind.
    pub kind: Kind,
    /// The columns of the table it refers to.
    pub columns: Vec<i16>,
    /// The other tables it refers to.
    pub parents: Vec<pg_sys::Oid>,
    /// What its comment records. None when somebody changed the comment.
    pub record: Option<Record>,
}

impl Found {
    /// The quoted names of its columns.
    pub fn column_names(&self, table: &Table) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for number in &self.columns {
            names.extend(table.column_number(*number)?.map(|column| column.name));
        }
        Ok(names)
    }
}

/// How far a table is isolated already.
pub struct State {
    /// Its isolation policies.
    pub found: Vec<Found>,
    has_access: bool,
    needs_access: bool,
}

impl State {
    /// Reads the state of a table.
    pub fn of(table: &Table) -> Result<Self> {
        let mut state = State {
            found: Vec::new(),
            has_access: false,
            needs_access: true,
        };
        Spi::connect_mut(|client| {
            let rows = client.update(
                "SELECT p.polname::text, p.polpermissive,
                        pg_catalog.obj_description(p.oid, 'pg_policy'),
                        ARRAY(SELECT DISTINCT d.refobjsubid::smallint FROM pg_catalog.pg_depend d
                              WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
                                AND d.objid = p.oid AND d.refobjid = $1 AND d.refobjsubid > 0
                                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass),
                        ARRAY(SELECT DISTINCT d.refobjid FROM pg_catalog.pg_depend d
                              WHERE d.classid = 'pg_catalog.pg_policy'::pg_catalog.regclass
                                AND d.objid = p.oid AND d.refobjid <> $1
                                AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass)
                 FROM pg_catalog.pg_policy p WHERE p.polrelid = $1",
                None,
                &[table.oid.into()],
            )?;
            for row in rows {
                let name: String = row.get(1)?.unwrap_or_default();
                let permissive = row.get(2)?.unwrap_or(false);
                match Kind::of_policy(&name) {
                    Some(kind) => state.found.push(Found {
                        kind,
                        columns: row.get(4)?.unwrap_or_default(),
                        parents: row.get(5)?.unwrap_or_default(),
                        record: row
                            .get::<String>(3)?
                            .and_then(|comment| Record::parse(kind, &comment)),
                    }),
                    None if name == ACCESS => state.has_access = true,
                    None if permissive => state.needs_access = false,
                    None => {}
                }
            }
            Ok(())
        })
        .map_err(spi)?;
        state.needs_access |= state.has_access;
        state
            .found
            .sort_by_key(|found| Kind::ALL.iter().position(|kind| *kind == found.kind));
        Ok(state)
    }

    /// Whether the table is isolated in any way.
    pub fn isolated(&self) -> bool {
        !self.found.is_empty()
    }

    /// The isolation of this kind.
    pub fn of_kind(&self, kind: Kind) -> Option<&Found> {
        self.found.iter().find(|found| found.kind == kind)
    }

    /// Changing the column is for the owner to do in two steps, knowingly.
    pub fn refuse_other_columns(&self, table: &Table, rule: &Rule) -> Result<()> {
        let Some(found) = self.of_kind(rule.kind) else {
            return Ok(());
        };
        let numbers = rule.numbers();
        if found.columns.iter().all(|number| numbers.contains(number)) {
            return Ok(());
        }
        Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("table {} is isolated by another column", table.name),
            "Call ward.disable_isolation() first.",
        ))
    }

    /// What the table had before its first isolation.
    pub fn before(&self, table: &Table) -> Result<Record> {
        let mut before = Record {
            enabled: table.security_enabled,
            forced: table.security_forced,
            default_added: false,
        };
        for found in &self.found {
            before = found
                .record
                .ok_or_else(|| unrecorded(table, found.kind.policy(), found.kind))?;
        }
        Ok(before)
    }
}

fn unrecorded(table: &Table, policy: &str, kind: Kind) -> pgrx::pg_sys::panic::ErrorReport {
    let assumed = Record {
        enabled: false,
        forced: false,
        default_added: false,
    };
    error::report_hint(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!(
            "the comment of policy {policy} on table {} no longer tells what the table had before",
            table.name
        ),
        format!(
            "If row level security was off, first run: COMMENT ON POLICY {policy} ON {} IS {};",
            table.name,
            quote_literal(assumed.comment(kind))
        ),
    )
}

/// Creates the policies, or creates them anew, so that calling it again repairs what was changed.
pub fn create(table: &Table, rule: &Rule, state: &State, default_added: bool) -> Result<()> {
    let record = Record {
        default_added,
        ..state.before(table)?
    };
    let (name, policy) = (&table.name, rule.kind.policy());
    let condition = rule.condition(table)?;
    let mut statements = Vec::new();
    if state.of_kind(rule.kind).is_some() {
        statements.push(format!("DROP POLICY {policy} ON {name}"));
    }
    if state.has_access {
        statements.push(format!("DROP POLICY {ACCESS} ON {name}"));
    }
    if state.needs_access {
        let condition = access_condition(table, rule, state)?;
        statements.push(format!(
            "CREATE POLICY {ACCESS} ON {name} AS PERMISSIVE FOR ALL TO PUBLIC \
             USING ({condition}) WITH CHECK ({condition})"
        ));
    }
    statements.extend([
        format!(
            "CREATE POLICY {policy} ON {name} AS RESTRICTIVE FOR ALL TO PUBLIC \
             USING ({condition}) WITH CHECK ({condition})"
        ),
        format!(
            "COMMENT ON POLICY {policy} ON {name} IS {}",
            quote_literal(record.comment(rule.kind))
        ),
        format!("ALTER TABLE ONLY {name} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"),
    ]);
    run(&statements)
}

/// The condition of the first of the table's kinds, so that the order of the calls does not matter.
fn access_condition(table: &Table, rule: &Rule, state: &State) -> Result<String> {
    for kind in Kind::ALL {
        if kind == rule.kind {
            break;
        }
        if let Some(found) = state.of_kind(kind) {
            return Rule::existing(table, found)?.condition(table);
        }
    }
    rule.condition(table)
}

/// Removes the policies and restores what the table had before.
pub fn remove(table: &Table, state: &State) -> Result<()> {
    let before = state.before(table)?;
    for found in &state.found {
        if found.record.is_some_and(|record| record.default_added) {
            for column in found.column_names(table)? {
                default::remove(table, found.kind, &column)?;
            }
        }
    }
    let enable = if before.enabled { "ENABLE" } else { "DISABLE" };
    let force = if before.forced { "FORCE" } else { "NO FORCE" };
    let name = &table.name;
    let mut statements: Vec<String> = state
        .found
        .iter()
        .map(|found| format!("DROP POLICY {} ON {name}", found.kind.policy()))
        .collect();
    if state.has_access {
        statements.push(format!("DROP POLICY {ACCESS} ON {name}"));
    }
    statements.push(format!(
        "ALTER TABLE ONLY {name} {enable} ROW LEVEL SECURITY, {force} ROW LEVEL SECURITY"
    ));
    run(&statements)
}
