//! Wipes what key material leaves on the stack. Values that are wiped when dropped still leave copies
//! where they were moved from, and so do key schedules; here the stack is overwritten as a whole.

use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use zeroize::{Zeroize, Zeroizing};

/// More than everything that handles key material takes.
const DEPTH: usize = 64 * 1024;

/// Of this process, which has one thread.
static DIRTY: AtomicBool = AtomicBool::new(false);

/// To be called wherever key material is unwrapped or a cipher is set up: seldom, thanks to the cache.
pub fn dirty() {
    DIRTY.store(true, Ordering::Relaxed);
}

/// Overwrites the stack below the caller, if key material was handled since the last time.
pub fn wipe() {
    if DIRTY.load(Ordering::Relaxed) {
        DIRTY.store(false, Ordering::Relaxed);
        overwrite();
    }
}

#[inline(never)]
fn overwrite() {
    let mut residue = Zeroizing::new([0u8; DEPTH]);
    // Seen as used, so that the compiler does not leave it out.
    black_box(&mut *residue).zeroize();
}
