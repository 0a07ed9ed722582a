//! The backup master key, which only exports are wrapped under. It is read when it is needed and
//! wiped after: no process keeps it.

use super::error::KeyError;
use super::{file, master};
use crate::error::Result;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::CString;
use std::path::PathBuf;
use ward_crypto::MasterKey;

static FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Defines the setting, and stops the server's start when the file cannot be used.
pub fn init() -> Result<()> {
    GucRegistry::define_string_guc(
        c"ward.backup_master_key_file",
        c"File that holds the master key of exported encryption keys.",
        c"As ward.master_key_file; needed by ward.export_encryption_keys and ward.import_encryption_keys only.",
        &FILE,
        GucContext::Postmaster,
        GucFlags::SUPERUSER_ONLY | GucFlags::DISALLOW_IN_AUTO_FILE,
    );
    match path() {
        Some(_) => Ok(keys().map(drop)?),
        None => Ok(()),
    }
}

/// The backup master keys, the current one first.
pub fn keys() -> std::result::Result<Vec<MasterKey>, KeyError> {
    let path = path().ok_or(KeyError::NoBackupMaster)?;
    let unusable = |reason| KeyError::BackupMaster {
        file: path.display().to_string(),
        reason,
    };
    let keys = file::read(&path).map_err(unusable)?;
    let own = master::status().ids;
    if keys.iter().any(|key| own.contains(&hex::encode(key.id()))) {
        return Err(unusable(
            "it holds a master key that this server uses itself".to_owned(),
        ));
    }
    Ok(keys)
}

/// The ids of the backup master keys; none when they are not configured.
pub fn ids() -> std::result::Result<Vec<String>, KeyError> {
    match keys() {
        Ok(keys) => Ok(keys.iter().map(|key| hex::encode(key.id())).collect()),
        Err(KeyError::NoBackupMaster) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn path() -> Option<PathBuf> {
    let value = FILE.get()?;
    let value = value.to_string_lossy();
    (!value.is_empty()).then(|| PathBuf::from(value.as_ref()))
}
