//! The key that signs checkpoints, and its replacement.

use super::{capture, catalog};
use crate::error::{self, Result};
use crate::keys::{self, InternalKey, Purpose};
use crate::pg::{owner, process, query};
use pgrx::prelude::*;
use ward_log::{KeyChangeLeaf, public_key};

/// A change of the key.
struct Change {
    old_key: [u8; 32],
    new_key: [u8; 32],
    /// The leaf that says so, once it is sealed.
    entry: Option<u64>,
}

/// Gives checkpoints a new signing key and returns its version. The first checkpoint that covers the change is signed by
/// both keys.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn rotate_audit_signing_key() -> Result<i32> {
    let old = keys::internal_key(Purpose::CheckpointSigning)?;
    let version = keys::renew_internal_key(Purpose::CheckpointSigning)?;
    let new = keys::internal_key(Purpose::CheckpointSigning)?;
    if catalog::exists() {
        let (old_key, new_key) = (
            public_key(old.material.expose()),
            public_key(new.material.expose()),
        );
        announce(&old_key, &new_key)?;
        capture::order(process::now_micros(), |frame, leaf| {
            KeyChangeLeaf {
                frame,
                old_key,
                new_key,
            }
            .encode(leaf);
        })?;
    }
    Ok(version)
}

/// Notes a change whose leaf is not sealed yet: until then the old key signs.
fn announce(old_key: &[u8; 32], new_key: &[u8; 32]) -> Result<()> {
    owner::run(|| {
        Spi::run_with_args(
            "INSERT INTO ward.audit_key_change (old_key, new_key) VALUES ($1, $2)",
            &[old_key.as_slice().into(), new_key.as_slice().into()],
        )
    })
    .map_err(error::spi)
}

/// Notes the leaf of a change.
pub fn sealed(old_key: &[u8; 32], new_key: &[u8; 32], entry: u64) -> Result<()> {
    Spi::run_with_args(
        "UPDATE ward.audit_key_change SET entry_id = $3 WHERE old_key = $1 AND new_key = $2",
        &[
            old_key.as_slice().into(),
            new_key.as_slice().into(),
            (entry as i64).into(),
        ],
    )
    .map_err(error::spi)
}

/// Whether this change was made and is not sealed yet.
pub fn announced(old_key: &[u8; 32], new_key: &[u8; 32]) -> bool {
    changes().iter().any(|change| {
        change.entry.is_none() && (&change.old_key, &change.new_key) == (old_key, new_key)
    })
}

fn changes() -> Vec<Change> {
    let mut found = Vec::new();
    query::read(
        c"SELECT old_key, new_key, entry_id FROM ward.audit_key_change",
        &[],
        |row| {
            if let (Ok(old_key), Ok(new_key)) = (row.bytes(1).try_into(), row.bytes(2).try_into()) {
                found.push(Change {
                    old_key,
                    new_key,
                    entry: u64::try_from(row.int8(3)).ok(),
                });
            }
        },
    );
    found
}

/// The keys that sign a checkpoint of `size` leaves: the one in force, then those it has replaced since the last
/// checkpoint was published.
pub fn signers(size: u64) -> Result<Vec<InternalKey>> {
    let (changes, published) = owner::run(|| (changes(), super::retention::published(0)));
    let published = published?.unwrap_or(0);
    let covered = |change: &&Change| change.entry.is_some_and(|entry| entry < size);
    let first = changes
        .iter()
        .find(|change| !changes.iter().any(|other| other.new_key == change.old_key));
    let Some(first) = first else {
        return Ok(vec![keys::internal_key(Purpose::CheckpointSigning)?]);
    };
    let versions = keys::all_versions(Purpose::CheckpointSigning)?;
    let version = |wanted: &[u8; 32]| {
        versions
            .iter()
            .find(|key| public_key(key.material.expose()) == *wanted)
            .cloned()
            .ok_or_else(unknown)
    };
    let mut signers = Vec::new();
    let mut key = first.old_key;
    let mut followed = 0;
    while let Some(change) = changes
        .iter()
        .filter(covered)
        .find(|change| change.old_key == key)
    {
        if change.entry.is_some_and(|entry| entry >= published) {
            signers.insert(0, version(&key)?);
        }
        key = change.new_key;
        followed += 1;
        if followed > changes.len() {
            // in a circle, which only tampering can store
            return Err(unknown());
        }
    }
    signers.insert(0, version(&key)?);
    Ok(signers)
}

fn unknown() -> pgrx::pg_sys::panic::ErrorReport {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        "the key that signs checkpoints is not in the registry",
        "ward.audit_key_change and the key registry contradict each other: one of them was changed by hand or restored alone.",
    )
}
