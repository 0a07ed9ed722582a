//! The setting that holds the security context, and the hooks that guard it.

mod executor;
mod relation;
mod setting;
mod transaction;

pub use relation::{base_type, lock_exclusively};
pub use setting::{clear, store};

/// Registers the setting and the hooks. Called once, by the postmaster.
pub fn init() {
    setting::register();
    transaction::register();
    executor::register();
}
