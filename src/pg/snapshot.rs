//! Snapshots with 64-bit transaction ids.

use pgrx::prelude::*;
use ward_log::Snapshot;

/// The active snapshot as full transaction ids. Subtransactions are left out: only top-level ids
/// are stored in the journal.
pub fn active() -> Snapshot {
    // SAFETY: an active snapshot exists inside a function call or after `push`; its xip array holds
    // xcnt ids.
    unsafe {
        let next = pg_sys::ReadNextFullTransactionId().value;
        let snapshot = &*pg_sys::GetActiveSnapshot();
        let mut xip: Vec<u64> = if snapshot.xcnt == 0 {
            Vec::new()
        } else {
            std::slice::from_raw_parts(snapshot.xip, snapshot.xcnt as usize)
                .iter()
                .map(|xid| widen(next, xid.into_inner()))
                .collect()
        };
        xip.sort_unstable();
        Snapshot {
            xmin: widen(next, snapshot.xmin.into_inner()),
            xmax: widen(next, snapshot.xmax.into_inner()),
            xip,
        }
    }
}

/// The full id of `xid`, which is not newer than `next` and within 2^31 of it.
fn widen(next: u64, xid: u32) -> u64 {
    let full = (next & !0xFFFF_FFFF) | u64::from(xid);
    if full > next {
        full.wrapping_sub(1 << 32)
    } else {
        full
    }
}

/// The next full transaction id the cluster will assign.
pub fn next_xid() -> u64 {
    // SAFETY: reads shared state.
    unsafe { pg_sys::ReadNextFullTransactionId().value }
}
