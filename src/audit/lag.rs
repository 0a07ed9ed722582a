//! How far sealing is behind.

use super::{seal, store};
use crate::error::Result;
use crate::pg::journal::Mode;
use crate::pg::{owner, process};
use ward_log::Snapshot;

/// How far sealing is behind.
pub struct Lag {
    /// Whether auditing was ever enabled here.
    pub has_log: bool,
    /// Bytes of committed entries that are in no block.
    pub unsealed_bytes: usize,
    /// Seconds since the last block.
    pub last_block_age: Option<f64>,
}

/// Looks at the journals.
pub fn lag() -> Result<Lag> {
    owner::run(|| {
        if store::identity().is_none() {
            return Ok(Lag {
                has_log: false,
                unsealed_bytes: 0,
                last_block_age: None,
            });
        }
        let last = store::last_block();
        let snapshot = match &last {
            Some(block) => Snapshot::parse(&block.snapshot).map_err(crate::error::format)?,
            None => Snapshot::default(),
        };
        let mut unsealed_bytes = 0;
        for journal in seal::open_journals(Mode::Read)? {
            let mut chunks = Vec::new();
            journal.scan_visible(0, |id| {
                if !snapshot.visible(id.xid) {
                    chunks.push(id);
                }
            });
            let mut bytes = Vec::new();
            for id in chunks {
                bytes.clear();
                journal.fetch(&id, &mut bytes);
                unsealed_bytes += bytes.len();
            }
        }
        Ok(Lag {
            has_log: true,
            unsealed_bytes,
            last_block_age: last
                .map(|block| (process::now_micros() - block.sealed_at) as f64 / 1_000_000.0),
        })
    })
}

/// Leaves in the sealed log, None before the first block.
pub fn sealed_size() -> Option<u64> {
    store::last_block().map(|block| block.tree_size)
}
