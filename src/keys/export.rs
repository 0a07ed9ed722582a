//! Exports keys, wrapped under the backup master key: a copy that another server can import.

use super::backup;
use super::error::KeyError;
use super::model::{Purpose, State, parse_name};
use super::store;
use super::transfer::{Document, ExportedKey, ExportedVersion};
use crate::error::Result;
use pgrx::prelude::*;

/// The keys of these names (NULL: all for fields and search) as a text that only holders of the
/// backup master key can use. Grants are not part of it. Keys that sign or authenticate this
/// server's own records are not either: they would let another server speak in its name.
///
/// That a copy under the backup master key exists is noted with each version, so that
/// `ward.shredding_status` knows of it.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn export_encryption_keys(
    names: default!(Option<Vec<Option<String>>>, "NULL"),
) -> Result<String> {
    let names = names.map(parse_names).transpose()?;
    store::change(|change| {
        let masters = backup::keys()?;
        let master = masters.first().ok_or(KeyError::NoBackupMaster)?;
        let mut registry = std::mem::take(&mut change.registry);
        for name in names.iter().flatten() {
            let key = registry.by_name(name)?;
            if !portable(key.purpose) {
                return Err(super::admin::wrong_purpose(key, "exported"));
            }
            if let Err(destroyed @ KeyError::Destroyed(_)) = key.active() {
                return Err(destroyed);
            }
        }
        let mut exported = Vec::new();
        for key in registry.keys_mut() {
            let wanted = match &names {
                Some(names) => names.contains(&key.name),
                None => portable(key.purpose),
            };
            if !wanted {
                continue;
            }
            let key = key.sound()?;
            let mut versions = Vec::new();
            for (place, mut stored) in key.stored().into_iter().enumerate() {
                if stored.state == State::Destroyed {
                    continue;
                }
                let secret = key.material(place)?;
                let wrapped =
                    store::wrap_under(master, key.key, stored.version, key.purpose, &secret)?;
                versions.push(ExportedVersion {
                    version: stored.version,
                    key_id: hex::encode(stored.key_id),
                    state: stored.state.as_str().to_owned(),
                    wrapped: hex::encode(wrapped),
                });
                let known = stored.masters.len();
                stored.wrapped_under(master.id());
                if stored.masters.len() != known {
                    change.put_version(key.key, &stored)?;
                }
            }
            if !versions.is_empty() {
                exported.push(ExportedKey {
                    key: uuid::Uuid::from_bytes(key.key).to_string(),
                    name: key.name.clone(),
                    purpose: key.purpose.as_str().to_owned(),
                    is_default: key.is_default,
                    versions,
                });
            }
        }
        Document::write(master, exported)
    })
}

/// Whether keys of a purpose may move to another server.
pub fn portable(purpose: Purpose) -> bool {
    matches!(purpose, Purpose::DataEncryption | Purpose::Search)
}

fn parse_names(names: Vec<Option<String>>) -> std::result::Result<Vec<String>, KeyError> {
    names
        .into_iter()
        .map(|name| {
            let name = name.ok_or(KeyError::Null("name"))?;
            // The search key has a name that users cannot choose.
            if name != "ward/search" {
                parse_name(Some(&name)).map_err(|_| KeyError::UnknownUnnamed)?;
            }
            Ok(name)
        })
        .collect()
}
