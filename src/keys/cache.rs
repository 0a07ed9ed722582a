//! The registry as this backend last read it. A hit costs a comparison of stamps, never a query.

use super::error::KeyError;
use super::registry::Registry;
use super::stack;
use crate::pg::keys::invalidation::{self, Stamp};
use crate::pg::keys::process;
use std::cell::RefCell;

struct Cached {
    /// Of the process that made it: an encryptor that survived a fork on both sides would repeat
    /// nonces.
    process: i32,
    stamp: Stamp,
    roles: u64,
    registry: Registry,
}

thread_local! {
    static CACHE: RefCell<Option<Cached>> = const { RefCell::new(None) };
}

/// Drops the registry if it is out of date, which wipes its keys: for a session that may not ask for
/// it again for long.
pub fn drop_stale() {
    // While it is borrowed it is in use, and the next use or the end of the transaction looks again.
    let _ = CACHE.try_with(|cache| {
        if let Ok(mut cache) = cache.try_borrow_mut()
            && cache
                .as_ref()
                .is_some_and(|cached| cached.stamp != invalidation::stamp())
        {
            *cache = None;
        }
    });
}

/// Runs `f` with the registry as it is now. What is out of date is dropped, which wipes its keys.
pub fn with_registry<T>(
    f: impl FnOnce(&mut Registry) -> Result<T, KeyError>,
) -> Result<T, KeyError> {
    let outcome = CACHE.with_borrow_mut(|cache| {
        let stamp = invalidation::stamp();
        let current = cache
            .as_ref()
            .is_some_and(|cached| cached.stamp == stamp && cached.process == process::id());
        if !current {
            // First of all: if reading fails, nothing old is left to be used.
            *cache = None;
            *cache = Some(Cached {
                process: process::id(),
                stamp,
                roles: invalidation::roles_stamp(),
                registry: Registry::load()?,
            });
        }
        let Some(cached) = cache else {
            return Err(KeyError::NotInstalled);
        };
        let roles = invalidation::roles_stamp();
        if cached.roles != roles {
            cached.registry.forget_roles();
            cached.roles = roles;
        }
        f(&mut cached.registry)
    });
    stack::wipe();
    outcome
}
