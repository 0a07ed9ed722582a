//! Ends what a test has others do until it says so.

use std::sync::atomic::{AtomicBool, Ordering};

/// Raises a flag when it is dropped: threads that go on until then end also when the test fails, which otherwise would
/// wait for them for ever.
pub struct Stop<'f>(pub &'f AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}
