//! One key: authentic or refused, its material unwrapped on first need, its grants decided once.

use super::authentic::Row;
use super::error::KeyError;
use super::model::{Purpose, State, Usage, Usages};
use super::store::StoredVersion;
use super::{master, random, stack};
use crate::pg::keys::rows::{GrantRow, KeyRow, VersionRow};
use crate::pg::keys::{acl, usage};
use pgrx::datum::TimestampWithTimeZone;
use pgrx::pg_sys::Oid;
use std::rc::Rc;
use ward_crypto::{
    CryptoError, Decryptor, Encryptor, KeyId, MasterKey, SecretKey, ValueType, WrapContext,
    unwrap_key, wrapped_by,
};

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
    /// The id of the master key that its row is authenticated under.
    pub under: [u8; 8],
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
    /// The ids of all master keys it was ever wrapped under, one after the other.
    pub masters: Vec<u8>,
    /// When its material was erased.
    pub destroyed_at: Option<TimestampWithTimeZone>,
    /// The id of the master key that its row is authenticated under.
    pub under: [u8; 8],
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
    /// The id of the master key that its row is authenticated under.
    pub under: [u8; 8],
}

impl Key {
    /// A key without versions and grants yet.
    pub fn new(masters: &[MasterKey], row: &KeyRow) -> Self {
        let purpose = Purpose::parse(&row.purpose);
        let mut key = Self {
            key: row.key,
            name: row.name.clone(),
            purpose: purpose.unwrap_or(Purpose::Token),
            is_default: row.is_default,
            versions: Vec::new(),
            grants: Vec::new(),
            under: under(&row.mac),
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

    /// Adds a version, in any order.
    pub fn add_version(&mut self, masters: &[MasterKey], row: &VersionRow) {
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
            masters: &row.masters,
        };
        self.check(masters, &authentic, &row.mac);
        self.versions.push(Version {
            version: row.version,
            key_id: KeyId(key_id),
            state,
            masters: row.masters.clone(),
            destroyed_at: row.destroyed_at,
            under: under(&row.mac),
            wrapped: row.wrapped.clone(),
            secret: None,
            encryptor: None,
            decryptor: None,
        });
    }

    /// Adds a grant.
    pub fn add_grant(&mut self, masters: &[MasterKey], row: &GrantRow) {
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
            under: under(&row.mac),
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

    /// Why the key is refused, if it is.
    pub fn fault(&self) -> Option<&KeyError> {
        self.fault.as_ref()
    }

    /// Fails closed: nothing of a key is used when one of its rows is not authentic.
    pub fn sound(&mut self) -> Result<&mut Self, KeyError> {
        match &self.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(self),
        }
    }

    /// Drops decisions that rest on roles that have changed.
    pub fn forget_roles(&mut self) {
        self.allowed.clear();
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

    /// The material of a version, in whatever state: to wrap it anew.
    pub fn material(&mut self, place: usize) -> Result<Rc<SecretKey>, KeyError> {
        let version = self
            .versions
            .get_mut(place)
            .ok_or_else(|| KeyError::UnknownName(self.name.clone()))?;
        version.secret(&Unwrap {
            key: self.key,
            name: &self.name,
            purpose: self.purpose,
        })
    }

    /// Its versions as they are stored.
    pub fn stored(&self) -> Vec<StoredVersion> {
        self.versions.iter().map(Version::stored).collect()
    }

    /// Fills `out` with the envelope of a value under the active version. Who may is asked before.
    pub fn seal_to(
        &mut self,
        value_type: ValueType,
        plaintext: &[u8],
        aad: Option<&[u8]>,
        out: &mut [u8],
    ) -> Result<(), KeyError> {
        match self.encryptor()?.seal_to(value_type, plaintext, aad, out) {
            // Once in 2^32 values the nonce prefix is used up; the second attempt has a fresh one.
            Err(CryptoError::NonceExhausted) => {
                self.renew_encryptor();
                Ok(self.encryptor()?.seal_to(value_type, plaintext, aad, out)?)
            }
            sealed => Ok(sealed?),
        }
    }

    /// What encrypts with the active version, under a nonce prefix of this backend alone.
    fn encryptor(&mut self) -> Result<&mut Encryptor, KeyError> {
        let place = self.active()?;
        let (version, unwrap) = self.usable(place)?;
        usage::count(version.key_id.0, usage::Kind::Encryption);
        match version.encryptor {
            Some(ref mut encryptor) => Ok(encryptor),
            None => {
                let secret = version.secret(&unwrap)?;
                stack::dirty();
                let encryptor = Encryptor::new(&secret, random::bytes()?, random::bytes()?);
                Ok(version.encryptor.insert(encryptor))
            }
        }
    }

    /// Forgets the nonce prefix; the next value gets a new one.
    fn renew_encryptor(&mut self) {
        for version in &mut self.versions {
            version.encryptor = None;
        }
    }

    /// What decrypts with a version.
    pub fn decryptor(&mut self, place: usize) -> Result<&mut Decryptor, KeyError> {
        let (version, unwrap) = self.usable(place)?;
        usage::count(version.key_id.0, usage::Kind::Decryption);
        match version.decryptor {
            Some(ref mut decryptor) => Ok(decryptor),
            None => {
                stack::dirty();
                let decryptor = Decryptor::new(&*version.secret(&unwrap)?);
                Ok(version.decryptor.insert(decryptor))
            }
        }
    }
}

/// The id of the master key before a MAC.
fn under(mac: &[u8]) -> [u8; 8] {
    mac.first_chunk().copied().unwrap_or_default()
}

struct Unwrap<'a> {
    key: [u8; 16],
    name: &'a str,
    purpose: Purpose,
}

impl Version {
    /// The id of the master key that its material is wrapped under, not authenticated by itself.
    pub fn wrapped_under(&self) -> Option<[u8; 8]> {
        wrapped_by(self.wrapped.as_deref()?).ok()
    }

    /// As it is stored.
    pub fn stored(&self) -> StoredVersion {
        StoredVersion {
            version: self.version,
            key_id: self.key_id.0,
            state: self.state,
            wrapped: self.wrapped.clone(),
            masters: self.masters.clone(),
        }
    }

    fn secret(&mut self, of: &Unwrap<'_>) -> Result<Rc<SecretKey>, KeyError> {
        if let Some(secret) = &self.secret {
            return Ok(Rc::clone(secret));
        }
        let corrupt = || KeyError::Corrupt {
            name: of.name.to_owned(),
            version: self.version,
        };
        stack::dirty();
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
