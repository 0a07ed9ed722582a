//! The key registry: keys wrapped under a master key that never enters the database, who may use
//! them, and a cache per backend that notices every change at once.

mod admin;
mod authentic;
mod backup;
mod cache;
mod error;
mod export;
mod file;
mod grants;
mod import;
mod internal;
mod key;
mod lifecycle;
mod master;
mod model;
pub mod random;
mod registry;
mod rewrap;
pub mod seal;
mod search;
mod shredding;
mod stack;
mod store;
mod transfer;
mod trigger;
mod usage;
mod users;

pub use authentic::Row;
pub use cache::{drop_stale, with_registry};
pub use error::KeyError;
pub use internal::{
    InternalKey, active as active_internal_key, all_versions, ensure_internal_key, internal_key,
    renew_internal_key,
};
pub use key::Key;
pub use master::status as master_status;
pub use model::{Purpose, Usage, parse_name};
pub use random::bytes as random_bytes;
pub use registry::Registry;
pub use search::{make_search_key, search_key};
pub use stack::dirty as dirty_stack;
pub use usage::flush_by_worker;

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
        admin::set_encryption_key_max_age,
        lifecycle::rotate_encryption_key,
        lifecycle::disable_encryption_key,
        lifecycle::enable_encryption_key,
        lifecycle::destroy_encryption_key,
        grants::grant_key,
        grants::revoke_key,
        rewrap::rewrap_keys,
        shredding::shredding_status,
        export::export_encryption_keys,
        import::import_encryption_keys,
        usage::key_usage_counts,
        usage::flush_key_usage,
        trigger::registry_changed
    ]
);

/// Fetches the master key and registers what the cache relies on. Stops the server's start when the
/// master key's source is configured but unusable.
pub fn init() {
    crate::pg::keys::invalidation::init();
    crate::pg::keys::nudge::init();
    crate::pg::keys::usage::init();
    if let Err(error) = master::init().and_then(|()| backup::init()) {
        crate::error::raise(error);
    }
}
