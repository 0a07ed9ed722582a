//! Who owns the audited tables, before and after REASSIGN OWNED: PostgreSQL does not say what that has changed.

use crate::pg::query;
use pgrx::pg_sys;
use std::cell::RefCell;
use std::collections::HashMap;

const OWNERS: &std::ffi::CStr = c"SELECT c.oid::bigint, c.relowner::bigint FROM pg_class c \
    WHERE EXISTS (SELECT FROM ward.audit_trigger t WHERE t.relation = c.oid) ORDER BY c.oid";

thread_local! {
    /// The owners when the running command began.
    static BEFORE: RefCell<HashMap<u32, u32>> = RefCell::default();
}

/// A command begins that changes owners.
pub fn remember() {
    let owners = owners().into_iter().collect();
    BEFORE.with_borrow_mut(|before| *before = owners);
}

/// The tables with another owner than before.
pub fn changed() -> Vec<pg_sys::Oid> {
    let before = BEFORE.take();
    let other = |(table, owner): &(u32, u32)| before.get(table).is_some_and(|was| was != owner);
    let changed = owners().into_iter().filter(other);
    changed.map(|(table, _)| pg_sys::Oid::from(table)).collect()
}

fn owners() -> Vec<(u32, u32)> {
    let mut found = Vec::new();
    query::read(OWNERS, &[], |row| {
        found.push((row.int8(1) as u32, row.int8(2) as u32));
    });
    found
}
