//! The key that search tags are computed with. There is one in a database, so that equal values of
//! different columns find each other; grants are on the keys that encrypt.

use super::cache::with_registry;
use super::error::KeyError;
use super::internal::{InternalKey, active, ensure_internal_key};
use super::model::{Purpose, Usage};
use super::registry::Registry;
use crate::error::Result;
use crate::pg::keys::acl;
use crate::pg::owner;
use pgrx::pg_sys::Oid;

/// The search key, for a role that has usage search of at least one key that encrypts. Made on first
/// need, which a standby, a read-only transaction and a parallel worker cannot do.
pub fn search_key() -> Result<InternalKey> {
    let user = acl::current_user();
    let found = with_registry(|registry| {
        may_search(registry, user)?;
        active(registry, Purpose::Search)
    });
    match found {
        Err(KeyError::NoInternal(_)) => make_search_key(),
        found => Ok(found?),
    }
}

/// Makes the search key if there is none. Fails where nothing can be written.
pub fn make_search_key() -> Result<InternalKey> {
    owner::run(|| ensure_internal_key(Purpose::Search))
}

fn may_search(registry: &mut Registry, user: Oid) -> std::result::Result<(), KeyError> {
    if registry.allows_any(user, Usage::Search) {
        return Ok(());
    }
    let role = acl::role_name(user);
    Err(KeyError::NoSearch(
        role.unwrap_or_else(|| "unknown".to_owned()),
    ))
}
