//! Counts of changes, per table and per day.

use crate::time;
use std::collections::{BTreeMap, HashMap};
use ward_log::{Hash, Leaf, Operation};

/// Type bytes of row and shape leaves (docs/log-format.md).
const ROW_LEAF: u8 = 0x01;
const SHAPE_LEAF: u8 = 0x04;
/// More shapes and days than these are counted together: a forged log must not fill the memory.
const MAX_KEYS: usize = 20_000;

/// Inserts, updates, deletes, truncations, rows of snapshots.
pub type Counts = [u64; 5];

/// Counts while a log is read.
#[derive(Default)]
pub struct Statistics {
    names: HashMap<Hash, String>,
    shapes: HashMap<Hash, Counts>,
    days: BTreeMap<i64, u64>,
    /// Changes of tables, or on days, beyond the limits.
    other: Counts,
    other_days: u64,
}

impl Statistics {
    /// Takes the next leaf.
    pub fn leaf(&mut self, bytes: &[u8]) {
        if !matches!(bytes.first(), Some(&(ROW_LEAF | SHAPE_LEAF))) {
            return;
        }
        match Leaf::parse(bytes) {
            Ok(Leaf::Row(row)) => {
                let operation = match row.operation {
                    Operation::Insert => 0,
                    Operation::Update => 1,
                    Operation::Delete => 2,
                    Operation::Truncate => 3,
                    Operation::Snapshot => 4,
                };
                let room = self.shapes.len() < MAX_KEYS;
                match self.shapes.get_mut(&row.shape) {
                    Some(counts) => counts[operation] += 1,
                    None if room => {
                        self.shapes.entry(row.shape).or_default()[operation] = 1;
                    }
                    None => self.other[operation] += 1,
                }
                let day = time::day(row.frame.occurred_at);
                if self.days.len() < MAX_KEYS || self.days.contains_key(&day) {
                    *self.days.entry(day).or_default() += 1;
                } else {
                    self.other_days += 1;
                }
            }
            Ok(Leaf::Shape(leaf)) if self.names.len() < MAX_KEYS => {
                if let Ok(shape) = leaf.shape() {
                    let name = format!("{}.{}", shape.schema, shape.table);
                    self.names.insert(leaf.shape_id(), name);
                }
            }
            _ => {}
        }
    }

    /// Per table: name and counts, the most changed first.
    pub fn tables(&self) -> Vec<(String, Counts)> {
        let mut tables: BTreeMap<&str, Counts> = BTreeMap::new();
        for (shape, counts) in &self.shapes {
            let name = self
                .names
                .get(shape)
                .map_or("(described nowhere in this export)", String::as_str);
            add(tables.entry(name).or_default(), counts);
        }
        if self.other != Counts::default() {
            add(tables.entry("(other tables)").or_default(), &self.other);
        }
        let mut tables: Vec<_> = tables
            .into_iter()
            .map(|(name, counts)| (name.to_owned(), counts))
            .collect();
        tables.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.iter().sum::<u64>()));
        tables
    }

    /// Per day, in order: day and changes.
    pub fn days(&self) -> Vec<(String, u64)> {
        let mut days: Vec<_> = self
            .days
            .iter()
            .map(|(day, count)| (time::day_text(*day), *count))
            .collect();
        if self.other_days > 0 {
            days.push(("other days".to_owned(), self.other_days));
        }
        days
    }
}

fn add(sum: &mut Counts, counts: &Counts) {
    for (sum, count) in sum.iter_mut().zip(counts) {
        *sum += count;
    }
}
