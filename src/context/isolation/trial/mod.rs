//! `test_isolation`: isolation is tried, not inferred.
//!
//! Everything happens in a subtransaction that is rolled back: the context of each side, the role,
//! and what the attempts change. Sequences that are advanced stay advanced.

mod attempt;
mod subject;
mod target;
mod verdict;

use super::policy::State;
use super::rule::Rule;
use super::table::Table;
use super::{owned, spi, utf8};
use crate::context::state::Unlatched;
use crate::error::{self, Result};
use crate::pg::context::trial::{self, Failure, Sample};
use crate::pg::encoding;
use crate::pg::owner;
use crate::pg::values::Text;
use pgrx::iter::TableIterator;
use pgrx::prelude::*;
use std::ffi::CStr;
use subject::Subject;
use target::Target;
use verdict::Line;

#[pg_extern(sql = r#"
CREATE FUNCTION ward."test_isolation"("tab" regclass, "role" name, "context_a" text, "context_b" text)
RETURNS TABLE ("attempt" text, "outcome" text, "isolated" bool, "detail" text)
VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET row_security = on
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
#[allow(clippy::type_complexity)]
fn test_isolation(
    tab: Option<pg_sys::Oid>,
    role: Option<&CStr>,
    context_a: Option<Text<'_>>,
    context_b: Option<Text<'_>>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(attempt, String),
            name!(outcome, String),
            name!(isolated, Option<bool>),
            name!(detail, Option<String>),
        ),
    >,
> {
    let table = owned(tab)?;
    let role = role_to_become(role)?;
    let state = State::of(&table)?;
    if !state.isolated() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("table {} is not isolated", table.name),
            "Isolate it first, with ward.enable_tenant_isolation() for example.",
        ));
    }
    let rules = rules(&table, &state)?;
    // First of all: it refuses tables that are isolated through each other.
    let target = Target::of(&table, &rules, role)?;
    let kinds = subject::kinds(&table)?;
    let sides = [
        Subject::parse("context_a", context_a, kinds)?,
        Subject::parse("context_b", context_b, kinds)?,
    ];
    if sides[0] == sides[1] {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "the two contexts are the same",
        ));
    }
    let unlatched = Unlatched::enter();
    let lines = trial::rolled_back(|| lines(&target, &sides, &unlatched));
    drop(unlatched);
    match lines {
        Ok(lines) => Ok(TableIterator::new(lines?.into_iter().map(Line::cells))),
        Err(failure) => Err(untried(&table, &failure)),
    }
}

fn rules(table: &Table, state: &State) -> Result<Vec<Rule>> {
    state
        .found
        .iter()
        .map(|found| Rule::existing(table, found))
        .collect()
}

/// Every attempt in both directions, and without a context.
fn lines(target: &Target, sides: &[Subject; 2], unlatched: &Unlatched) -> Result<Vec<Line>> {
    let samples = [
        find_sample(target, &sides[0], unlatched)?,
        find_sample(target, &sides[1], unlatched)?,
    ];
    let mut lines = Vec::new();
    for (acting, other) in [(0, 1), (1, 0)] {
        let names = [["a", "b"][acting], ["a", "b"][other]];
        let attempts = attempt::Direction {
            target,
            names,
            acting: &sides[acting],
            other: &sides[other],
            own: samples[acting].as_ref(),
            theirs: samples[other].as_ref(),
            unlatched,
        };
        lines.extend(attempts.all());
    }
    lines.extend(attempt::without_context(
        target,
        samples.iter().flatten().next(),
        unlatched,
    ));
    lines.push(attempt::truncate(target));
    Ok(lines)
}

/// A row of the subject, found past row level security and locked, so that it is still there when the
/// attempts are made.
fn find_sample(
    target: &Target,
    subject: &Subject,
    unlatched: &Unlatched,
) -> Result<Option<Sample>> {
    unlatched.next();
    subject.enter()?;
    let name = &target.name;
    let statement = format!(
        "SELECT {name}.tableoid, {name}.ctid, ({name}.*)::{name} FROM {name} WHERE {} \
         LIMIT 1 FOR UPDATE OF {} SKIP LOCKED",
        target.condition, target.bare_name
    );
    Ok(owner::as_owner_of(target.oid, || trial::sample(&statement)))
}

fn untried(table: &Table, failure: &Failure) -> pgrx::pg_sys::panic::ErrorReport {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!(
            "no rows of table {} could be taken to try with (SQLSTATE {})",
            table.name, failure.code
        ),
        "Call it in a transaction that may write, on a primary server.",
    )
}

/// The role, if the caller may become it.
fn role_to_become(role: Option<&CStr>) -> Result<pg_sys::Oid> {
    let Some(role) = role.map(encoding::to_utf8) else {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "the role must not be NULL",
        ));
    };
    let privilege = if cfg!(feature = "pg15") {
        "MEMBER"
    } else {
        "SET"
    };
    let found = Spi::connect_mut(|client| {
        let rows = client.update(
            "SELECT oid, pg_catalog.pg_has_role(oid, $2),
                    pg_catalog.convert_to(pg_catalog.quote_ident(rolname), 'UTF8')
             FROM pg_catalog.pg_roles WHERE rolname = pg_catalog.convert_from($1, 'UTF8')",
            None,
            &[role.as_bytes().into(), privilege.into()],
        )?;
        if rows.is_empty() {
            return Ok(None);
        }
        let row = rows.first();
        Ok(row
            .get::<pg_sys::Oid>(1)?
            .zip(row.get::<bool>(2)?)
            .map(|(oid, allowed)| (oid, allowed, row.get::<Vec<u8>>(3))))
    })
    .map_err(spi)?;
    match found {
        None => Err(error::report(
            PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
            "the role does not exist",
        )),
        Some((oid, true, _)) => Ok(oid),
        Some((_, false, name)) => Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            format!(
                "permission denied to act as role {}",
                utf8(name.map_err(spi)?)
            ),
            "Only who may SET ROLE to it can try what it can do.",
        )),
    }
}
