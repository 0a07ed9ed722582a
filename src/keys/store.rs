//! Changes of the registry's tables. One at a time per database; each row leaves with a new MAC.

use super::authentic::Row;
use super::error::KeyError;
use super::model::{Purpose, State, Usages};
use super::registry::Registry;
use super::{master, random};
use crate::error::Result;
use crate::pg::keys::{invalidation, process, rows};
use pgrx::datum::DatumWithOid;
use pgrx::pg_sys::Oid;
use pgrx::spi::{Spi, SpiClient};
use ward_crypto::{SecretKey, WrapContext, wrap_key};
use zeroize::Zeroizing;

/// A change under way: the lock is held and the registry is as it is now.
pub struct Change<'a, 'conn> {
    /// As read under the lock.
    pub registry: Registry,
    client: &'a mut SpiClient<'conn>,
}

/// A version as it is to be stored.
pub struct NewVersion {
    /// Counts from 1.
    pub version: i32,
    /// What envelopes name it by.
    pub key_id: [u8; 8],
    /// Its material, wrapped.
    pub wrapped: Vec<u8>,
}

/// Runs `f` while no other session changes the registry. The change counts in this transaction at
/// once, and everywhere as soon as it is committed.
pub fn change<T>(
    f: impl FnOnce(&mut Change<'_, '_>) -> std::result::Result<T, KeyError>,
) -> Result<T> {
    if process::in_recovery() {
        return Err(KeyError::Standby.into());
    }
    let relation = rows::registry().ok_or(KeyError::NotInstalled)?;
    let outcome = Spi::connect_mut(|client| {
        client.update(
            "LOCK TABLE ward.encryption_key IN SHARE ROW EXCLUSIVE MODE",
            None,
            &[],
        )?;
        invalidation::changing(relation);
        let registry = Registry::load()?;
        f(&mut Change { registry, client })
    });
    invalidation::changing(relation);
    Ok(outcome?)
}

impl Change<'_, '_> {
    /// Runs a statement that must concern exactly one row. None means that the row came after this
    /// transaction's snapshot.
    fn one(
        &mut self,
        statement: &str,
        arguments: &[DatumWithOid],
    ) -> std::result::Result<(), KeyError> {
        match self.client.update(statement, None, arguments)?.len() {
            1 => Ok(()),
            _ => Err(KeyError::Concurrent),
        }
    }

    /// Adds a key.
    pub fn insert_key(
        &mut self,
        key: [u8; 16],
        name: &str,
        purpose: Purpose,
        is_default: bool,
    ) -> std::result::Result<(), KeyError> {
        let mac = key_mac(&key, name, purpose, is_default)?;
        self.one(
            "INSERT INTO ward.encryption_key (key, name, purpose, is_default, mac) \
             VALUES ($1, $2, $3, $4, $5)",
            &[
                pgrx::Uuid::from_bytes(key).into(),
                name.into(),
                purpose.as_str().into(),
                is_default.into(),
                mac.into(),
            ],
        )
    }

    /// Makes a key the default one, or no longer.
    pub fn set_default(
        &mut self,
        key: [u8; 16],
        name: &str,
        is_default: bool,
    ) -> std::result::Result<(), KeyError> {
        let mac = key_mac(&key, name, Purpose::DataEncryption, is_default)?;
        self.one(
            "UPDATE ward.encryption_key SET is_default = $2, mac = $3 WHERE key = $1",
            &[
                pgrx::Uuid::from_bytes(key).into(),
                is_default.into(),
                mac.into(),
            ],
        )
    }

    /// Adds the active version of a key.
    pub fn insert_version(
        &mut self,
        key: [u8; 16],
        new: NewVersion,
    ) -> std::result::Result<(), KeyError> {
        let mac = version_mac(
            &key,
            new.version,
            new.key_id,
            State::Active,
            Some(&new.wrapped),
        )?;
        self.one(
            "INSERT INTO ward.encryption_key_version (key, version, key_id, state, wrapped, mac) \
             VALUES ($1, $2, $3, 'active', $4, $5)",
            &[
                pgrx::Uuid::from_bytes(key).into(),
                new.version.into(),
                new.key_id.to_vec().into(),
                new.wrapped.into(),
                mac.into(),
            ],
        )
    }

    /// Gives a version another state. `wrapped` stays, or is erased by `None`.
    pub fn set_state(
        &mut self,
        key: [u8; 16],
        version: i32,
        key_id: [u8; 8],
        state: State,
        wrapped: Option<Vec<u8>>,
    ) -> std::result::Result<(), KeyError> {
        let mac = version_mac(&key, version, key_id, state, wrapped.as_deref())?;
        self.one(
            "UPDATE ward.encryption_key_version SET state = $3, wrapped = $4, mac = $5 \
             WHERE key = $1 AND version = $2",
            &[
                pgrx::Uuid::from_bytes(key).into(),
                version.into(),
                state.as_str().into(),
                wrapped.into(),
                mac.into(),
            ],
        )
    }

    /// Stores what a role may do with a key, in place of what it might before.
    pub fn put_grant(
        &mut self,
        key: [u8; 16],
        role_name: &str,
        role_oid: Oid,
        usages: Usages,
    ) -> std::result::Result<(), KeyError> {
        let row = Row::Grant {
            role_name,
            role_oid,
            usages,
        };
        let mac = current_mac(&row, &key)?;
        self.one(
            "INSERT INTO ward.key_grant (key, role_name, role_oid, usage, mac) \
             VALUES ($1, $2::name, $3, $4, $5) \
             ON CONFLICT (key, role_name) DO UPDATE SET role_oid = excluded.role_oid, \
             usage = excluded.usage, mac = excluded.mac, granted_at = pg_catalog.now()",
            &[
                pgrx::Uuid::from_bytes(key).into(),
                role_name.into(),
                role_oid.into(),
                usages.names().into(),
                mac.into(),
            ],
        )
    }

    /// Takes everything about a key from a role.
    pub fn delete_grant(
        &mut self,
        key: [u8; 16],
        role_name: &str,
    ) -> std::result::Result<(), KeyError> {
        self.one(
            "DELETE FROM ward.key_grant WHERE key = $1 AND role_name = $2::name",
            &[pgrx::Uuid::from_bytes(key).into(), role_name.into()],
        )
    }
}

/// A fresh key of the operating system's generator, wrapped under the current master key.
pub fn fresh_version(
    key: [u8; 16],
    version: i32,
    purpose: Purpose,
) -> std::result::Result<NewVersion, KeyError> {
    let material = Zeroizing::new(random::bytes()?);
    let secret = SecretKey::new(*material);
    let nonce = random::bytes()?;
    let context = WrapContext {
        key,
        version: u32::try_from(version)
            .map_err(|_| KeyError::Store("too many versions".to_owned()))?,
        purpose: purpose.as_str(),
    };
    let wrapped = master::with(|masters| {
        let current = masters.first().ok_or(KeyError::NoMaster)?;
        Ok::<_, KeyError>(wrap_key(current, &context, &secret, nonce)?)
    })??;
    Ok(NewVersion {
        version,
        key_id: secret.id().0,
        wrapped,
    })
}

fn key_mac(
    key: &[u8; 16],
    name: &str,
    purpose: Purpose,
    is_default: bool,
) -> std::result::Result<Vec<u8>, KeyError> {
    let row = Row::Key {
        name,
        purpose: purpose.as_str(),
        is_default,
    };
    current_mac(&row, key)
}

fn version_mac(
    key: &[u8; 16],
    version: i32,
    key_id: [u8; 8],
    state: State,
    wrapped: Option<&[u8]>,
) -> std::result::Result<Vec<u8>, KeyError> {
    let row = Row::Version {
        version,
        key_id,
        state,
        wrapped,
    };
    current_mac(&row, key)
}

fn current_mac(row: &Row<'_>, key: &[u8; 16]) -> std::result::Result<Vec<u8>, KeyError> {
    master::with(|masters| masters.first().map(|current| row.mac(current, key)))?
        .ok_or(KeyError::NoMaster)
}
