//! The key registry: keys wrapped under a master key that never enters the database, who may use
//! them, and a cache per backend that notices every change at once.

mod admin;
mod authentic;
mod cache;
mod command;
mod error;
mod grants;
mod internal;
mod key;
mod master;
mod model;
pub mod random;
mod registry;
pub mod seal;
mod search;
mod store;
mod trigger;

pub use authentic::Row;
pub use error::KeyError;
pub use internal::{all_versions, ensure_internal_key, internal_key, renew_internal_key};
pub use master::status as master_status;
pub use model::{Purpose, Usage, parse_name};

pub use cache::with_registry;
pub use key::Key;
pub use random::bytes as random_bytes;
pub use registry::Registry;
pub use search::search_key;

pgrx::extension_sql_file!(
    "../../sql/keys.sql",
    name = "ward_keys",
    requires = ["ward_schema"]
);
pgrx::extension_sql_file!(
    "../../sql/keys_functions.sql",
    name = "ward_keys_functions",
    requires = [
        "ward_keys",
        admin::generate_encryption_key,
        admin::set_default_encryption_key,
        admin::rotate_encryption_key,
        admin::disable_encryption_key,
        admin::enable_encryption_key,
        admin::destroy_encryption_key,
        grants::grant_key,
        grants::revoke_key,
        trigger::registry_changed
    ]
);

/// Fetches the master key and registers what the cache relies on. Stops the server's start when the
/// master key's source is configured but unusable.
pub fn init() {
    crate::pg::keys::invalidation::init();
    if let Err(error) = master::init() {
        crate::error::raise(error);
    }
}
