//! The table that is tried, and how a statement is tried on it.

use super::super::rule::Rule;
use super::super::table::Table;
use super::super::{spi, utf8};
use crate::error::Result;
use crate::pg::context::trial::{self, Argument, Failure};
use pgrx::prelude::*;

/// How an attempt ended.
pub enum Attempted<T> {
    /// The role lacks the rights that the statement needs.
    NoPrivilege,
    /// It ran.
    Done(T),
    /// A policy of the table refused the row.
    RefusedByPolicy,
    /// Something else stopped it.
    Failed(Failure),
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
    pub row_type: pg_sys::Oid,
    pub oid: pg_sys::Oid,
    /// The columns that say whose a row is.
    owning: Vec<String>,
    /// Other columns the role may insert.
    insertable: Vec<String>,
    /// A column the role may update.
    pub updatable: Option<String>,
    pub may_truncate: bool,
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
    pub fn attempt<T>(
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
            trial::untranslated();
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
    pub fn insert(&self) -> String {
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

    pub fn give_away(&self) -> String {
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
