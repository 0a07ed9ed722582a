//! The numbers that a table and its partitions had in the databases the log was written in before: a restored table
//! has another oid than the entries say, and another table may have that oid now.

use super::store;
use crate::error::Result;
use crate::pg::query::{self, Arg};
use pgrx::pg_sys;
use std::collections::HashMap;
use std::ffi::CStr;

/// The parts of the log, one for each cluster it was written in, and what the tables were called by number there.
///
/// Databases of one cluster draw the numbers of their tables from one counter, so a part may span some of them: what is
/// written in a copy stands beside what came along from the original.
pub struct Lineage {
    /// Where the parts begin, ascending.
    begins: Vec<u64>,
    /// By the numbers that tables had in a part, those they have now.
    former: Vec<HashMap<u32, u32>>,
}

/// Tables among $1 as the memory has them: number, number as remembered, former numbers.
const REMEMBERED: &CStr = c"SELECT c.oid::bigint, a.relation::bigint, convert_to(a.former::text, 'UTF8') \
    FROM unnest($1) AS t (oid) JOIN pg_class c ON c.oid = t.oid::oid JOIN pg_namespace n ON n.oid = c.relnamespace \
    JOIN ward.audit_table a ON (a.table_schema, a.table_name) = (n.nspname, c.relname)";

impl Lineage {
    /// Of some tables.
    pub fn of(tables: &[pg_sys::Oid]) -> Result<Lineage> {
        let incarnations = store::incarnations();
        let mut begins = Vec::new();
        let now = tables.iter().map(|oid| (oid.to_u32(), oid.to_u32()));
        let mut numbers: HashMap<u32, u32> = now.collect();
        let mut former = vec![numbers.clone()];
        // where nothing else is known, a table had the number that it had in the next incarnation
        let mut known = remembered(&numbers, &incarnations);
        for number in (0..incarnations.len()).rev() {
            let last = number + 1 == incarnations.len();
            if last && !known[number].is_empty() && incarnations[number].has_other_xids()? {
                former = vec![HashMap::new()];
            }
            numbers.extend(known[number].drain());
            if let Some(part) = former.last_mut() {
                part.extend(numbers.iter().map(|(now, then)| (*then, *now)));
            }
            if incarnations[number].new_xids {
                begins.push(begin(&incarnations[number]));
                former.push(HashMap::new());
            }
        }
        begins.push(0);
        begins.reverse();
        former.reverse();
        Ok(Lineage { begins, former })
    }

    /// The table that leaf `index` means by number `oid`; None when it is no table that is looked for.
    pub fn table(&self, index: u64, oid: u32) -> Option<u32> {
        let after = self.begins.partition_point(|begin| *begin <= index);
        self.former.get(after.checked_sub(1)?)?.get(&oid).copied()
    }
}

/// For each incarnation, the numbers that the memory knows tables had there.
fn remembered(
    tables: &HashMap<u32, u32>,
    incarnations: &[store::Identity],
) -> Vec<HashMap<u32, u32>> {
    let mut known = vec![HashMap::new(); incarnations.len()];
    let here = incarnations.last().is_some_and(store::Identity::is_here);
    let numbers: Vec<u64> = tables.keys().map(|oid| u64::from(*oid)).collect();
    query::read(REMEMBERED, &[Arg::Int8s(&numbers)], |row| {
        let (now, remembered) = (row.int8(1) as u32, row.int8(2) as u32);
        let former: HashMap<String, u32> =
            serde_json::from_slice(&row.bytes(3)).unwrap_or_default();
        for (number, one) in incarnations.iter().enumerate() {
            let noted = former.get(&uuid::Uuid::from_bytes(one.incarnation).to_string());
            // a restore that no event trigger has followed
            let last_there = number + 1 + usize::from(here) == incarnations.len();
            let stale = (last_there && remembered != now).then_some(&remembered);
            if let Some(oid) = noted.or(stale) {
                known[number].insert(now, *oid);
            }
        }
    });
    known
}

/// The first leaf of an incarnation with other transaction ids: it lies behind the block that closes the one before.
fn begin(incarnation: &store::Identity) -> u64 {
    let mut end = incarnation.left_at;
    store::blocks_of(&[end], |first, size, _| {
        if first == incarnation.left_at {
            end = size;
        }
    });
    end
}
