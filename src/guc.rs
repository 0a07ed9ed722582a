//! Settings that more than one part reads, and the reserved prefix. Parts define their own
//! settings in their own `init`.

/// Defines the shared settings.
pub fn init() {}
