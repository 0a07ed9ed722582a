//! Whether `ward.audit_table`, the memory of what is audited, is what the entries of the trail say.
//!
//! The trail has no say about a table whose last word is not certain: where two transactions of one block speak of it, where
//! it belongs to another table's audit, or where the log was brought here, since changes of tables are no entries until it
//! has begun anew. A change that nobody can explain is reported; what cannot be judged is not.

use super::entries;
use super::leaves::{self, UNSEALED};
use super::store;
use crate::error::Result;
use crate::pg::srf::{Cell, Rows};
use crate::pg::{owner, query};
use serde_json::Value;
use std::collections::{BTreeSet, HashMap, HashSet};
use ward_log::{Beginning, EventLeaf, IncarnationLeaf, Leaf, Records};

/// Type bytes of event and incarnation leaves (docs/log-format.md).
const EVENT: u8 = 0x06;
const INCARNATION: u8 = 0x11;

/// Schema and name of a table.
type Name = (String, String);

/// The columns left out, and those redacted.
type Lists = (BTreeSet<String>, BTreeSet<String>);

/// What the entries say.
#[derive(Default)]
struct Said {
    /// The tables that are audited, and how where that is known.
    audited: HashMap<Name, Option<Lists>>,
    /// The next leaf.
    next: u64,
    block: i64,
    /// Of the block: which transaction spoke of a table last, the tables of which several did, and whether the log was
    /// brought here with it.
    spoke: HashMap<Name, u64>,
    unclear: HashSet<Name>,
    arrived: bool,
}

/// Fills `rows` with schema, name and problem of every table of which memory and trail differ.
pub fn differences(rows: &mut Rows) -> Result<()> {
    entries::check_select(c"audit_trigger_findings")?;
    owner::run(|| {
        // a log that cannot be read is what a verification reports
        if let Ok(said) = read()
            && store::identity().is_some_and(|identity| identity.is_here())
        {
            said.compare(rows);
        }
    });
    Ok(())
}

fn read() -> Result<Said> {
    let mut said = Said::default();
    leaves::sealed(|id, block, leaf, _| said.leaf(id, block, leaf))?;
    for bytes in leaves::unsealed()? {
        // what cannot be read is reported when it is sealed
        for record in Records::new(&bytes).map_while(std::result::Result::ok) {
            said.leaf(said.next, UNSEALED, record.leaf);
        }
    }
    Ok(said)
}

impl Said {
    fn leaf(&mut self, id: u64, block: i64, leaf: &[u8]) {
        if id != self.next {
            // pruned, or cut out
            self.audited.clear();
        }
        self.next = id.wrapping_add(u64::from(block != UNSEALED));
        if !matches!(leaf.first(), Some(&(EVENT | INCARNATION))) {
            return;
        }
        if block != self.block {
            self.block = block;
            self.spoke.clear();
            self.unclear.clear();
            self.arrived = false;
        }
        match Leaf::parse(leaf) {
            Ok(Leaf::Incarnation(leaf)) => self.incarnation(&leaf),
            Ok(Leaf::Event(event)) if !self.arrived => self.event(&event),
            // the verifier reports what cannot be read
            _ => {}
        }
    }

    fn incarnation(&mut self, leaf: &IncarnationLeaf) {
        let word = leaf.reason.split(':').next();
        let brought = [Beginning::Copied, Beginning::Transferred].map(Beginning::as_str);
        if word.is_some_and(|word| brought.contains(&word)) {
            self.audited.clear();
            self.arrived = true;
        }
    }

    fn event(&mut self, event: &EventLeaf) {
        if !matches!(
            event.event_type,
            "audit_enabled" | "audit_disabled" | "table_dropped" | "table_altered"
        ) {
            return;
        }
        let Ok(details) = serde_json::from_str::<Value>(event.details.as_str()) else {
            return;
        };
        let Some(table) = name(&details["schema"], &details["table"]) else {
            return;
        };
        let mut tables = vec![table.clone()];
        match event.event_type {
            "audit_enabled" => {
                tables.extend(self.take_children(&details["children"]));
                let lists = lists(&details["exclude"]).zip(lists(&details["redact"]));
                self.audited.insert(table, lists);
            }
            "audit_disabled" => {
                tables.extend(self.take_children(&details["children"]));
                self.audited.remove(&table);
            }
            "table_altered" => tables.extend(self.altered(&table, &details)),
            _ => {
                self.audited.remove(&table);
            }
        }
        for table in tables {
            let before = self.spoke.insert(table.clone(), event.frame.xid);
            if before.is_some_and(|xid| xid != event.frame.xid) {
                self.unclear.insert(table.clone());
            }
            if self.unclear.contains(&table) {
                self.audited.remove(&table);
            }
        }
    }

    /// Forgets the tables that are enabled or disabled with another; answers them.
    fn take_children(&mut self, children: &Value) -> Vec<Name> {
        if children.is_number() {
            // too many to be named
            return self.audited.drain().map(|(name, _)| name).collect();
        }
        let children = children.as_array().into_iter().flatten();
        let names: Vec<Name> = children
            .filter_map(|child| name(&child[0], &child[1]))
            .collect();
        for name in &names {
            self.audited.remove(name);
        }
        names
    }

    /// Follows what was done to a table; answers the other tables that this is about.
    fn altered(&mut self, table: &Name, details: &Value) -> Vec<Name> {
        let mut others = Vec::new();
        if let Some(from) = name(&details["from"][0], &details["from"][1]) {
            if let Some(lists) = self.audited.remove(&from) {
                self.audited.insert(table.clone(), lists);
            }
            others.push(from);
        }
        let command = details["command"].as_str().unwrap_or_default();
        if command.starts_with("CREATE") && command.ends_with("TABLE") {
            self.audited.remove(table);
        }
        for action in details["actions"].as_array().into_iter().flatten() {
            let text = |key: &str| action[key].as_str().unwrap_or_default();
            match text("action") {
                "INHERIT" | "NO INHERIT" => {
                    self.audited.remove(table);
                }
                "ATTACH PARTITION" | "DETACH PARTITION" | "DETACH PARTITION FINALIZE" => {
                    let part = text("name");
                    let parts = self.audited.extract_if(|(_, name), _| name == part);
                    others.extend(parts.map(|(name, _)| name));
                }
                "RENAME COLUMN" => self.rename(table, text("name"), text("to")),
                "" => {
                    // more actions than the entry could name
                    if let Some(lists) = self.audited.get_mut(table) {
                        *lists = None;
                    }
                }
                _ => {}
            }
        }
        others
    }

    fn rename(&mut self, table: &Name, old: &str, new: &str) {
        if let Some(Some((exclude, redact))) = self.audited.get_mut(table) {
            for list in [exclude, redact] {
                if list.remove(old) {
                    list.insert(new.to_owned());
                }
            }
        }
    }

    fn compare(&self, rows: &mut Rows) {
        let mut remembered: HashMap<Name, (Option<Lists>, bool)> = HashMap::new();
        query::read(
            c"SELECT convert_to(a.table_schema::text, 'UTF8'), convert_to(a.table_name::text, 'UTF8'), \
                convert_to(a.exclude, 'UTF8'), convert_to(a.redact, 'UTF8'), \
                EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                        JOIN pg_inherits i ON i.inhrelid = c.oid \
                        WHERE n.nspname = a.table_schema AND c.relname = a.table_name)::int::bigint \
              FROM ward.audit_table a",
            &[],
            |row| {
                let text = |column| String::from_utf8_lossy(&row.bytes(column)).into_owned();
                let list = |column| {
                    serde_json::from_slice(&row.bytes(column))
                        .ok()
                        .as_ref()
                        .and_then(lists)
                };
                let how = list(3).zip(list(4));
                remembered.insert((text(1), text(2)), (how, row.int8(5) == 1));
            },
        );
        let mut audited: Vec<_> = self.audited.iter().collect();
        audited.sort_unstable();
        for (name, said) in audited {
            let problem = match (remembered.get(name), said) {
                (None, _) => "the trail says that it is audited, and ward.audit_table does not",
                (Some((how, false)), Some(said)) if how.as_ref() != Some(said) => {
                    "ward.audit_table names other hidden columns than the trail"
                }
                _ => continue,
            };
            rows.put(&[
                Cell::Text(&name.0),
                Cell::Text(&name.1),
                Cell::Text(problem),
            ]);
        }
    }
}

fn name(schema: &Value, table: &Value) -> Option<Name> {
    Some((schema.as_str()?.to_owned(), table.as_str()?.to_owned()))
}

/// Names of columns; None where an entry says only how many there are.
fn lists(names: &Value) -> Option<BTreeSet<String>> {
    let names = names.as_array()?.iter();
    names.map(|name| Some(name.as_str()?.to_owned())).collect()
}
