//! Keys that pg_ward uses itself. No role is asked for a grant: they serve every session.

use super::cache::with_registry;
use super::error::KeyError;
use super::model::{Purpose, RESERVED_PREFIX, State};
use super::store::StoredVersion;
use super::{admin, registry::Registry, store};
use crate::error::Result;
use std::rc::Rc;
use ward_crypto::{KeyId, SecretKey};

/// The active version of a key that pg_ward uses itself. Cheap to clone.
#[derive(Clone)]
pub struct InternalKey {
    /// Names the version.
    pub id: KeyId,
    /// The key itself, wiped when the last holder drops it. Do not keep it over a transaction's end:
    /// ask again, the cache makes that cheap.
    pub material: Rc<SecretKey>,
}

/// The active key of a purpose; an error when there is none.
pub fn internal_key(purpose: Purpose) -> Result<InternalKey> {
    Ok(with_registry(|registry| active(registry, purpose))?)
}

/// The material of every version of a purpose that is still there, the oldest first: what was made
/// under an older version must still verify.
pub fn all_versions(purpose: Purpose) -> Result<Vec<InternalKey>> {
    Ok(with_registry(|registry| {
        let key = match registry.of_purpose(purpose) {
            Err(KeyError::NoInternal(_)) => return Ok(Vec::new()),
            key => key?,
        };
        let usable: Vec<(usize, KeyId)> = (0..)
            .zip(&key.versions)
            .filter(|(_, version)| matches!(version.state, State::Active | State::DecryptOnly))
            .map(|(place, version)| (place, version.key_id))
            .collect();
        usable
            .into_iter()
            .map(|(place, id)| {
                let material = key.secret(place)?;
                Ok(InternalKey { id, material })
            })
            .collect()
    })?)
}

/// The active key of a purpose, made now if there is none. Runs as the caller's role, which must be
/// allowed to write the registry: call it from functions that are SECURITY DEFINER.
pub fn ensure_internal_key(purpose: Purpose) -> Result<InternalKey> {
    match with_registry(|registry| active(registry, purpose)) {
        Err(KeyError::NoInternal(_)) => {}
        found => return Ok(found?),
    }
    store::change(|change| {
        // Another session may have been first while this one waited for the lock.
        if let Err(KeyError::NoInternal(_)) = change.registry.of_purpose(purpose) {
            let name = format!("{RESERVED_PREFIX}{}", purpose.as_str());
            admin::create(change, &name, purpose, None, None)?;
        }
        Ok(())
    })?;
    internal_key(purpose)
}

/// Gives a key that pg_ward uses itself a new active version, and returns its number. What was made
/// under older versions can still be verified and opened.
pub fn renew_internal_key(purpose: Purpose) -> Result<i32> {
    store::change(|change| {
        let key = change.registry.of_purpose(purpose)?;
        let place = key.active()?;
        let identity = key.key;
        let next = key.versions.last().map_or(1, |last| last.version + 1);
        let former = key.stored().into_iter().nth(place);
        let new = store::fresh_version(identity, next, purpose)?;
        if let Some(former) = former {
            let older = StoredVersion {
                state: State::DecryptOnly,
                ..former
            };
            change.put_version(identity, &older)?;
        }
        change.insert_version(identity, &new)?;
        Ok(next)
    })
}

/// The active version of the only key of a purpose.
pub fn active(
    registry: &mut Registry,
    purpose: Purpose,
) -> std::result::Result<InternalKey, KeyError> {
    let key = registry.of_purpose(purpose)?;
    let place = key.active()?;
    let material = key.secret(place)?;
    let id = key
        .versions
        .get(place)
        .map(|version| version.key_id)
        .ok_or(KeyError::NoInternal(purpose))?;
    Ok(InternalKey { id, material })
}
