//! Settings: the reserved prefix, and re-reading the configuration in a background worker.

use pgrx::prelude::*;
use std::ffi::CStr;

/// Reads the configuration files again.
pub fn reload() {
    // SAFETY: called between transactions of a background worker, as its main loop should.
    unsafe { pg_sys::ProcessConfigFile(pg_sys::GucContext::PGC_SIGHUP) }
}

/// Reserves a prefix, so that a misspelt setting is noticed.
pub fn reserve_prefix(prefix: &CStr) {
    // SAFETY: a C string that is copied.
    unsafe { pg_sys::MarkGUCPrefixReserved(prefix.as_ptr()) }
}

/// Whether a boolean setting is on.
pub fn is_on(name: &CStr) -> bool {
    // SAFETY: the value is a C string or NULL for an unknown setting.
    unsafe {
        let value = pg_sys::GetConfigOption(name.as_ptr(), true, false);
        !value.is_null() && CStr::from_ptr(value) == c"on"
    }
}
