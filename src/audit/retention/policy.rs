//! The retention policy as the log's retention leaves make it, and the log's time.

use crate::audit::store;
use crate::error::{self, Result};
use crate::pg::{owner, process, query};
use pgrx::prelude::*;
use ward_log::{Leaf, RetentionLeaf, RetentionPolicy};

/// The policy after all sealed retention leaves.
pub fn load() -> RetentionPolicy {
    let mut policy = RetentionPolicy::default();
    query::read(
        c"SELECT leaf, sealed_at FROM ward.audit_policy ORDER BY entry_id",
        &[],
        |row| {
            if let Ok(Leaf::Retention(leaf)) = Leaf::parse(&row.bytes(1)) {
                policy.change(leaf.period, leaf.effective_at, row.int8(2));
            }
        },
    );
    policy
}

/// Keeps a retention leaf of a block of this time.
pub fn put(entry: u64, leaf: &RetentionLeaf, time: i64) -> Result<()> {
    let mut bytes = Vec::new();
    leaf.encode(&mut bytes);
    Spi::run_with_args(
        "INSERT INTO ward.audit_policy (entry_id, leaf, sealed_at) VALUES ($1, $2, $3)",
        &[(entry as i64).into(), bytes.as_slice().into(), time.into()],
    )
    .map_err(error::spi)
}

/// The log's time now: what the clock says, but not before the latest block.
pub fn now() -> i64 {
    process::now_micros().max(time_of(u64::MAX))
}

/// The time of the block with the leaf before `end`.
pub fn time_of(end: u64) -> i64 {
    let mut time = i64::MIN;
    query::read(
        c"SELECT (extract(epoch FROM max(sealed_at)) * 1000000)::bigint FROM ward.audit_block WHERE first_leaf < $1",
        &[query::Arg::Int8(i64::try_from(end).unwrap_or(i64::MAX))],
        |row| {
            if row.value(1).is_some() {
                time = row.int8(1);
            }
        },
    );
    time
}

/// The size of the largest published checkpoint that is of this log as it is and covers `at_least` leaves.
pub fn published(at_least: u64) -> Result<Option<u64>> {
    let mut notes = Vec::new();
    query::read(
        c"SELECT tree_size, convert_to(note, 'UTF8') FROM ward.audit_checkpoints WHERE tree_size >= $1 \
          ORDER BY tree_size DESC",
        &[query::Arg::Int8(at_least as i64)],
        |row| notes.push((row.int8(1) as u64, row.bytes(2))),
    );
    for (size, note) in notes {
        if is_published(size, &note)? {
            return Ok(Some(size));
        }
    }
    Ok(None)
}

/// Whether a checkpoint of exactly this size was published.
pub fn is_published_at(size: u64) -> Result<bool> {
    let mut notes = Vec::new();
    query::read(
        c"SELECT convert_to(note, 'UTF8') FROM ward.audit_checkpoints WHERE tree_size = $1",
        &[query::Arg::Int8(size as i64)],
        |row| notes.push(row.bytes(1)),
    );
    for note in notes {
        if is_published(size, &note)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether one of the log's keys has signed this note, and for the log as it is: the table can be written by others.
fn is_published(size: u64, note: &[u8]) -> Result<bool> {
    let Ok(note) = std::str::from_utf8(note) else {
        return Ok(false);
    };
    let signed = super::super::signer::signed_by_log(note)?;
    Ok(signed.is_some_and(|checkpoint| {
        checkpoint.size == size && store::root_at(size) == Some(checkpoint.root)
    }))
}

/// Lets nobody else give orders until the transaction ends: what is checked now holds when it is sealed.
pub fn lock() -> Result<()> {
    owner::run(|| Spi::run("LOCK TABLE ward.audit_policy IN SHARE UPDATE EXCLUSIVE MODE"))
        .map_err(error::spi)
}
