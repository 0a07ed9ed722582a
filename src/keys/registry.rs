//! The registry in memory: rows that were authenticated, indexed, with their material unwrapped on
//! first need.

use super::error::KeyError;
use super::model::{Purpose, State, Usage, Usages};
use super::{master, random};
use crate::pg::keys::acl;
use crate::pg::keys::rows::{self, GrantRow, KeyRow, VersionRow};
use pgrx::pg_sys::Oid;
use std::collections::HashMap;
use std::rc::Rc;
use ward_crypto::{
    Decryptor, Encryptor, KeyId, MasterKey, SecretKey, WrapContext, registry_mac,
    registry_mac_verify, unwrap_key,
};

/// All keys of a database.
pub struct Registry {
    keys: Vec<Key>,
    by_name: HashMap<String, usize>,
    by_id: HashMap<[u8; 8], (usize, usize)>,
    default: Option<usize>,
}

/// One key.
pub struct Key {
    /// Its identity.
    pub key: [u8; 16],
    /// Its name.
    pub name: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Whether NULL means it.
    pub is_default: bool,
    /// Its versions, the oldest first.
    pub versions: Vec<Version>,
    /// Who may use it.
    pub grants: Vec<Grant>,
    fault: Option<KeyError>,
    allowed: Vec<(Oid, Usages)>,
}

/// One version of a key.
pub struct Version {
    /// Counts from 1.
    pub version: i32,
    /// What envelopes name it by.
    pub key_id: KeyId,
    /// What may be done with it.
    pub state: State,
    wrapped: Option<Vec<u8>>,
    secret: Option<Rc<SecretKey>>,
    encryptor: Option<Encryptor>,
    decryptor: Option<Decryptor>,
}

/// What a role may do with a key.
pub struct Grant {
    /// The role's name when granted.
    pub role_name: String,
    /// The role's id when granted.
    pub role_oid: Oid,
    /// What it may do.
    pub usages: Usages,
}

impl Registry {
    /// Reads and authenticates the registry as it is now.
    pub fn load() -> Result<Self, KeyError> {
        let rows = rows::read().ok_or(KeyError::NotInstalled)?;
        master::with(|masters| {
            let mut keys: Vec<Key> = rows.keys.iter().map(|row| Key::new(masters, row)).collect();
            let places: HashMap<[u8; 16], usize> =
                (0..).zip(&keys).map(|(i, k)| (k.key, i)).collect();
            // The foreign keys leave no row without its key.
            let place = |key| places.get(key).copied();
            for row in &rows.versions {
                if let Some(key) = place(&row.key).and_then(|place| keys.get_mut(place)) {
                    key.add_version(masters, row);
                }
            }
            for row in &rows.grants {
                if let Some(key) = place(&row.key).and_then(|place| keys.get_mut(place)) {
                    key.add_grant(masters, row);
                }
            }
            Self::index(keys)
        })
    }

    fn index(mut keys: Vec<Key>) -> Self {
        let mut by_name = HashMap::new();
        let mut by_id = HashMap::new();
        let mut default = None;
        for (place, key) in keys.iter_mut().enumerate() {
            key.versions.sort_by_key(|version| version.version);
            by_name.insert(key.name.clone(), place);
            for (at, version) in key.versions.iter().enumerate() {
                by_id.insert(version.key_id.0, (place, at));
            }
            if key.is_default {
                default = Some(place);
            }
        }
        Self {
            keys,
            by_name,
            by_id,
            default,
        }
    }

    /// All keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// The key of this name, authentic.
    pub fn by_name(&mut self, name: &str) -> Result<&mut Key, KeyError> {
        self.by_name
            .get(name)
            .and_then(|place| self.keys.get_mut(*place))
            .ok_or_else(|| KeyError::UnknownName(name.to_owned()))?
            .sound()
    }

    /// Whether a key has this name.
    pub fn has_name(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// The default key, authentic.
    pub fn default_key(&mut self) -> Result<&mut Key, KeyError> {
        self.default
            .and_then(|place| self.keys.get_mut(place))
            .ok_or(KeyError::NoDefault)?
            .sound()
    }

    /// The only key of a purpose that pg_ward itself uses, authentic.
    pub fn of_purpose(&mut self, purpose: Purpose) -> Result<&mut Key, KeyError> {
        self.keys
            .iter_mut()
            .find(|key| key.purpose == purpose)
            .ok_or(KeyError::NoInternal(purpose))?
            .sound()
    }

    /// The key, authentic, and the place in it of the version that an envelope names.
    pub fn by_id(&mut self, id: KeyId) -> Result<(&mut Key, usize), KeyError> {
        let (place, version) = *self.by_id.get(&id.0).ok_or(KeyError::UnknownId(id))?;
        let key = self.keys.get_mut(place).ok_or(KeyError::UnknownId(id))?;
        Ok((key.sound()?, version))
    }

    /// Drops decisions that rest on roles that have changed.
    pub fn forget_roles(&mut self) {
        for key in &mut self.keys {
            key.allowed.clear();
        }
    }
}

impl Key {
    fn new(masters: &[MasterKey], row: &KeyRow) -> Self {
        let purpose = Purpose::parse(&row.purpose);
        let mut key = Self {
            key: row.key,
            name: row.name.clone(),
            purpose: purpose.unwrap_or(Purpose::Token),
            is_default: row.is_default,
            versions: Vec::new(),
            grants: Vec::new(),
            fault: None,
            allowed: Vec::new(),
        };
        let authentic = Row::Key {
            name: &row.name,
            purpose: &row.purpose,
            is_default: row.is_default,
        };
        key.check(masters, &authentic, &row.mac);
        if purpose.is_none() {
            key.tampered("row");
        }
        key
    }

    fn add_version(&mut self, masters: &[MasterKey], row: &VersionRow) {
        let state = State::parse(&row.state);
        let key_id: Option<[u8; 8]> = row.key_id.as_slice().try_into().ok();
        let (Some(state), Some(key_id)) = (state, key_id) else {
            return self.tampered("version");
        };
        let authentic = Row::Version {
            version: row.version,
            key_id,
            state,
            wrapped: row.wrapped.as_deref(),
        };
        self.check(masters, &authentic, &row.mac);
        self.versions.push(Version {
            version: row.version,
            key_id: KeyId(key_id),
            state,
            wrapped: row.wrapped.clone(),
            secret: None,
            encryptor: None,
            decryptor: None,
        });
    }

    fn add_grant(&mut self, masters: &[MasterKey], row: &GrantRow) {
        let Some(usages) = Usages::parse(row.usage.iter().map(String::as_str)) else {
            return self.tampered("grant");
        };
        let authentic = Row::Grant {
            role_name: &row.role_name,
            role_oid: row.role_oid,
            usages,
        };
        self.check(masters, &authentic, &row.mac);
        self.grants.push(Grant {
            role_name: row.role_name.clone(),
            role_oid: row.role_oid,
            usages,
        });
    }

    fn check(&mut self, masters: &[MasterKey], row: &Row<'_>, mac: &[u8]) {
        let Some((id, mac)) = mac.split_first_chunk::<8>() else {
            return self.tampered(row.kind());
        };
        match masters.iter().find(|master| master.id() == *id) {
            None => {
                self.fault.get_or_insert(KeyError::WrongMaster {
                    name: self.name.clone(),
                    needed: hex::encode(id),
                    configured: master::ids(masters),
                });
            }
            Some(master) if row.verify(master, &self.key, mac) => {}
            Some(_) => self.tampered(row.kind()),
        }
    }

    fn tampered(&mut self, row: &'static str) {
        self.fault.get_or_insert(KeyError::Tampered {
            name: self.name.clone(),
            row,
        });
    }

    /// Fails closed: nothing of a key is used when one of its rows is not authentic.
    fn sound(&mut self) -> Result<&mut Self, KeyError> {
        match &self.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(self),
        }
    }

    /// Whether `user` may, by a grant to a role it acts as whose name and id still belong together.
    pub fn require(&mut self, user: Oid, usage: Usage) -> Result<(), KeyError> {
        if self.purpose != Purpose::DataEncryption {
            return Err(KeyError::WrongPurpose {
                name: self.name.clone(),
                purpose: self.purpose,
                action: "used for field encryption",
            });
        }
        let known = self.allowed.iter().find(|(role, _)| *role == user);
        let usages = match known {
            Some((_, usages)) => *usages,
            None => {
                let usages = self
                    .grants
                    .iter()
                    .filter(|grant| acl::acts_as(user, grant.role_oid))
                    .filter(|grant| {
                        acl::role_name(grant.role_oid).as_deref() == Some(grant.role_name.as_str())
                    })
                    .fold(Usages::NONE, |all, grant| all.with(grant.usages));
                self.allowed.push((user, usages));
                usages
            }
        };
        if usages.has(usage) {
            return Ok(());
        }
        Err(KeyError::NoGrant {
            name: self.name.clone(),
            role: acl::role_name(user).unwrap_or_else(|| "unknown".to_owned()),
            usage,
        })
    }

    /// The place of the active version.
    pub fn active(&self) -> Result<usize, KeyError> {
        if let Some(place) = self
            .versions
            .iter()
            .rposition(|version| version.state == State::Active)
        {
            return Ok(place);
        }
        Err(match self.versions.last() {
            Some(last) if last.state == State::Destroyed => KeyError::Destroyed(self.name.clone()),
            _ => KeyError::Disabled(self.name.clone()),
        })
    }

    fn usable(&mut self, place: usize) -> Result<(&mut Version, Unwrap<'_>), KeyError> {
        let version = self
            .versions
            .get_mut(place)
            .ok_or_else(|| KeyError::UnknownName(self.name.clone()))?;
        match version.state {
            State::Active | State::DecryptOnly => Ok((
                version,
                Unwrap {
                    key: self.key,
                    name: &self.name,
                    purpose: self.purpose,
                },
            )),
            State::Disabled => Err(KeyError::Disabled(self.name.clone())),
            State::Destroyed => Err(KeyError::Destroyed(self.name.clone())),
        }
    }

    /// The material of a version.
    pub fn secret(&mut self, place: usize) -> Result<Rc<SecretKey>, KeyError> {
        let (version, unwrap) = self.usable(place)?;
        version.secret(&unwrap)
    }

    /// What encrypts with the active version, under a nonce prefix of this backend alone.
    pub fn encryptor(&mut self) -> Result<&mut Encryptor, KeyError> {
        let place = self.active()?;
        let (version, unwrap) = self.usable(place)?;
        match version.encryptor {
            Some(ref mut encryptor) => Ok(encryptor),
            None => {
                let secret = version.secret(&unwrap)?;
                let encryptor = Encryptor::new(&secret, random::bytes()?, random::bytes()?);
                Ok(version.encryptor.insert(encryptor))
            }
        }
    }

    /// Forgets the nonce prefix; the next value gets a new one.
    pub fn renew_encryptor(&mut self) {
        for version in &mut self.versions {
            version.encryptor = None;
        }
    }

    /// What decrypts with a version.
    pub fn decryptor(&mut self, place: usize) -> Result<&mut Decryptor, KeyError> {
        let (version, unwrap) = self.usable(place)?;
        match version.decryptor {
            Some(ref mut decryptor) => Ok(decryptor),
            None => {
                let decryptor = Decryptor::new(&*version.secret(&unwrap)?);
                Ok(version.decryptor.insert(decryptor))
            }
        }
    }
}

struct Unwrap<'a> {
    key: [u8; 16],
    name: &'a str,
    purpose: Purpose,
}

impl Version {
    /// Moves the wrapped material out, to be stored with another state.
    pub fn take_wrapped(&mut self) -> Option<Vec<u8>> {
        self.wrapped.take()
    }

    fn secret(&mut self, of: &Unwrap<'_>) -> Result<Rc<SecretKey>, KeyError> {
        if let Some(secret) = &self.secret {
            return Ok(Rc::clone(secret));
        }
        let corrupt = || KeyError::Corrupt {
            name: of.name.to_owned(),
            version: self.version,
        };
        let wrapped = self.wrapped.as_deref().ok_or_else(corrupt)?;
        let context = WrapContext {
            key: of.key,
            version: u32::try_from(self.version).map_err(|_| corrupt())?,
            purpose: of.purpose.as_str(),
        };
        let secret = master::with(|masters| {
            unwrap_key(masters, &context, wrapped).map_err(|error| {
                KeyError::unwrapping(error, of.name, self.version, master::ids(masters))
            })
        })??;
        if secret.id() != self.key_id {
            return Err(corrupt());
        }
        let secret = Rc::new(secret);
        self.secret = Some(Rc::clone(&secret));
        Ok(secret)
    }
}

/// What is authenticated of a row, beside the key's identity.
pub enum Row<'a> {
    /// Of `ward.encryption_key`.
    Key {
        /// The key's name.
        name: &'a str,
        /// Its purpose.
        purpose: &'a str,
        /// Whether it is the default.
        is_default: bool,
    },
    /// Of `ward.encryption_key_version`.
    Version {
        /// Counts from 1.
        version: i32,
        /// What envelopes name it by.
        key_id: [u8; 8],
        /// What may be done with it.
        state: State,
        /// The wrapped material.
        wrapped: Option<&'a [u8]>,
    },
    /// Of `ward.key_grant`.
    Grant {
        /// The grantee's name.
        role_name: &'a str,
        /// The grantee's id.
        role_oid: Oid,
        /// What it may do.
        usages: Usages,
    },
}

impl Row<'_> {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Key { .. } => "row",
            Self::Version { .. } => "version",
            Self::Grant { .. } => "grant",
        }
    }

    /// The id of `master`, then the MAC under it: what the column `mac` holds.
    pub fn mac(&self, master: &MasterKey, key: &[u8; 16]) -> Vec<u8> {
        let mac = self.fields(key, |label, fields| registry_mac(master, label, fields));
        [&master.id()[..], &mac].concat()
    }

    fn verify(&self, master: &MasterKey, key: &[u8; 16], mac: &[u8]) -> bool {
        self.fields(key, |label, fields| {
            registry_mac_verify(master, label, fields, mac)
        })
    }

    fn fields<T>(&self, key: &[u8; 16], f: impl FnOnce(&str, &[&[u8]]) -> T) -> T {
        match self {
            Self::Key {
                name,
                purpose,
                is_default,
            } => f(
                "ward/registry/key/v1",
                &[
                    key,
                    name.as_bytes(),
                    purpose.as_bytes(),
                    &[u8::from(*is_default)],
                ],
            ),
            Self::Version {
                version,
                key_id,
                state,
                wrapped,
            } => f(
                "ward/registry/version/v1",
                &[
                    key,
                    &version.to_be_bytes(),
                    key_id,
                    state.as_str().as_bytes(),
                    &[u8::from(wrapped.is_some())],
                    wrapped.unwrap_or_default(),
                ],
            ),
            Self::Grant {
                role_name,
                role_oid,
                usages,
            } => f(
                "ward/registry/grant/v1",
                &[
                    key,
                    role_name.as_bytes(),
                    &role_oid.to_u32().to_be_bytes(),
                    &[usages.bits()],
                ],
            ),
        }
    }
}
