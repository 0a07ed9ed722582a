//! The registry in memory: keys that were authenticated, indexed by what callers know of them.

use super::error::KeyError;
use super::key::Key;
use super::master;
use super::model::{Purpose, Usage, parse_name};
use crate::pg::keys::rows::{self, Rows};
use std::collections::{BTreeMap, HashMap};
use ward_crypto::{KeyId, type_modifier};

/// All keys of a database. There are few, so ordered maps find one sooner than hashing does.
#[derive(Default)]
pub struct Registry {
    keys: Vec<Key>,
    by_name: BTreeMap<Vec<u8>, usize>,
    by_id: BTreeMap<[u8; 8], (usize, usize)>,
    /// By what column types name a key; `None` where two keys share it.
    by_modifier: BTreeMap<i32, Option<usize>>,
    default: Option<usize>,
}

impl Registry {
    /// Reads and authenticates the registry as it is now.
    pub fn load() -> Result<Self, KeyError> {
        let rows = rows::read().ok_or(KeyError::NotInstalled)?;
        let registry = Self::build(&rows)?;
        // Another session may have seen a new master key, and rewrapped, before this one.
        if registry.require_masters().is_err() && master::reread() {
            return Self::build(&rows);
        }
        Ok(registry)
    }

    fn build(rows: &Rows) -> Result<Self, KeyError> {
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
        let mut by_name = BTreeMap::new();
        let mut by_id = BTreeMap::new();
        let mut by_modifier = BTreeMap::new();
        let mut default = None;
        for (place, key) in keys.iter_mut().enumerate() {
            key.versions.sort_by_key(|version| version.version);
            by_name.insert(key.name.clone().into_bytes(), place);
            by_modifier
                .entry(type_modifier(&key.name))
                .and_modify(|place| *place = None)
                .or_insert(Some(place));
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
            by_modifier,
            default,
        }
    }

    /// All keys.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// All keys, to take out what is to be stored anew.
    pub fn keys_mut(&mut self) -> &mut [Key] {
        &mut self.keys
    }

    /// The key of this name, authentic.
    pub fn by_name(&mut self, name: &str) -> Result<&mut Key, KeyError> {
        self.by_name_bytes(name.as_bytes())
    }

    /// The same for a name that was not checked to be UTF-8.
    pub fn by_name_bytes(&mut self, name: &[u8]) -> Result<&mut Key, KeyError> {
        self.by_name
            .get(name)
            .and_then(|place| self.keys.get_mut(*place))
            .ok_or_else(|| unknown(&String::from_utf8_lossy(name)))?
            .sound()
    }

    /// Whether a key has this name.
    pub fn has_name(&self, name: &str) -> bool {
        self.by_name.contains_key(name.as_bytes())
    }

    /// The key that a column's type modifier stands for, authentic.
    pub fn by_modifier(&mut self, modifier: i32) -> Result<&mut Key, KeyError> {
        let key = match self.by_modifier.get(&modifier) {
            Some(Some(place)) => self.keys.get_mut(*place),
            Some(None) => return Err(KeyError::AmbiguousModifier(modifier)),
            None => None,
        };
        match key {
            Some(key) => key.sound(),
            None => Err(KeyError::UnknownModifier(modifier)),
        }
    }

    /// Whether a key has a name that column types name in the same way as `name`.
    pub fn has_modifier_of(&self, name: &str) -> bool {
        self.by_modifier.contains_key(&type_modifier(name))
    }

    /// The name of the key that a column's type modifier stands for, authentic or not.
    pub fn name_of_modifier(&self, modifier: i32) -> Option<&str> {
        let place = (*self.by_modifier.get(&modifier)?)?;
        self.keys.get(place).map(|key| key.name.as_str())
    }

    /// Whether `user` has a usage of at least one key that encrypts fields.
    pub fn allows_any(&mut self, user: pgrx::pg_sys::Oid, usage: Usage) -> bool {
        self.keys
            .iter_mut()
            .filter(|key| key.purpose == Purpose::DataEncryption)
            .any(|key| {
                key.sound()
                    .is_ok_and(|key| key.require(user, usage).is_ok())
            })
    }

    /// Whether a version of a key has this id.
    pub fn has_id(&self, id: [u8; 8]) -> bool {
        self.by_id.contains_key(&id)
    }

    /// The default key, authentic.
    pub fn default_key(&mut self) -> Result<&mut Key, KeyError> {
        match self.default.and_then(|place| self.keys.get_mut(place)) {
            Some(key) => key.sound(),
            None => Err(KeyError::NoDefault),
        }
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
        let found = self.by_id.get(&id.0);
        match found.and_then(|(place, version)| Some((self.keys.get_mut(*place)?, *version))) {
            Some((key, version)) => Ok((key.sound()?, version)),
            None => Err(KeyError::UnknownId(id)),
        }
    }

    /// Refuses when a key needs a master key that is not configured: what is made now would be under
    /// another one, by mistake.
    pub fn require_masters(&self) -> Result<(), KeyError> {
        let fault = self.keys.iter().find_map(|key| match key.fault() {
            Some(fault @ KeyError::WrongMaster { .. }) => Some(fault.clone()),
            _ => None,
        });
        fault.map_or(Ok(()), Err)
    }

    /// Drops decisions that rest on roles that have changed.
    pub fn forget_roles(&mut self) {
        for key in &mut self.keys {
            key.forget_roles();
        }
    }
}

/// What cannot be a key's name is not repeated: it may be a value, given in the wrong place.
fn unknown(name: &str) -> KeyError {
    match parse_name(Some(name)) {
        Ok(name) => KeyError::UnknownName(name.to_owned()),
        Err(_) => KeyError::UnknownUnnamed,
    }
}
