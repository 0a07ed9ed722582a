//! context

/// Registers this part's settings and hooks.
pub fn init() {}
