//! The setting that holds the security context, and the hooks that guard it.

mod accessor;
mod executor;
pub mod jwt_rows;
mod mode;
mod refusal;
mod relation;
mod setting;
mod transaction;
pub mod trial;

pub use mode::{read_only, statement_start_micros, token_mode};
pub use refusal::hiding_statement;
pub use relation::{CREATED, NewIndex, base_type, lock_exclusively};
pub use setting::{clear, store};

/// Registers the setting and the hooks. Called once, by the postmaster.
pub fn init() {
    mode::register();
    setting::register();
    transaction::register();
    executor::register();
}
