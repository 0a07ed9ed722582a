//! Imports keys that another server exported under a backup master key that this one has too.

use super::error::KeyError;
use super::export::portable;
use super::model::{Purpose, RESERVED_PREFIX, State, parse_name};
use super::store::{self, Change, StoredVersion};
use super::transfer::{Document, ExportedKey, ExportedVersion, hex_id, malformed};
use super::{backup, key::Key};
use crate::error::Result;
use pgrx::prelude::*;
use std::collections::HashSet;
use ward_crypto::{MasterKey, SecretKey, WrapContext, unwrap_key, wrapped_by};

/// Stores the keys of an export, wrapped under this server's master key, and returns how many
/// versions were new. All or nothing. A key that is here already stays as it is; one that was
/// destroyed here stays destroyed. Nobody is granted anything.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn import_encryption_keys(document: Option<&str>) -> Result<i32> {
    let text = document.ok_or(KeyError::Null("document"))?;
    store::change(|change| {
        let masters = backup::keys()?;
        let document = Document::read(&masters, text)?;
        let mut seen = HashSet::new();
        let mut imported = 0;
        for exported in &document.keys {
            let identity = uuid::Uuid::parse_str(&exported.key)
                .map_err(|_| malformed("the identity of a key is no UUID"))?
                .into_bytes();
            if !seen.insert(identity) {
                return Err(malformed("it has a key twice"));
            }
            imported += import(change, &masters, identity, exported)?;
        }
        Ok(imported)
    })
}

type Outcome<T> = std::result::Result<T, KeyError>;

fn import(
    change: &mut Change<'_, '_>,
    masters: &[MasterKey],
    identity: [u8; 16],
    exported: &ExportedKey,
) -> Outcome<i32> {
    let purpose = Purpose::parse(&exported.purpose)
        .filter(|purpose| portable(*purpose))
        .ok_or_else(|| malformed("a key has a purpose that is not exported"))?;
    let reserved = format!("{RESERVED_PREFIX}{}", purpose.as_str());
    if !(purpose == Purpose::Search && exported.name == reserved) {
        parse_name(Some(&exported.name))?;
    }
    let mut versions = Vec::new();
    for version in &exported.versions {
        versions.push(unwrap(masters, identity, purpose, version)?);
    }
    let rising = versions.is_sorted_by(|one, next| one.0.version < next.0.version);
    let active = versions
        .iter()
        .rposition(|(version, _)| version.state == State::Active);
    if !rising || active.is_some_and(|place| place + 1 != versions.len()) {
        return Err(malformed("the versions of a key are out of order"));
    }
    let other = || KeyError::OtherMaterial(exported.name.clone());
    let present = change
        .registry
        .keys_mut()
        .iter_mut()
        .find(|key| key.key == identity);
    if let Some(present) = present {
        let present = present.sound()?;
        if present.name != exported.name || present.purpose != purpose {
            return Err(other());
        }
        let held = Held::of(present);
        return merge(change, identity, purpose, &exported.name, held, versions);
    }
    let registry = &change.registry;
    let taken = registry.has_name(&exported.name)
        || (purpose != Purpose::DataEncryption
            && registry.keys().iter().any(|key| key.purpose == purpose))
        || versions
            .iter()
            .any(|(version, _)| registry.has_id(version.key_id));
    if taken {
        return Err(other());
    }
    if registry.has_modifier_of(&exported.name) {
        return Err(KeyError::NameClashes(exported.name.clone()));
    }
    registry.require_masters()?;
    let is_default = purpose == Purpose::DataEncryption
        && exported.is_default
        && !registry.keys().iter().any(|key| key.is_default);
    change.insert_key(identity, &exported.name, purpose, is_default, None)?;
    insert(change, identity, purpose, versions)
}

/// What this server has of a key.
struct Held {
    versions: Vec<StoredVersion>,
    destroyed: bool,
    disabled: bool,
}

impl Held {
    fn of(key: &Key) -> Self {
        let active = key.active();
        Self {
            versions: key.stored(),
            destroyed: matches!(active, Err(KeyError::Destroyed(_))),
            disabled: matches!(active, Err(KeyError::Disabled(_))),
        }
    }
}

/// Adds the versions that came later on the other server. What is here already stays as it is.
fn merge(
    change: &mut Change<'_, '_>,
    identity: [u8; 16],
    purpose: Purpose,
    name: &str,
    held: Held,
    versions: Vec<(StoredVersion, SecretKey)>,
) -> Outcome<i32> {
    let mut new = Vec::new();
    let last = held.versions.last().map_or(0, |version| version.version);
    for (version, secret) in versions {
        let here = held
            .versions
            .iter()
            .find(|known| known.version == version.version);
        match here {
            Some(known) if known.key_id == version.key_id => {}
            None if version.version > last && !change.registry.has_id(version.key_id) => {
                new.push((version, secret));
            }
            _ => return Err(KeyError::OtherMaterial(name.to_owned())),
        }
    }
    if held.destroyed {
        pgrx::notice!("encryption key \"{name}\" was destroyed on this server and stays so");
        return Ok(0);
    }
    if held.disabled {
        for (version, _) in &mut new {
            version.state = State::Disabled;
        }
    }
    if new
        .iter()
        .any(|(version, _)| version.state == State::Active)
    {
        let former = held
            .versions
            .into_iter()
            .filter(|version| version.state == State::Active);
        for version in former {
            let older = StoredVersion {
                state: State::DecryptOnly,
                ..version
            };
            change.put_version(identity, &older)?;
        }
    } else if !held.disabled {
        // The key was disabled there, and is not here.
        for (version, _) in &mut new {
            version.state = State::DecryptOnly;
        }
    }
    insert(change, identity, purpose, new)
}

fn insert(
    change: &mut Change<'_, '_>,
    identity: [u8; 16],
    purpose: Purpose,
    versions: Vec<(StoredVersion, SecretKey)>,
) -> Outcome<i32> {
    let mut inserted = 0;
    for (mut version, secret) in versions {
        let (wrapped, master) = store::wrap(identity, version.version, purpose, &secret)?;
        version.wrapped = Some(wrapped);
        version.wrapped_under(master);
        change.insert_version(identity, &version)?;
        inserted += 1;
    }
    Ok(inserted)
}

/// The version with its material, checked against the id that values name it by. It is not wrapped
/// under this server's master key yet.
fn unwrap(
    masters: &[MasterKey],
    key: [u8; 16],
    purpose: Purpose,
    exported: &ExportedVersion,
) -> Outcome<(StoredVersion, SecretKey)> {
    let bad = || malformed("a version of a key cannot be read");
    let number = u32::try_from(exported.version)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(bad)?;
    let key_id = hex_id(&exported.key_id).ok_or_else(bad)?;
    let state = State::parse(&exported.state)
        .filter(|state| *state != State::Destroyed)
        .ok_or_else(bad)?;
    let wrapped = hex::decode(&exported.wrapped).map_err(|_| bad())?;
    let context = WrapContext {
        key,
        version: number,
        purpose: purpose.as_str(),
    };
    let secret = unwrap_key(masters, &context, &wrapped).map_err(|_| KeyError::TamperedExport)?;
    if secret.id().0 != key_id {
        return Err(KeyError::TamperedExport);
    }
    Ok((
        StoredVersion {
            version: exported.version,
            key_id,
            state,
            wrapped: None,
            masters: wrapped_by(&wrapped).map_err(|_| bad())?.to_vec(),
        },
        secret,
    ))
}
