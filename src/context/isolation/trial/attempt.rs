//! The attempts, and what their outcome says.

use super::super::rule::Rule;
use super::super::table::Table;
use super::super::{spi, utf8};
use super::subject::Subject;
use crate::context::state::Unlatched;
use crate::error::{self, Result};
use crate::pg::context::trial::{self, Argument, Failure, Sample};
use crate::pg::{context as setting, owner};
use pgrx::prelude::*;

/// How an attempt ended.
enum Attempted<T> {
    /// The role lacks the rights that the statement needs.
    NoPrivilege,
    /// It ran.
    Done(T),
    /// A policy of the table refused the row.
    RefusedByPolicy,
    /// Something else stopped it.
    Failed(Failure),
}

/// One row of the report.
pub struct Line {
    attempt: String,
    outcome: &'static str,
    isolated: Option<bool>,
    detail: Option<String>,
}

impl Line {
    pub fn cells(self) -> (String, String, Option<bool>, Option<String>) {
        (
            self.attempt,
            self.outcome.to_owned(),
            self.isolated,
            self.detail,
        )
    }
}

/// The table as the role may use it.
pub struct Target {
    /// Schema and name, quoted.
    pub name: String,
    /// The quoted name alone.
    pub bare_name: String,
    /// The name as messages have it.
    plain_name: String,
    /// Which rows are those of the context in force.
    pub condition: String,
    role: pg_sys::Oid,
    row_type: pg_sys::Oid,
    oid: pg_sys::Oid,
    /// The columns that say whose a row is.
    owning: Vec<String>,
    /// Other columns the role may insert.
    insertable: Vec<String>,
    /// A column the role may update.
    updatable: Option<String>,
    may_truncate: bool,
}

impl Target {
    pub fn of(table: &Table, rules: &[Rule], role: pg_sys::Oid) -> Result<Self> {
        let mut conditions = Vec::new();
        let mut owning: Vec<String> = Vec::new();
        for rule in rules {
            conditions.push(rule.condition(table)?);
            for column in rule.columns() {
                if !owning.iter().any(|known| known == column) {
                    owning.push(column.to_owned());
                }
            }
        }
        let (bare_name, plain_name, may_truncate) = Spi::connect_mut(|client| {
            let row = client
                .update(
                    "SELECT pg_catalog.convert_to(pg_catalog.quote_ident(relname), 'UTF8'),
                            pg_catalog.has_table_privilege($2, oid, 'TRUNCATE'),
                            pg_catalog.convert_to(relname, 'UTF8')
                     FROM pg_catalog.pg_class WHERE oid = $1",
                    None,
                    &[table.oid.into(), role.into()],
                )?
                .first();
            Ok((
                utf8(row.get(1)?),
                utf8(row.get(3)?),
                row.get(2)?.unwrap_or(false),
            ))
        })
        .map_err(spi)?;
        let columns = Spi::connect_mut(|client| {
            client
                .update(
                    "SELECT pg_catalog.convert_to(pg_catalog.quote_ident(attname), 'UTF8'),
                            pg_catalog.has_column_privilege($2, attrelid, attnum, 'INSERT'),
                            pg_catalog.has_column_privilege($2, attrelid, attnum, 'UPDATE')
                     FROM pg_catalog.pg_attribute
                     WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped
                       AND attgenerated = '' AND attidentity <> 'a'
                     ORDER BY attnum",
                    None,
                    &[table.oid.into(), role.into()],
                )?
                .map(|row| {
                    Ok((
                        utf8(row.get(1)?),
                        row.get::<bool>(2)? == Some(true),
                        row.get::<bool>(3)? == Some(true),
                    ))
                })
                .collect::<pgrx::spi::Result<Vec<_>>>()
        })
        .map_err(spi)?;
        let updatable = columns
            .iter()
            .find(|(.., update)| *update)
            .or(columns.first())
            .map(|(name, ..)| name.clone());
        let insertable = columns
            .into_iter()
            .filter(|(name, insert, _)| *insert && !owning.contains(name))
            .map(|(name, ..)| name)
            .collect();
        Ok(Target {
            name: table.name.clone(),
            bare_name,
            plain_name,
            condition: conditions.join(" AND "),
            role,
            row_type: trial::row_type(table.oid),
            oid: table.oid,
            owning,
            insertable,
            updatable,
            may_truncate,
        })
    }

    /// Runs a statement as the role, in the context that `act` puts in force, and undoes it.
    fn attempt<T>(
        &self,
        statement: &str,
        arguments: &[Argument],
        act: impl Fn(),
        look: impl FnOnce(u64) -> T,
    ) -> Attempted<T> {
        // EXPLAIN checks the rights the statement needs, those on parent tables included, and runs
        // nothing. A right that is missing later is missing to code of a trigger, for which a row
        // must have been reached.
        let explain = format!("EXPLAIN {statement}");
        let allowed = trial::rolled_back(|| {
            act();
            trial::as_role(self.role, || trial::run(&explain, arguments));
        });
        match allowed {
            Err(failure) if failure.code == "42501" => return Attempted::NoPrivilege,
            Err(failure) => return Attempted::Failed(failure),
            Ok(()) => {}
        }
        let outcome = trial::rolled_back(|| {
            act();
            look(trial::as_role(self.role, || {
                trial::run(statement, arguments)
            }))
        });
        match outcome {
            Ok(value) => Attempted::Done(value),
            Err(failure) if failure.is_refusal_by_policy_of(&self.plain_name) => {
                Attempted::RefusedByPolicy
            }
            Err(failure) => Attempted::Failed(failure),
        }
    }

    /// A copy of the first row, that would belong to whom the second belongs to.
    fn insert(&self) -> String {
        let values = self.owning.iter().map(|name| format!("($2).{name}"));
        let copied = self.insertable.iter().map(|name| format!("($1).{name}"));
        format!(
            "INSERT INTO {} ({}) SELECT {}",
            self.name,
            [self.owning.as_slice(), &self.insertable]
                .concat()
                .join(", "),
            values.chain(copied).collect::<Vec<_>>().join(", ")
        )
    }

    fn give_away(&self) -> String {
        let set = self
            .owning
            .iter()
            .map(|name| format!("{name} = ($3).{name}"));
        format!(
            "UPDATE {} SET {} WHERE tableoid = $1 AND ctid = $2",
            self.name,
            set.collect::<Vec<_>>().join(", ")
        )
    }
}

/// One side trying to get at the rows of the other.
pub struct Direction<'a> {
    pub target: &'a Target,
    pub names: [&'static str; 2],
    pub acting: &'a Subject,
    pub other: &'a Subject,
    pub own: Option<&'a Sample>,
    pub theirs: Option<&'a Sample>,
    pub unlatched: &'a Unlatched,
}

impl Direction<'_> {
    pub fn all(&self) -> Vec<Line> {
        let [a, b] = self.names;
        let target = self.target;
        let read = format!(
            "SELECT FROM {} WHERE tableoid = $1 AND ctid = $2",
            target.name
        );
        let mut lines = vec![match self.own {
            None => untried(format!("{a} reads its own row"), a),
            Some(own) => own_row(format!("{a} reads its own row"), self.found(&read, own)),
        }];
        let reads = format!("{a} reads a row of {b}");
        let changes = format!("{a} changes a row of {b}");
        let deletes = format!("{a} deletes a row of {b}");
        match self.theirs {
            None => lines.extend([reads, changes, deletes].map(|attempt| untried(attempt, b))),
            Some(theirs) => {
                lines.push(found(reads, self.found(&read, theirs)));
                if theirs.table != target.oid
                    && let Ok(partition) = Table::find(theirs.table)
                {
                    let direct = format!(
                        "SELECT FROM ONLY {} WHERE tableoid = $1 AND ctid = $2",
                        partition.name
                    );
                    lines.push(found(
                        format!("{a} reads a row of {b} in its partition"),
                        self.found(&direct, theirs),
                    ));
                }
                if let Some(column) = &target.updatable {
                    let update = format!(
                        "UPDATE {} SET {column} = {column} WHERE tableoid = $1 AND ctid = $2",
                        target.name
                    );
                    lines.push(changed(changes, self.found(&update, theirs)));
                }
                let delete = format!(
                    "DELETE FROM {} WHERE tableoid = $1 AND ctid = $2",
                    target.name
                );
                lines.push(changed(deletes, self.found(&delete, theirs)));
            }
        }
        let inserts = format!("{a} inserts a row for {b}");
        let moves = format!("{a} gives its row to {b}");
        match (self.own, self.theirs) {
            (Some(own), Some(theirs)) => {
                let rows = [
                    Argument::Row(own, target.row_type),
                    Argument::Row(theirs, target.row_type),
                ];
                lines.push(written(inserts, self.landed(&target.insert(), &rows)));
                let rows = [
                    Argument::Table(own),
                    Argument::Place(own),
                    Argument::Row(theirs, target.row_type),
                ];
                lines.push(written(moves, self.landed(&target.give_away(), &rows)));
            }
            (own, _) => {
                let missing = if own.is_none() { a } else { b };
                lines.extend([inserts, moves].map(|attempt| untried(attempt, missing)));
            }
        }
        lines
    }

    /// How many rows a statement finds, of the one sample it looks for.
    fn found(&self, statement: &str, sample: &Sample) -> Attempted<u64> {
        let arguments = [Argument::Table(sample), Argument::Place(sample)];
        self.target
            .attempt(statement, &arguments, || self.act(self.acting), |rows| rows)
    }

    /// Whether a statement leaves a row behind that belongs to the other side.
    fn landed(&self, statement: &str, rows: &[Argument]) -> Attempted<bool> {
        let theirs = format!(
            "SELECT FROM {} WHERE xmin = $1 AND {}",
            self.target.name, self.target.condition
        );
        self.target.attempt(
            statement,
            rows,
            || self.act(self.acting),
            |_| {
                let xid = Argument::Xid(trial::subtransaction_xid());
                self.act(self.other);
                owner::run(|| trial::run(&theirs, &[xid])) > 0
            },
        )
    }

    fn act(&self, subject: &Subject) {
        self.unlatched.next();
        if let Err(report) = subject.enter() {
            error::raise(report);
        }
    }
}

/// What somebody can do for whom no context was set.
pub fn without_context(
    target: &Target,
    sample: Option<&Sample>,
    unlatched: &Unlatched,
) -> Vec<Line> {
    let reads = "reads without a context".to_owned();
    let inserts = "inserts without a context".to_owned();
    let Some(sample) = sample else {
        return [reads, inserts]
            .map(|attempt| untried(attempt, "neither"))
            .into();
    };
    let act = || {
        unlatched.next();
        if let Err(report) = setting::clear() {
            error::raise(report);
        }
    };
    let read = format!("SELECT FROM {} LIMIT 1", target.name);
    let row = || Argument::Row(sample, target.row_type);
    vec![
        found(reads, target.attempt(&read, &[], act, |rows| rows)),
        written(
            inserts,
            target.attempt(&target.insert(), &[row(), row()], act, |rows| rows > 0),
        ),
    ]
}

/// Row level security does not apply to TRUNCATE: the right itself is what counts.
pub fn truncate(target: &Target) -> Line {
    let attempt = "truncates the table".to_owned();
    if target.may_truncate {
        let detail = "the role holds TRUNCATE, to which no policy applies";
        line(attempt, "allowed", Some(false), Some(detail))
    } else {
        line(attempt, "no privilege", Some(true), None)
    }
}

fn line(
    attempt: String,
    outcome: &'static str,
    isolated: Option<bool>,
    detail: Option<&str>,
) -> Line {
    Line {
        attempt,
        outcome,
        isolated,
        detail: detail.map(str::to_owned),
    }
}

fn untried(attempt: String, side: &str) -> Line {
    let detail = match side {
        "neither" => "neither context has a row".to_owned(),
        side => format!("context {side} has no row that could be locked"),
    };
    line(attempt, "no row to try with", None, Some(&detail))
}

fn own_row(attempt: String, result: Attempted<u64>) -> Line {
    let detail = "the attempts that follow prove little: the role does not see its own row either";
    match result {
        Attempted::Done(0) => line(attempt, "hidden", None, Some(detail)),
        Attempted::Done(_) => line(attempt, "visible", Some(true), None),
        Attempted::NoPrivilege => line(attempt, "no privilege", None, Some(detail)),
        other => stopped(attempt, other),
    }
}

fn found(attempt: String, result: Attempted<u64>) -> Line {
    match result {
        Attempted::Done(0) => line(attempt, "hidden", Some(true), None),
        Attempted::Done(_) => line(attempt, "visible", Some(false), None),
        other => stopped(attempt, other),
    }
}

fn changed(attempt: String, result: Attempted<u64>) -> Line {
    match result {
        Attempted::Done(0) => line(attempt, "hidden", Some(true), None),
        Attempted::Done(_) => line(attempt, "done", Some(false), None),
        // A constraint is checked only when there is a row.
        Attempted::Failed(failure) if failure.code.starts_with("23") => passed(attempt, &failure),
        other => stopped(attempt, other),
    }
}

fn written(attempt: String, result: Attempted<bool>) -> Line {
    match result {
        Attempted::Done(true) => line(attempt, "done", Some(false), None),
        Attempted::Done(false) => {
            let detail = "nothing was written for the other context";
            line(attempt, "no effect", Some(true), Some(detail))
        }
        // These check a row after its policies.
        Attempted::Failed(failure)
            if failure.code.starts_with("23")
                && [
                    "ExecConstraints",
                    "ReportNotNullViolationError",
                    "_bt_check_unique",
                    "check_exclusion_or_unique_constraint",
                    "ri_ReportViolation",
                ]
                .contains(&failure.routine.as_str()) =>
        {
            passed(attempt, &failure)
        }
        other => stopped(attempt, other),
    }
}

/// Only a constraint stood in the way.
fn passed(attempt: String, failure: &Failure) -> Line {
    let detail = format!(
        "no policy refused it; a constraint did (SQLSTATE {})",
        failure.code
    );
    line(attempt, "passed the policies", Some(false), Some(&detail))
}

fn stopped<T>(attempt: String, result: Attempted<T>) -> Line {
    match result {
        Attempted::RefusedByPolicy => line(attempt, "refused by a policy", Some(true), None),
        Attempted::NoPrivilege => line(attempt, "no privilege", Some(true), None),
        Attempted::Failed(failure) => {
            let detail = format!(
                "SQLSTATE {}: this says nothing about isolation",
                failure.code
            );
            line(attempt, "error", None, Some(&detail))
        }
        Attempted::Done(_) => line(attempt, "done", None, None),
    }
}
