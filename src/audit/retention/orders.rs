//! What the sealer does with the orders of a transaction: checks the rules (docs/log-format.md, section 13), and keeps
//! what is to be carried out.

use super::policy;
use crate::audit::store;
use crate::error::{self, Result};
use crate::pg::worker;
use pgrx::prelude::*;
use ward_log::{Leaf, PruneLeaf, RetentionPolicy};

/// The orders of one block.
pub struct Orders {
    /// The first leaf of the block.
    first_leaf: u64,
    sealed_at: i64,
    state: Option<State>,
}

struct State {
    policy: RetentionPolicy,
    time: i64,
    segment: u64,
}

impl Orders {
    /// Of a block that begins with this leaf.
    pub fn new(first_leaf: u64, sealed_at: i64) -> Self {
        Self {
            first_leaf,
            sealed_at,
            state: None,
        }
    }

    /// Accepts the orders of a transaction that checked out, all or none: entries and leaves. Says which rule one
    /// breaks.
    pub fn accept(&mut self, orders: &[(u64, Vec<u8>)]) -> Result<Option<&'static str>> {
        let state = self.state.get_or_insert_with(|| State {
            policy: policy::load(),
            time: self.sealed_at.max(policy::time_of(u64::MAX)),
            segment: 1 << store::segment_bits(),
        });
        let before = state.policy;
        for (_, bytes) in orders {
            match Leaf::parse(bytes).map_err(error::format)? {
                Leaf::Retention(leaf) => {
                    state
                        .policy
                        .change(leaf.period, leaf.effective_at, state.time)
                }
                Leaf::Prune(leaf) => {
                    if let Some(breach) = breach(&leaf, state, self.first_leaf)? {
                        state.policy = before;
                        return Ok(Some(breach));
                    }
                }
                _ => {}
            }
        }
        for (entry, bytes) in orders {
            match Leaf::parse(bytes).map_err(error::format)? {
                Leaf::Retention(leaf) => policy::put(*entry, &leaf, state.time)?,
                Leaf::Prune(leaf) => put(*entry, "prune", bytes, Some(leaf.from), leaf.to)?,
                Leaf::Erase(_) => put(*entry, "erase", bytes, None, *entry)?,
                _ => {}
            }
        }
        Ok(None)
    }
}

/// The rule that a prune leaf breaks.
fn breach(leaf: &PruneLeaf, state: &State, first_leaf: u64) -> Result<Option<&'static str>> {
    let whole = |bound: u64| bound.is_multiple_of(state.segment);
    Ok(if !whole(leaf.from) || !whole(leaf.to) {
        Some("the prune leaf does not name whole segments")
    } else if leaf.checkpoint_size > first_leaf {
        Some("the prune leaf names a checkpoint of leaves that came later")
    } else if state.policy.in_force(state.time) != leaf.period {
        Some("the prune leaf names a retention period that is not in force")
    } else if state.time.saturating_sub(policy::time_of(leaf.to)) < leaf.period {
        Some("the prune leaf names leaves that are too young")
    } else if store::root_at(leaf.to) != Some(leaf.root) {
        Some("the prune leaf names another tree")
    } else if !policy::is_published_at(leaf.checkpoint_size)? {
        Some("the prune leaf names a checkpoint that was not published")
    } else {
        None
    })
}

/// Keeps an accepted order until it is carried out.
fn put(entry: u64, kind: &str, leaf: &[u8], from: Option<u64>, to: u64) -> Result<()> {
    Spi::run_with_args(
        "INSERT INTO ward.audit_removal (entry_id, kind, leaf, from_entry, to_entry, sealed_by) \
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            (entry as i64).into(),
            kind.into(),
            leaf.into(),
            from.map(|from| from as i64).into(),
            (to as i64).into(),
            (worker::assigned_xid() as i64).into(),
        ],
    )
    .map_err(error::spi)
}
