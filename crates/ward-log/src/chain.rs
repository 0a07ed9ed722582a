//! The running hash over the leaves of one transaction.

use sha2::{Digest, Sha256};

use crate::hash::{Hash, empty_root};

/// `SHA-256` over the concatenated leaf hashes of a transaction, and how many they are.
///
/// A writer clones it at a savepoint and puts the clone back when the savepoint is rolled back.
#[derive(Clone, Default)]
pub struct TransactionChain {
    hasher: Sha256,
    count: u32,
}

impl TransactionChain {
    /// The chain of a transaction without leaves.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the hash of the transaction's next leaf.
    #[inline]
    pub fn push(&mut self, leaf_hash: &Hash) {
        self.hasher.update(leaf_hash);
        // a transaction of 2^32 leaves is refused by whoever numbers them; the count saturates rather than wraps
        self.count = self.count.saturating_add(1);
    }

    /// The hash over the leaves pushed so far.
    pub fn digest(&self) -> Hash {
        // a transaction of one change has no other leaf
        if self.count == 0 {
            return empty_root();
        }
        self.hasher.clone().finalize().into()
    }

    /// How many leaves were pushed: the position of the next one.
    #[inline]
    pub fn count(&self) -> u32 {
        self.count
    }
}

impl std::fmt::Debug for TransactionChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransactionChain")
            .field("count", &self.count)
            .finish_non_exhaustive()
    }
}
