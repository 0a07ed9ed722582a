//! What each fuzz target does with arbitrary bytes: a parser must neither panic nor accept what it would
//! not write itself, and nothing may open that was not sealed here.

mod crypto;
mod log;
mod seeds;

pub use crypto::{envelope, field, master_key, password_envelope};
pub use log::{checkpoint, log_image, log_leaf, log_record};
pub use seeds::seeds;
