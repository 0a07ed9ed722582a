//! How far sealing is behind.

use super::{seal, store};
use crate::error::Result;
use crate::pg::journal::Mode;
use crate::pg::{owner, process};
use ward_log::{Leaf, Records, Snapshot};

/// How far sealing is behind.
pub struct Lag {
    /// Whether auditing was ever enabled here.
    pub has_log: bool,
    /// Committed entries that are in no block: changes and events.
    pub unsealed_entries: u64,
    /// Their bytes, with all that belongs to them.
    pub unsealed_bytes: usize,
    /// When the oldest of them was made, in microseconds since 1970.
    pub oldest_unsealed: Option<i64>,
    /// Seconds since the last block.
    pub last_block_age: Option<f64>,
}

/// Looks at the journals.
pub fn lag() -> Result<Lag> {
    owner::run(|| {
        if store::identity().is_none() {
            return Ok(Lag {
                has_log: false,
                unsealed_entries: 0,
                unsealed_bytes: 0,
                oldest_unsealed: None,
                last_block_age: None,
            });
        }
        let last = store::last_block();
        let snapshot = match &last {
            Some(block) => Snapshot::parse(&block.snapshot).map_err(crate::error::format)?,
            None => Snapshot::default(),
        };
        let mut found = Unsealed::default();
        for journal in seal::open_journals(Mode::Read)? {
            let mut chunks = Vec::new();
            journal.scan_visible(0, |id| {
                if !snapshot.visible(id.xid) {
                    chunks.push(id);
                }
            });
            chunks.sort_unstable_by_key(|id| (id.xid, id.position, id.part));
            let mut bytes = Vec::new();
            for id in chunks {
                if id.part == 0 {
                    found.add(&bytes);
                    bytes.clear();
                }
                journal.fetch(&id, &mut bytes);
            }
            found.add(&bytes);
        }
        Ok(Lag {
            has_log: true,
            unsealed_entries: found.entries,
            unsealed_bytes: found.bytes,
            oldest_unsealed: found.oldest,
            last_block_age: last
                .map(|block| (process::now_micros() - block.sealed_at) as f64 / 1_000_000.0),
        })
    })
}

/// What is not sealed.
#[derive(Default)]
struct Unsealed {
    entries: u64,
    bytes: usize,
    oldest: Option<i64>,
}

impl Unsealed {
    /// Counts the entries in records.
    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        for record in Records::new(bytes) {
            // what cannot be read is reported when it is sealed
            let Ok(record) = record else { break };
            let Ok(leaf) = Leaf::parse(record.leaf) else {
                continue;
            };
            let Some(frame) = leaf.frame() else { continue };
            let occurred_at = frame.occurred_at;
            self.entries += 1;
            let oldest = self.oldest.get_or_insert(occurred_at);
            *oldest = occurred_at.min(*oldest);
        }
    }
}

/// Leaves in the sealed log, None before the first block.
pub fn sealed_size() -> Option<u64> {
    store::last_block().map(|block| block.tree_size)
}
