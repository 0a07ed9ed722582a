//! Re-reading the configuration in a background worker.

use pgrx::prelude::*;

/// Reads the configuration files again.
pub fn reload() {
    // SAFETY: called between transactions of a background worker, as its main loop should.
    unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) }
}
