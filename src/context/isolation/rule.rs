//! The condition that a kind of isolation puts on the rows of a table.

use super::foreign_key::ForeignKey;
use super::kind::Kind;
use super::policy::{Found, State};
use super::table::{Column, Table};
use crate::error::{self, Result};
use pgrx::prelude::*;

/// How many tables a row may be away from the one that says whose it is.
const DEPTH_LIMIT: usize = 8;

/// Whose the rows of a table are, by which columns.
pub struct Rule {
    /// The kind of isolation.
    pub kind: Kind,
    by: By,
}

enum By {
    Column(Column, &'static str),
    Parent(ForeignKey),
}

impl Rule {
    /// The rule that a column of this name makes.
    pub fn new(kind: Kind, table: &Table, column: &str) -> Result<Self> {
        let column = table.column(kind, column)?;
        let by = match kind {
            Kind::Parent => By::Parent(ForeignKey::through(table, &column)?),
            _ => {
                let accessor = table.accessor(kind, &column)?;
                By::Column(column, accessor)
            }
        };
        Ok(Rule { kind, by })
    }

    /// The same rule on a table that inherits from the one it was made for.
    pub fn inherited(&self, table: &Table, column: &str) -> Result<Self> {
        match &self.by {
            By::Column(..) => Rule::new(self.kind, table, column),
            By::Parent(key) => Ok(Rule {
                kind: self.kind,
                by: By::Parent(key.on(table)?),
            }),
        }
    }

    /// The rule of a policy that is there.
    pub fn existing(table: &Table, found: &Found) -> Result<Self> {
        let by = match (found.kind, found.columns.as_slice()) {
            (Kind::Parent, columns) => {
                ForeignKey::of_columns(table, columns, &found.parents)?.map(By::Parent)
            }
            (kind, [number]) => match table.column_number(*number)? {
                Some(column) => {
                    let accessor = table.accessor(kind, &column)?;
                    Some(By::Column(column, accessor))
                }
                None => None,
            },
            _ => None,
        };
        match by {
            Some(by) => Ok(Rule {
                kind: found.kind,
                by,
            }),
            None => Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!(
                    "policy {} on table {} is not as pg_ward made it",
                    found.kind.policy(),
                    table.name
                ),
                "Call ward.disable_isolation() for that table, then isolate it again.",
            )),
        }
    }

    /// The table whose rows say whose the rows are.
    pub fn parent(&self) -> Option<pg_sys::Oid> {
        match &self.by {
            By::Column(..) => None,
            By::Parent(key) => Some(key.parent),
        }
    }

    /// The numbers of its columns.
    pub fn numbers(&self) -> Vec<i16> {
        match &self.by {
            By::Column(column, _) => vec![column.number],
            By::Parent(key) => key.numbers(),
        }
    }

    /// The quoted names of its columns.
    pub fn columns(&self) -> Vec<&str> {
        match &self.by {
            By::Column(column, _) => vec![&column.name],
            By::Parent(key) => key.columns(),
        }
    }

    /// The column an index must begin with.
    pub fn leading(&self) -> Option<(i16, &str)> {
        match &self.by {
            By::Column(column, _) => Some((column.number, &column.name)),
            By::Parent(key) => key
                .numbers()
                .first()
                .copied()
                .zip(key.columns().first().copied()),
        }
    }

    /// The column that can take its default from the context, and that default.
    pub fn default(&self) -> Option<(&Column, &'static str)> {
        match &self.by {
            By::Column(column, accessor) => Some((column, accessor)),
            By::Parent(_) => None,
        }
    }

    /// The condition of the policy on `table`.
    pub fn condition(&self, table: &Table) -> Result<String> {
        match &self.by {
            By::Column(column, accessor) => Ok(format!("{} = {accessor}", column.name)),
            By::Parent(_) => self.condition_of(&table.name, &[table.oid]),
        }
    }

    /// The condition on the row `row`; `path` has the tables from the policy's to that row's.
    fn condition_of(&self, row: &str, path: &[pg_sys::Oid]) -> Result<String> {
        let key = match &self.by {
            By::Column(column, accessor) => {
                return Ok(format!("{row}.{} = {accessor}", column.name));
            }
            By::Parent(key) => key,
        };
        let parent = Table::find(key.parent)?;
        if path.contains(&parent.oid) {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_INVALID_OBJECT_DEFINITION,
                format!("table {} would be isolated through itself", parent.name),
                "One table of the circle must have a tenant or user column.",
            ));
        }
        if path.len() > DEPTH_LIMIT {
            return Err(error::report(
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                format!(
                    "more than {DEPTH_LIMIT} tables would have to be followed to the owner of a row"
                ),
            ));
        }
        // The parent's own condition is repeated here, so that the child stays isolated when the
        // parent's isolation is disabled.
        let alias = format!("ward_parent_{}", path.len());
        let path = [path, &[parent.oid]].concat();
        let mut conditions = vec![key.join(row, &alias)];
        for found in &State::of(&parent)?.found {
            conditions.push(Rule::existing(&parent, found)?.condition_of(&alias, &path)?);
        }
        if conditions.len() == 1 {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!("the parent table {} is not isolated", parent.name),
                "Isolate it first.",
            ));
        }
        Ok(format!(
            "EXISTS (SELECT 1 FROM {} AS {alias} WHERE {})",
            parent.name,
            conditions.join(" AND ")
        ))
    }
}
