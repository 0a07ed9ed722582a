//! SQL functions that move a key through its states: active, older, disabled, destroyed.

use super::admin::{require_data, wrong_purpose};
use super::cache::with_registry;
use super::error::KeyError;
use super::model::{Purpose, State};
use super::store::{self, StoredVersion};
use super::users;
use crate::error::Result;
use crate::pg::keys::nudge;
use pgrx::prelude::*;

/// Gives a key a new active version and returns its number. Older versions then only decrypt.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn rotate_encryption_key(name: Option<&str>) -> Result<i32> {
    let name = name.ok_or(KeyError::Null("name"))?;
    let purpose = with_registry(|registry| Ok::<_, KeyError>(registry.by_name(name)?.purpose))?;
    if purpose == Purpose::CheckpointSigning {
        // whoever verifies checkpoints has to be told
        return crate::audit::rotate_audit_signing_key();
    }
    store::change(|change| {
        let key = change.registry.by_name(name)?;
        if key.purpose == Purpose::Search {
            // Tags under two keys would never be equal, and searches would silently miss rows.
            return Err(wrong_purpose(key, "rotated"));
        }
        let active = key.active()?;
        let former = key.stored().into_iter().nth(active);
        let next = key.versions.last().map_or(1, |last| last.version + 1);
        let (key, purpose) = (key.key, key.purpose);
        let version = store::fresh_version(key, next, purpose)?;
        if let Some(former) = former {
            change.put_version(key, &in_state(former, State::DecryptOnly))?;
        }
        change.insert_version(key, &version)?;
        Ok(next)
    })
}

/// Stops all use of a key until it is enabled.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn disable_encryption_key(name: Option<&str>) -> Result<()> {
    let name = name.ok_or(KeyError::Null("name"))?;
    store::change(|change| {
        let key = change.registry.by_name(name)?;
        require_data(key, "disabled")?;
        key.active()?;
        let (key, versions) = (key.key, key.stored());
        for version in versions {
            change.put_version(key, &in_state(version, State::Disabled))?;
        }
        nudge::after_commit();
        Ok(())
    })
}

/// Allows the use of a disabled key again: the last version is active, older ones decrypt.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn enable_encryption_key(name: Option<&str>) -> Result<()> {
    let name = name.ok_or(KeyError::Null("name"))?;
    store::change(|change| {
        let key = change.registry.by_name(name)?;
        match key.active() {
            Ok(_) => return Err(KeyError::NotDisabled(name.to_owned())),
            Err(KeyError::Disabled(_)) => {}
            Err(error) => return Err(error),
        }
        let (key, mut versions) = (key.key, key.stored());
        let last = versions.pop();
        for version in versions {
            change.put_version(key, &in_state(version, State::DecryptOnly))?;
        }
        if let Some(version) = last {
            change.put_version(key, &in_state(version, State::Active))?;
        }
        Ok(())
    })
}

/// Erases a key's material for good. What it encrypted cannot be read any more. Refused while a
/// column names the key, unless it is forced.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn destroy_encryption_key(
    name: Option<&str>,
    confirm: Option<&str>,
    force: default!(Option<bool>, "false"),
) -> Result<()> {
    let name = name.ok_or(KeyError::Null("name"))?;
    let force = force.ok_or(KeyError::Null("force"))?;
    store::change(|change| {
        let key = change.registry.by_name(name)?;
        require_data(key, "destroyed")?;
        if confirm != Some(name) {
            return Err(KeyError::NotConfirmed(name.to_owned()));
        }
        if let Err(destroyed @ KeyError::Destroyed(_)) = key.active() {
            return Err(destroyed);
        }
        let (key, was_default, versions) = (key.key, key.is_default, key.stored());
        if !force {
            users::require_none(change.client, name)?;
        }
        for version in versions {
            change.put_version(key, &version.destroyed())?;
        }
        if was_default {
            change.put_key(key, name, Purpose::DataEncryption, false)?;
        }
        nudge::after_commit();
        Ok(())
    })
}

fn in_state(version: StoredVersion, state: State) -> StoredVersion {
    StoredVersion { state, ..version }
}
