//! SQL functions that make and change keys. They run as the extension's owner, so that nobody else
//! needs rights on the tables; who may execute them is for the DBA to grant.

use super::error::KeyError;
use super::key::{Key, Version};
use super::model::{Purpose, State, Usages, parse_name};
use super::store::{self, Change};
use super::{grants, random};
use crate::error::Result;
use crate::pg::keys::acl::Name;
use pgrx::prelude::*;

/// Makes a key and returns its identity.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn generate_encryption_key(
    name: Option<&str>,
    purpose: default!(Option<&str>, "'data_encryption'"),
    grantee: default!(Option<Name>, "current_user"),
) -> Result<pgrx::Uuid> {
    let name = parse_name(name)?;
    let purpose = purpose.ok_or(KeyError::Null("purpose"))?;
    let purpose = Purpose::parse(purpose).ok_or(KeyError::UnknownPurpose)?;
    let grantee = match grantee {
        // Keys that pg_ward uses itself are granted to nobody.
        Some(Name(role)) if purpose == Purpose::DataEncryption => Some(grants::role(&role)?),
        _ => None,
    };
    store::change(|change| {
        let key = create(change, name, purpose, grantee.as_ref())?;
        Ok(pgrx::Uuid::from_bytes(key))
    })
}

/// Makes a key with its first version.
pub fn create(
    change: &mut Change<'_, '_>,
    name: &str,
    purpose: Purpose,
    grantee: Option<&grants::Role>,
) -> std::result::Result<[u8; 16], KeyError> {
    if change.registry.has_name(name) {
        return Err(KeyError::NameTaken(name.to_owned()));
    }
    // Column types name a key by a short hash of its name: 31 bits.
    if change.registry.has_modifier_of(name) {
        return Err(KeyError::NameClashes(name.to_owned()));
    }
    change.registry.require_masters()?;
    let keys = change.registry.keys();
    let is_data = purpose == Purpose::DataEncryption;
    if !is_data && keys.iter().any(|key| key.purpose == purpose) {
        return Err(KeyError::PurposeTaken(purpose));
    }
    let is_default = is_data && !keys.iter().any(|key| key.is_default);
    let key = uuid::Builder::from_random_bytes(random::bytes()?)
        .into_uuid()
        .into_bytes();
    let version = store::fresh_version(key, 1, purpose)?;
    change.insert_key(key, name, purpose, is_default)?;
    change.insert_version(key, version)?;
    if let Some(role) = grantee {
        change.put_grant(key, &role.name, role.oid, Usages::CREATOR)?;
    }
    Ok(key)
}

/// Makes a key the one that NULL means.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn set_default_encryption_key(name: Option<&str>) -> Result<()> {
    let name = name.ok_or(KeyError::Null("name"))?;
    store::change(|change| {
        let key = change.registry.by_name(name)?;
        require_data(key, "the default key")?;
        key.active()?;
        let chosen = key.key;
        let former = match change.registry.default_key() {
            Err(KeyError::NoDefault) => None,
            key => Some(key?).map(|key| (key.key, key.name.clone())),
        };
        match former {
            Some((key, _)) if key == chosen => return Ok(()),
            Some((key, name)) => change.set_default(key, &name, false)?,
            None => {}
        }
        change.set_default(chosen, name, true)
    })
}

/// Gives a key a new active version and returns its number. Older versions then only decrypt.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn rotate_encryption_key(name: Option<&str>) -> Result<i32> {
    let name = name.ok_or(KeyError::Null("name"))?;
    store::change(|change| {
        let key = change.registry.by_name(name)?;
        if key.purpose == Purpose::Search {
            // Tags under two keys would never be equal, and searches would silently miss rows.
            return Err(wrong_purpose(key, "rotated"));
        }
        let active = key.active()?;
        let states: Vec<_> = key
            .versions
            .iter_mut()
            .skip(active)
            .take(1)
            .map(stored)
            .collect();
        let next = key.versions.last().map_or(1, |last| last.version + 1);
        let (key, purpose) = (key.key, key.purpose);
        let version = store::fresh_version(key, next, purpose)?;
        for (version, key_id, wrapped) in states {
            change.set_state(key, version, key_id, State::DecryptOnly, wrapped)?;
        }
        change.insert_version(key, version)?;
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
        let key_id = key.key;
        for (version, id, wrapped) in key.versions.iter_mut().map(stored).collect::<Vec<_>>() {
            change.set_state(key_id, version, id, State::Disabled, wrapped)?;
        }
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
        let identity = key.key;
        let mut versions: Vec<_> = key.versions.iter_mut().map(stored).collect();
        let last = versions.pop();
        for (version, id, wrapped) in versions {
            change.set_state(identity, version, id, State::DecryptOnly, wrapped)?;
        }
        if let Some((version, id, wrapped)) = last {
            change.set_state(identity, version, id, State::Active, wrapped)?;
        }
        Ok(())
    })
}

/// Erases a key's material for good. What it encrypted cannot be read any more.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn destroy_encryption_key(name: Option<&str>, confirm: Option<&str>) -> Result<()> {
    let name = name.ok_or(KeyError::Null("name"))?;
    store::change(|change| {
        let key = change.registry.by_name(name)?;
        require_data(key, "destroyed")?;
        if confirm != Some(name) {
            return Err(KeyError::NotConfirmed(name.to_owned()));
        }
        if let Err(destroyed @ KeyError::Destroyed(_)) = key.active() {
            return Err(destroyed);
        }
        let (identity, was_default) = (key.key, key.is_default);
        for (version, id, _) in key.versions.iter_mut().map(stored).collect::<Vec<_>>() {
            change.set_state(identity, version, id, State::Destroyed, None)?;
        }
        if was_default {
            change.set_default(identity, name, false)?;
        }
        Ok(())
    })
}

type Stored = (i32, [u8; 8], Option<Vec<u8>>);

fn stored(version: &mut Version) -> Stored {
    (version.version, version.key_id.0, version.take_wrapped())
}

/// Refuses what must not happen to a key that pg_ward uses itself.
fn require_data(key: &Key, action: &'static str) -> std::result::Result<(), KeyError> {
    match key.purpose {
        Purpose::DataEncryption => Ok(()),
        _ => Err(wrong_purpose(key, action)),
    }
}

fn wrong_purpose(key: &Key, action: &'static str) -> KeyError {
    KeyError::WrongPurpose {
        name: key.name.clone(),
        purpose: key.purpose,
        action,
    }
}
