//! Proofs in SQL: that a leaf is in the log, and that the log has only grown.

use super::store::{self, Block};
use super::{checkpoint, entries, find, signer};
use crate::error::{self, Result};
use crate::pg::owner;
use pgrx::prelude::*;
use ward_log::{
    AddCheckpoint, Hash, ProofError, TlogProof, consistency_proof, inclusion_proof, leaf_hash,
    push_record, verify_inclusion,
};

/// The inclusion proof of a leaf.
#[pg_extern(parallel_unsafe)]
fn audit_inclusion_proof(
    entry_id: Option<i64>,
    tree_size: default!(Option<i64>, "NULL"),
) -> Result<Vec<Vec<u8>>> {
    entries::check_reader()?;
    let entry = natural("entry_id", entry_id)?;
    owner::run(|| {
        let size = size("tree_size", tree_size, &checkpoint::last()?.1)?;
        inclusion_proof(entry, size, store::tile)
            .map(bytes)
            .map_err(refused)
    })
}

/// The consistency proof between two sizes of the log.
#[pg_extern(parallel_unsafe)]
fn audit_consistency_proof(
    old_size: Option<i64>,
    new_size: default!(Option<i64>, "NULL"),
) -> Result<Vec<Vec<u8>>> {
    entries::check_reader()?;
    let old = natural("old_size", old_size)?;
    owner::run(|| {
        let new = size("new_size", new_size, &checkpoint::last()?.1)?;
        consistency_proof(old, new, store::tile)
            .map(bytes)
            .map_err(refused)
    })
}

/// A leaf, its inclusion proof and a checkpoint as one text (C2SP tlog-proof).
#[pg_extern(parallel_unsafe)]
fn audit_proof(
    entry_id: Option<i64>,
    with_values: default!(Option<bool>, "false"),
) -> Result<String> {
    entries::check_reader()?;
    let index = natural("entry_id", entry_id)?;
    let with_values = with_values.unwrap_or(false);
    owner::run(|| {
        let (identity, block) = checkpoint::last()?;
        let proof = inclusion_proof(index, block.tree_size, store::tile).map_err(refused)?;
        let (leaf, image) = find::Finder::new().leaf(index).ok_or_else(|| gone(index))?;
        let hash = leaf_hash(&leaf);
        if !verify_inclusion(&hash, index, block.tree_size, &proof, &block.root) {
            return Err(damaged());
        }
        let mut extra = Vec::new();
        push_record(&mut extra, &leaf, image.as_deref().filter(|_| with_values))
            .map_err(error::format)?;
        let proof = TlogProof {
            extra: Some(extra),
            index,
            proof,
            checkpoint: signer::sign(&identity, &block)?,
        };
        Ok(proof.to_text())
    })
}

/// What a witness is sent (C2SP tlog-witness).
#[pg_extern(parallel_unsafe)]
fn audit_witness_request(old_size: default!(Option<i64>, 0)) -> Result<String> {
    entries::check_reader()?;
    let old_size = natural("old_size", old_size)?;
    owner::run(|| {
        let (identity, block) = checkpoint::last()?;
        let request = AddCheckpoint {
            old_size,
            proof: consistency_proof(old_size, block.tree_size, store::tile).map_err(refused)?,
            checkpoint: signer::sign(&identity, &block)?,
        };
        Ok(request.to_text())
    })
}

/// An argument that must be given and not be negative.
pub(super) fn natural(name: &str, value: Option<i64>) -> Result<u64> {
    let value = value.ok_or_else(|| {
        error::report(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            format!("{name} must not be NULL"),
        )
    })?;
    u64::try_from(value).map_err(|_| {
        error::report(
            PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            format!("{name} must not be negative"),
        )
    })
}

/// The size a proof is for: that of the sealed log unless a smaller one is asked for.
fn size(name: &str, asked: Option<i64>, last: &Block) -> Result<u64> {
    let sealed = last.tree_size;
    let Some(asked) = asked else {
        return Ok(sealed);
    };
    let asked = natural(name, Some(asked))?;
    if asked > sealed {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            format!("{name} {asked} is beyond the sealed log, which has {sealed} leaves"),
            "ward.seal_audit_trail() seals what is committed.",
        ));
    }
    Ok(asked)
}

fn bytes(hashes: Vec<Hash>) -> Vec<Vec<u8>> {
    hashes.iter().map(|hash| hash.to_vec()).collect()
}

fn refused(problem: ProofError) -> pgrx::pg_sys::panic::ErrorReport {
    match problem {
        ProofError::MissingTile { .. } => damaged(),
        ProofError::Backwards { .. } => error::report_hint(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            problem.to_string(),
            "Give the smaller size first.",
        ),
        ProofError::NoSuchLeaf { .. } => error::report_hint(
            PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            problem.to_string(),
            "An entry has an entry_id once it is sealed; ward.seal_audit_trail() seals what is committed.",
        ),
    }
}

/// A leaf that is not there was pruned, or tampered with.
fn gone(index: u64) -> pgrx::pg_sys::panic::ErrorReport {
    match store::pruned_by(index >> store::segment_bits()) {
        Some(entry) => error::report_hint(
            PgSqlErrorCode::ERRCODE_NO_DATA_FOUND,
            format!("entry {index} was pruned, as entry {entry} says"),
            "Its inclusion proof can still be had: SELECT ward.audit_inclusion_proof(entry_id). The entry itself is in \
             the archive, if one was made.",
        ),
        None => damaged(),
    }
}

fn damaged() -> pgrx::pg_sys::panic::ErrorReport {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        "the log cannot prove this: its entry or its stored hashes are not those that were sealed",
        "Somebody changed the log's tables. SELECT * FROM ward.audit_violations() says where.",
    )
}
