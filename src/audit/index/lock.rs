//! Who may write the index: the sealing worker, except while somebody rebuilds it.

use crate::pg::{owner, worker};

/// Whether this transaction may write to the index, without waiting; keeps the right until it ends.
pub fn try_to_write() -> bool {
    owner::table(c"audit_record_index").is_some_and(worker::try_lock_to_write)
}

/// Keeps everybody else from writing to the index until the transaction ends.
pub fn exclusively() {
    if let Some(index) = owner::table(c"audit_record_index") {
        worker::lock_exclusively(index);
    }
}
