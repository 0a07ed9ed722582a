//! The text of an export: keys wrapped under the backup master key, authenticated as a whole.
//!
//! The MAC is over the document as this module writes it, so that it does not depend on white space.

use super::error::KeyError;
use serde::{Deserialize, Serialize};
use ward_crypto::{MasterKey, registry_mac, registry_mac_verify};

/// What the MAC covers is labelled with, and what the document begins with.
const FORMAT: &str = "ward/key-export/v1";

/// The largest document that is read.
const SIZE_LIMIT: usize = 64 << 20;

/// The whole document.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    format: String,
    /// The backup master key it was made under.
    backup_master_key_id: String,
    /// The keys.
    pub keys: Vec<ExportedKey>,
    mac: String,
}

/// A key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedKey {
    /// Its identity, a UUID.
    pub key: String,
    /// Its name.
    pub name: String,
    /// What it is for.
    pub purpose: String,
    /// Whether NULL meant it.
    pub is_default: bool,
    /// Those of its versions that were not destroyed, the oldest first.
    pub versions: Vec<ExportedVersion>,
}

/// A version of a key.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExportedVersion {
    /// Counts from 1.
    pub version: i32,
    /// What envelopes name it by.
    pub key_id: String,
    /// What might be done with it.
    pub state: String,
    /// The material, wrapped under the backup master key.
    pub wrapped: String,
}

impl Document {
    /// The text of an export of `keys`, which are wrapped under `master`.
    pub fn write(master: &MasterKey, keys: Vec<ExportedKey>) -> Result<String, KeyError> {
        let mut document = Self {
            format: FORMAT.to_owned(),
            backup_master_key_id: hex::encode(master.id()),
            keys,
            mac: String::new(),
        };
        document.mac = hex::encode(registry_mac(master, FORMAT, &[&document.covered()?]));
        serde_json::to_string_pretty(&document).map_err(unwritable)
    }

    /// Reads and authenticates an export that was made under one of `masters`.
    pub fn read(masters: &[MasterKey], text: &str) -> Result<Self, KeyError> {
        if text.len() > SIZE_LIMIT {
            return Err(malformed("it is too long"));
        }
        // The parser's own message could repeat a part of the text.
        let document: Self = serde_json::from_str(text).map_err(|error| {
            KeyError::MalformedExport(format!("line {}, column {}", error.line(), error.column()))
        })?;
        if document.format != FORMAT {
            return Err(malformed("its format is not known to this version"));
        }
        let master = masters
            .iter()
            .find(|master| hex::encode(master.id()) == document.backup_master_key_id);
        let Some(master) = master else {
            return Err(match hex_id(&document.backup_master_key_id) {
                Some(needed) => KeyError::WrongBackupMaster {
                    needed: hex::encode(needed),
                    configured: super::master::ids(masters),
                },
                None => malformed("its backup master key has no id"),
            });
        };
        let mac = hex::decode(&document.mac).map_err(|_| KeyError::TamperedExport)?;
        if !registry_mac_verify(master, FORMAT, &[&document.covered()?], &mac) {
            return Err(KeyError::TamperedExport);
        }
        Ok(document)
    }

    fn covered(&self) -> Result<Vec<u8>, KeyError> {
        serde_json::to_vec(&(&self.format, &self.backup_master_key_id, &self.keys))
            .map_err(unwritable)
    }
}

/// An eight-byte id in hexadecimal.
pub fn hex_id(text: &str) -> Option<[u8; 8]> {
    let mut id = [0; 8];
    hex::decode_to_slice(text, &mut id).ok()?;
    Some(id)
}

/// Why a text is no export.
pub fn malformed(reason: &str) -> KeyError {
    KeyError::MalformedExport(reason.to_owned())
}

fn unwritable(error: serde_json::Error) -> KeyError {
    KeyError::Store(error.to_string())
}
