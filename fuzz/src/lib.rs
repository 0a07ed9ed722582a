//! What each fuzz target does with arbitrary bytes: a parser must neither panic nor accept what it would
//! not write itself, and nothing may open that was not sealed here.

mod crypto;
mod export;
mod log;
mod proof;
mod seeds;

pub use crypto::{column_value, envelope, field, master_key, password_envelope};
pub use export::export;
pub use log::{checkpoint, cosignature, log_image, log_leaf, log_record};
pub use proof::proof;
pub use seeds::seeds;
