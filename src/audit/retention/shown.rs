//! Orders as the trail shows them: JSON objects.

use crate::audit::image::quoted;
use ward_log::{EraseLeaf, KeyChangeLeaf, PruneLeaf, RestoreLeaf, RetentionLeaf};

/// What a prune leaf orders.
pub fn prune(leaf: &PruneLeaf) -> String {
    format!(
        "{{\"from_entry\":{},\"to_entry\":{},\"checkpoint_size\":{},\"period_seconds\":{}}}",
        leaf.from,
        leaf.to - 1,
        leaf.checkpoint_size,
        leaf.period / 1_000_000
    )
}

/// What an erase leaf orders; the record stands in columns of its own.
pub fn erase(leaf: &EraseLeaf) -> String {
    format!("{{\"reason\":{}}}", quoted(leaf.reason))
}

/// What a retention leaf orders.
pub fn retention(leaf: &RetentionLeaf) -> String {
    format!(
        "{{\"period_seconds\":{},\"effective_at\":{}}}",
        leaf.period / 1_000_000,
        leaf.effective_at / 1_000_000
    )
}

/// What a restore leaf declares.
pub fn restore(leaf: &RestoreLeaf) -> String {
    format!(
        "{{\"restored_size\":{},\"reason\":{}}}",
        leaf.restored_size,
        quoted(leaf.reason)
    )
}

/// What a key change leaf says.
pub fn key_change(leaf: &KeyChangeLeaf) -> String {
    format!(
        "{{\"old_key\":\"{}\",\"new_key\":\"{}\"}}",
        hex::encode(leaf.old_key),
        hex::encode(leaf.new_key)
    )
}
