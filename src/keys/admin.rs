//! SQL functions that make keys and say what they are for. They run as the extension's owner, so
//! that nobody else needs rights on the tables; who may execute them is for the DBA to grant.

use super::error::KeyError;
use super::key::Key;
use super::model::{Purpose, Usages, parse_name};
use super::store::{self, Change};
use super::{grants, random};
use crate::error::Result;
use crate::pg::keys::acl::Name;
use pgrx::datum::Interval;
use pgrx::prelude::*;

/// The longest maximum age: 100 years, with months of 30 days.
const LONGEST_AGE: i128 = 100 * 12 * 30 * 24 * 3600 * 1_000_000;

/// Makes a key and returns its identity.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn generate_encryption_key(
    name: Option<&str>,
    purpose: default!(Option<&str>, "'data_encryption'"),
    grantee: default!(Option<Name>, "current_user"),
    max_age: default!(Option<Interval>, "NULL"),
) -> Result<pgrx::Uuid> {
    let name = parse_name(name)?;
    let purpose = purpose.ok_or(KeyError::Null("purpose"))?;
    let purpose = Purpose::parse(purpose).ok_or(KeyError::UnknownPurpose)?;
    let max_age = parse_age(max_age)?;
    if max_age.is_some() && purpose == Purpose::Search {
        return Err(KeyError::WrongPurpose {
            name: name.to_owned(),
            purpose,
            action: "given a maximum age",
        }
        .into());
    }
    let grantee = match grantee {
        // Keys that pg_ward uses itself are granted to nobody.
        Some(Name(role)) if purpose == Purpose::DataEncryption => Some(grants::role(&role)?),
        _ => None,
    };
    store::change(|change| {
        let key = create(change, name, purpose, grantee.as_ref(), max_age)?;
        Ok(pgrx::Uuid::from_bytes(key))
    })
}

/// Makes a key with its first version.
pub fn create(
    change: &mut Change<'_, '_>,
    name: &str,
    purpose: Purpose,
    grantee: Option<&grants::Role>,
    max_age: Option<Interval>,
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
    change.insert_key(key, name, purpose, is_default, max_age)?;
    change.insert_version(key, &version)?;
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
            Some((key, name)) => change.put_key(key, &name, Purpose::DataEncryption, false)?,
            None => {}
        }
        change.put_key(chosen, name, Purpose::DataEncryption, true)
    })
}

/// Says after what time a version of the key should be replaced; NULL for never.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn set_encryption_key_max_age(name: Option<&str>, max_age: Option<Interval>) -> Result<()> {
    let name = name.ok_or(KeyError::Null("name"))?;
    let max_age = parse_age(max_age)?;
    store::change(|change| {
        let key = change.registry.by_name(name)?;
        if key.purpose == Purpose::Search {
            return Err(wrong_purpose(key, "given a maximum age"));
        }
        let key = key.key;
        change.set_max_age(key, max_age)
    })
}

/// An age whose every part is sensible, so that adding it to a time cannot fail.
fn parse_age(age: Option<Interval>) -> std::result::Result<Option<Interval>, KeyError> {
    let Some(age) = age else { return Ok(None) };
    let negative = age.months() < 0 || age.days() < 0 || age.micros() < 0;
    if negative || !(1..=LONGEST_AGE).contains(&age.as_micros()) {
        return Err(KeyError::BadAge);
    }
    Ok(Some(age))
}

/// Refuses what must not happen to a key that pg_ward uses itself.
pub fn require_data(key: &Key, action: &'static str) -> std::result::Result<(), KeyError> {
    match key.purpose {
        Purpose::DataEncryption => Ok(()),
        _ => Err(wrong_purpose(key, action)),
    }
}

/// The key is for something else.
pub fn wrong_purpose(key: &Key, action: &'static str) -> KeyError {
    KeyError::WrongPurpose {
        name: key.name.clone(),
        purpose: key.purpose,
        action,
    }
}
