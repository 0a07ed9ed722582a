//! Changes of the registry's tables. One at a time per database; each row leaves with a new MAC.

use super::authentic::Row;
use super::error::KeyError;
use super::key::Grant;
use super::model::{Purpose, State, Usages};
use super::registry::Registry;
use super::{master, random, stack};
use crate::error::Result;
use crate::pg::keys::{invalidation, process, rows};
use pgrx::datum::{DatumWithOid, Interval};
use pgrx::pg_sys::Oid;
use pgrx::spi::{Spi, SpiClient};
use ward_crypto::{MasterKey, SecretKey, WrapContext, wrap_key};
use zeroize::Zeroizing;

/// A change under way: the lock is held and the registry is as it is now.
pub struct Change<'a, 'conn> {
    /// As read under the lock.
    pub registry: Registry,
    /// The connection that the change is made through.
    pub client: &'a mut SpiClient<'conn>,
}

/// A version as it is stored.
#[derive(Clone)]
pub struct StoredVersion {
    /// Counts from 1.
    pub version: i32,
    /// What envelopes name it by.
    pub key_id: [u8; 8],
    /// What may be done with it.
    pub state: State,
    /// Its material, wrapped; none once it is destroyed.
    pub wrapped: Option<Vec<u8>>,
    /// The ids of all master keys it was ever wrapped under, one after the other.
    pub masters: Vec<u8>,
}

impl StoredVersion {
    /// Notes that a copy exists that is wrapped under the master key of this id.
    pub fn wrapped_under(&mut self, master: [u8; 8]) {
        if !self.masters.chunks(8).any(|known| known == master) {
            self.masters.extend_from_slice(&master);
        }
    }

    /// Without its material, for ever.
    pub fn destroyed(self) -> Self {
        Self {
            state: State::Destroyed,
            wrapped: None,
            ..self
        }
    }
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
        // What is made now must be under the master key that is the current one by now.
        master::reread();
        let registry = Registry::load()?;
        f(&mut Change { registry, client })
    });
    invalidation::changing(relation);
    stack::dirty();
    stack::wipe();
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
        max_age: Option<Interval>,
    ) -> std::result::Result<(), KeyError> {
        let mac = key_mac(&key, name, purpose, is_default)?;
        self.one(
            "INSERT INTO ward.encryption_key (key, name, purpose, is_default, mac, max_age) \
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                pgrx::Uuid::from_bytes(key).into(),
                name.into(),
                purpose.as_str().into(),
                is_default.into(),
                mac.into(),
                max_age.into(),
            ],
        )
    }

    /// Says after what time a key should be rotated.
    pub fn set_max_age(
        &mut self,
        key: [u8; 16],
        max_age: Option<Interval>,
    ) -> std::result::Result<(), KeyError> {
        self.one(
            "UPDATE ward.encryption_key SET max_age = $2 WHERE key = $1",
            &[pgrx::Uuid::from_bytes(key).into(), max_age.into()],
        )
    }

    /// Makes a key the default one, or no longer, and authenticates its row anew.
    pub fn put_key(
        &mut self,
        key: [u8; 16],
        name: &str,
        purpose: Purpose,
        is_default: bool,
    ) -> std::result::Result<(), KeyError> {
        let mac = key_mac(&key, name, purpose, is_default)?;
        self.one(
            "UPDATE ward.encryption_key SET is_default = $2, mac = $3 WHERE key = $1",
            &[
                pgrx::Uuid::from_bytes(key).into(),
                is_default.into(),
                mac.into(),
            ],
        )
    }

    /// Adds a version of a key.
    pub fn insert_version(
        &mut self,
        key: [u8; 16],
        new: &StoredVersion,
    ) -> std::result::Result<(), KeyError> {
        let mac = version_mac(&key, new)?;
        self.one(
            "INSERT INTO ward.encryption_key_version \
             (key, version, key_id, state, wrapped, masters, mac) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            &[
                pgrx::Uuid::from_bytes(key).into(),
                new.version.into(),
                new.key_id.to_vec().into(),
                new.state.as_str().into(),
                new.wrapped.clone().into(),
                new.masters.clone().into(),
                mac.into(),
            ],
        )
    }

    /// Stores a version in place of what it was.
    pub fn put_version(
        &mut self,
        key: [u8; 16],
        version: &StoredVersion,
    ) -> std::result::Result<(), KeyError> {
        let mac = version_mac(&key, version)?;
        self.one(
            "UPDATE ward.encryption_key_version \
             SET state = $3, wrapped = $4, masters = $5, mac = $6, destroyed_at = \
                 CASE WHEN $3 = 'destroyed' THEN coalesce(destroyed_at, pg_catalog.now()) END \
             WHERE key = $1 AND version = $2",
            &[
                pgrx::Uuid::from_bytes(key).into(),
                version.version.into(),
                version.state.as_str().into(),
                version.wrapped.clone().into(),
                version.masters.clone().into(),
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

    /// Authenticates a grant anew; it stays the one that was made when it was made.
    pub fn renew_grant(
        &mut self,
        key: [u8; 16],
        grant: &Grant,
    ) -> std::result::Result<(), KeyError> {
        let row = Row::Grant {
            role_name: &grant.role_name,
            role_oid: grant.role_oid,
            usages: grant.usages,
        };
        let mac = current_mac(&row, &key)?;
        self.one(
            "UPDATE ward.key_grant SET mac = $3 WHERE key = $1 AND role_name = $2::name",
            &[
                pgrx::Uuid::from_bytes(key).into(),
                grant.role_name.as_str().into(),
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
) -> std::result::Result<StoredVersion, KeyError> {
    let material = Zeroizing::new(random::bytes()?);
    let secret = SecretKey::new(*material);
    let (wrapped, master) = wrap(key, version, purpose, &secret)?;
    Ok(StoredVersion {
        version,
        key_id: secret.id().0,
        state: State::Active,
        wrapped: Some(wrapped),
        masters: master.to_vec(),
    })
}

/// `secret` wrapped under the current master key, and the id of that.
pub fn wrap(
    key: [u8; 16],
    version: i32,
    purpose: Purpose,
    secret: &SecretKey,
) -> std::result::Result<(Vec<u8>, [u8; 8]), KeyError> {
    master::with(|masters| {
        let current = masters.first().ok_or(KeyError::NoMaster)?;
        let wrapped = wrap_under(current, key, version, purpose, secret)?;
        Ok((wrapped, current.id()))
    })?
}

/// `secret` wrapped under `master`.
pub fn wrap_under(
    master: &MasterKey,
    key: [u8; 16],
    version: i32,
    purpose: Purpose,
    secret: &SecretKey,
) -> std::result::Result<Vec<u8>, KeyError> {
    let nonce = random::bytes()?;
    let context = WrapContext {
        key,
        version: u32::try_from(version)
            .map_err(|_| KeyError::Store("too many versions".to_owned()))?,
        purpose: purpose.as_str(),
    };
    Ok(wrap_key(master, &context, secret, nonce)?)
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

fn version_mac(key: &[u8; 16], version: &StoredVersion) -> std::result::Result<Vec<u8>, KeyError> {
    let row = Row::Version {
        version: version.version,
        key_id: version.key_id,
        state: version.state,
        wrapped: version.wrapped.as_deref(),
        masters: &version.masters,
    };
    current_mac(&row, key)
}

fn current_mac(row: &Row<'_>, key: &[u8; 16]) -> std::result::Result<Vec<u8>, KeyError> {
    master::with(|masters| masters.first().map(|current| row.mac(current, key)))?
        .ok_or(KeyError::NoMaster)
}
