//! Moves the registry under another master key. No data is touched.

use super::error::KeyError;
use super::{master, store};
use crate::error::Result;
use pgrx::prelude::*;
use ward_crypto::MasterKey;

/// Wraps all versions under the first master key configured and authenticates all rows under it.
/// Returns how many versions were wrapped under another before.
///
/// One transaction: it counts as a whole or not at all. Everything is checked first, so that a row
/// that was altered is never given a MAC.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn rewrap_keys() -> Result<i32> {
    store::change(|change| {
        let current = master::with(|masters| masters.first().map(MasterKey::id))?
            .ok_or(KeyError::NoMaster)?;
        let mut registry = std::mem::take(&mut change.registry);
        for key in registry.keys_mut() {
            key.sound()?;
        }
        let mut rewrapped = 0;
        for key in registry.keys_mut() {
            if key.under != current {
                change.put_key(key.key, &key.name, key.purpose, key.is_default)?;
            }
            for place in 0..key.versions.len() {
                let Some(version) = key.versions.get(place) else {
                    continue;
                };
                let mut stored = version.stored();
                let foreign = version.wrapped_under() != Some(current);
                if stored.wrapped.is_some() && foreign {
                    let secret = key.material(place)?;
                    let (wrapped, master) =
                        store::wrap(key.key, stored.version, key.purpose, &secret)?;
                    stored.wrapped = Some(wrapped);
                    stored.wrapped_under(master);
                    rewrapped += 1;
                } else if version.under == current {
                    continue;
                }
                change.put_version(key.key, &stored)?;
            }
            for grant in key.grants.iter().filter(|grant| grant.under != current) {
                change.renew_grant(key.key, grant)?;
            }
        }
        crate::context::rewrap_issuer_keys(change.client, current)?;
        Ok(rewrapped)
    })
}
