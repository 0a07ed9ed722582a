//! What leaves order about the history itself, and the declaration of a restore.

use super::identity::Identity;
use super::{capture, catalog, signing_key, store};
use crate::error::{self, Result};
use crate::pg::query::{self, Arg};
use crate::pg::values::Text;
use crate::pg::{owner, process};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::borrow::Cow;
use ward_log::{Leaf, MAX_TEXT_LEN, RestoreLeaf};

/// What the sealer is to do when it has sealed a leaf.
pub enum Order {
    /// Sign with another key from here on.
    KeyChange {
        /// The public key that signed so far.
        old_key: [u8; 32],
        /// The next one.
        new_key: [u8; 32],
    },
    /// Begin an incarnation: the log was meant to go on from an earlier state.
    Restore {
        /// Leaves of the former history that are in the log.
        size: u64,
        /// Why.
        reason: String,
    },
}

impl Order {
    /// What a leaf orders.
    pub fn of(leaf: &[u8]) -> Option<Order> {
        match Leaf::parse(leaf) {
            Ok(Leaf::KeyChange(leaf)) => Some(Order::KeyChange {
                old_key: leaf.old_key,
                new_key: leaf.new_key,
            }),
            Ok(Leaf::Restore(leaf)) => Some(Order::Restore {
                size: leaf.restored_size,
                reason: leaf.reason.to_owned(),
            }),
            _ => None,
        }
    }

    fn refusal(&self, first_leaf: u64) -> Option<String> {
        match self {
            Order::KeyChange { old_key, new_key } => (!signing_key::announced(old_key, new_key))
                .then(|| "no such change of the signing key was made".to_owned()),
            Order::Restore { size, .. } => (*size > first_leaf || !ends_a_block(*size))
                .then(|| format!("no block before ends with {size} leaves")),
        }
    }
}

/// Why what a transaction of the block that begins at `first_leaf` orders is not done, if it is not.
pub fn refusal(orders: &[(u64, Vec<u8>)], first_leaf: u64) -> Option<String> {
    orders
        .iter()
        .filter_map(|(_, leaf)| Order::of(leaf))
        .find_map(|order| order.refusal(first_leaf))
}

/// Whether the log had this size after a block.
fn ends_a_block(size: u64) -> bool {
    let mut found = false;
    query::read(
        c"SELECT 1::bigint FROM ward.audit_block WHERE tree_size = $1",
        &[Arg::Int8(size as i64)],
        |_| found = true,
    );
    found
}

/// Records that the log was meant to go on from an earlier state. Returns how many leaves of the former history it has.
#[pg_extern(parallel_unsafe)]
pub fn declare_restore(
    reason: Option<Text<'_>>,
    restored_size: default!(Option<i64>, "NULL"),
) -> Result<i64> {
    let reason = match &reason {
        Some(reason) => reason.utf8()?,
        None => Cow::default(),
    };
    let reason = std::str::from_utf8(&reason).map_err(|_| {
        error::report(
            PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
            "the reason is not valid UTF-8",
        )
    })?;
    let reason = reason.trim();
    if reason.is_empty() || reason.len() > usize::from(MAX_TEXT_LEN) {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("the reason must be a text of 1 to {MAX_TEXT_LEN} bytes"),
            "Say what was restored, why, and who decided it: ward.declare_restore('…').",
        ));
    }
    if crate::pg::context::read_only() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "a restore cannot be declared in a read-only transaction",
            "On a standby, call it on the primary.",
        ));
    }
    if !catalog::exists() {
        return Err(no_log());
    }
    let size = match restored_size {
        Some(size) => u64::try_from(size)
            .ok()
            .filter(|size| *size > 0 && owner::run(|| ends_a_block(*size)))
            .ok_or_else(|| no_block(size))?,
        None => owner::run(last_left).ok_or_else(no_log)?,
    };
    capture::order(process::now_micros(), |frame, leaf| {
        RestoreLeaf {
            frame,
            restored_size: size,
            reason,
        }
        .encode(leaf);
    })?;
    Ok(size as i64)
}

/// The size at which the log last went on elsewhere; the size it has now when it was not noticed to have done so, or when
/// that was declared already.
fn last_left() -> Option<u64> {
    let sealed = store::last_block()?.tree_size;
    let noticed = |identity: &Identity| {
        let declared = identity.restored_size.is_some();
        (!declared && ends_a_block(identity.left_at)).then_some(identity.left_at)
    };
    store::identity().map(|identity| noticed(&identity).unwrap_or(sealed))
}

fn no_log() -> ErrorReport {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        "there is no sealed audit log",
        "A restore is declared in the log that was restored.",
    )
}

fn no_block(size: i64) -> ErrorReport {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("no block of the audit log ends with {size} leaves"),
        "restored_size is the tree_size of the last block in ward.audit_blocks that the restore brought back.",
    )
}
