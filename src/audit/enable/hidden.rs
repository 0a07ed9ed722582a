//! The lists of columns that an audit hides, when the columns are renamed, dropped or made again.
//!
//! A name that no column has stays in its list: a column that gets it later is hidden from its first
//! row on. The names that are known to be gone are a list of their own, because a hidden name that is
//! missing for no known reason makes the capture refuse rows.

use super::{registry, triggers};
use crate::error::Result;
use crate::pg::{catalog, encoding, owner};
use pgrx::prelude::*;

/// Names of hidden columns.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Lists {
    /// Left out.
    pub exclude: Vec<String>,
    /// Recorded as changed or unchanged only.
    pub redact: Vec<String>,
    /// Those of both that were dropped.
    pub gone: Vec<String>,
}

/// The audited tables among $1 and what inherits from it that have a row trigger of their own.
const OWN: &str = "WITH RECURSIVE down (oid) AS (SELECT $1 UNION \
    SELECT i.inhrelid FROM pg_inherits i JOIN down ON i.inhparent = down.oid) \
    SELECT DISTINCT relation::text FROM ward.audit_trigger JOIN down ON relation = down.oid WHERE by_row AND NOT inherited";

/// The lists in a table's own row trigger.
const LISTS: &str = "SELECT jsonb_build_array(NULLIF(exclude, '')::jsonb, NULLIF(redact, '')::jsonb, \
    coalesce(NULLIF(gone, ''), '[]')::jsonb)::text \
    FROM ward.audit_trigger WHERE relation = $1 AND by_row AND NOT inherited LIMIT 1";

/// Column `old` of `table` and of what inherits from it is called `new` now.
pub fn renamed(table: pg_sys::Oid, old: &str, new: &str) -> Result<()> {
    adjust(table, |lists| {
        for list in [&mut lists.exclude, &mut lists.redact] {
            for name in list.iter_mut().filter(|name| *name == old) {
                new.clone_into(name);
            }
        }
    })
}

/// Column `name` of `table` was dropped.
pub fn dropped(table: pg_sys::Oid, name: &str) -> Result<()> {
    adjust(table, |lists| lists.gone.push(name.to_owned()))
}

/// Columns of `table` were added: names that were gone may be there again.
pub fn recheck(table: pg_sys::Oid) -> Result<()> {
    adjust(table, |_| {})
}

fn adjust(table: pg_sys::Oid, change: impl Fn(&mut Lists)) -> Result<()> {
    for relation in owner::run(|| catalog::oids(OWN, table))? {
        let Some(before) = lists(relation)? else {
            continue;
        };
        let mut after = before.clone();
        change(&mut after);
        after.settle(relation);
        if after != before {
            triggers::replace(relation, &after)?;
            registry::remember(relation)?;
        }
    }
    Ok(())
}

/// The lists of a table, none when its trigger's arguments are not lists: then it refuses rows anyway.
fn lists(relation: pg_sys::Oid) -> Result<Option<Lists>> {
    let found = owner::run(|| catalog::texts(LISTS, relation, None))?;
    Ok(found
        .first()
        .and_then(|text| serde_json::from_str(&encoding::to_utf8(text)).ok())
        .map(|(exclude, redact, gone)| Lists {
            exclude,
            redact,
            gone,
        }))
}

impl Lists {
    /// Keeps as gone only what is hidden and not there.
    fn settle(&mut self, relation: pg_sys::Oid) {
        let Lists {
            exclude,
            redact,
            gone,
        } = self;
        gone.retain(|name| {
            (exclude.contains(name) || redact.contains(name))
                && !encoding::from_utf8(name)
                    .is_some_and(|name| catalog::has_column(relation, &name))
        });
        gone.sort();
        gone.dedup();
    }

    /// The lists as the trigger's arguments: JSON in ASCII, which reads the same in every encoding of a
    /// database. The last one is empty when nothing is gone.
    pub fn arguments(&self) -> [String; 3] {
        [
            ascii(&self.exclude),
            ascii(&self.redact),
            if self.gone.is_empty() {
                String::new()
            } else {
                ascii(&self.gone)
            },
        ]
    }
}

fn ascii(names: &[String]) -> String {
    let mut text = String::new();
    for unit in serde_json::Value::from(names).to_string().encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => text.push(char::from(byte)),
            _ => text.push_str(&format!("\\u{unit:04x}")),
        }
    }
    text
}
