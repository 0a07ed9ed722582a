//! Where the master key comes from. It lives only in the memory of the server's processes, who
//! inherit it from the postmaster; never in shared memory, a table, or a setting that can be read.

use super::error::KeyError;
use super::file;
use crate::error::{Result, report_hint};
use crate::pg::keys::process;
use crate::program::{self, Talk};
use pgrx::prelude::*;
use pgrx::{GucContext, GucFlags, GucRegistry, GucSetting};
use std::ffi::{CStr, CString};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use ward_crypto::MasterKey;

const ENVIRONMENT: &CStr = c"PG_WARD_MASTER_KEY";

static FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static COMMAND: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

static MASTER: Mutex<Master> = Mutex::new(Master {
    source: Source::None,
    keys: Vec::new(),
    read_at: 0,
});

struct Master {
    source: Source,
    keys: Vec<MasterKey>,
    read_at: i64,
}

enum Source {
    None,
    File(PathBuf),
    Command,
    Environment,
}

/// What `ward.status()` says about the master key.
pub struct MasterStatus {
    /// none, file, command or environment.
    pub source: &'static str,
    /// The ids of the keys held, the current one first.
    pub ids: Vec<String>,
}

/// Defines the settings and fetches the master key. Only for the postmaster's start.
pub fn init() -> Result<()> {
    // A client cannot set them; ALTER SYSTEM cannot, or a superuser of SQL could run a command as the
    // server; and only superusers may see where the key is.
    let flags = GucFlags::SUPERUSER_ONLY | GucFlags::DISALLOW_IN_AUTO_FILE;
    GucRegistry::define_string_guc(
        c"ward.master_key_file",
        c"File that holds the master key.",
        c"Hexadecimal or base64, one key a line, the current one first. Must not be readable by group or others.",
        &FILE,
        GucContext::Postmaster,
        flags,
    );
    GucRegistry::define_string_guc(
        c"ward.master_key_command",
        c"Command that prints the master key.",
        c"An absolute path and arguments, without a shell; run once at start, by the server's user, with a limit of 10 seconds.",
        &COMMAND,
        GucContext::Postmaster,
        flags,
    );
    let source = |setting: &GucSetting<Option<CString>>| {
        setting
            .get()
            .map(|value| value.to_string_lossy().into_owned())
            .filter(|value| !value.is_empty())
    };
    let environment = process::take_environment(ENVIRONMENT);
    let (source, keys) = match (source(&FILE), source(&COMMAND), environment) {
        (None, None, None) => (Source::None, Vec::new()),
        (Some(file), None, None) => {
            let file = PathBuf::from(file);
            let keys = file::read(&file).map_err(|reason| unusable_file(&file, &reason))?;
            (Source::File(file), keys)
        }
        (None, Some(command), None) => {
            let talk = Talk {
                input: None,
                size_limit: file::SIZE_LIMIT,
                interrupted: || false,
            };
            let keys = program::output_of(&command, &talk)
                .and_then(|output| file::parse(&output))
                .map_err(|reason| unusable("the output of ward.master_key_command", &reason))?;
            (Source::Command, keys)
        }
        (None, None, Some(value)) => {
            let keys = file::parse(&value).map_err(|reason| {
                unusable("the environment variable PG_WARD_MASTER_KEY", &reason)
            })?;
            (Source::Environment, keys)
        }
        _ => {
            return Err(report_hint(
                PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
                "more than one source of the master key is configured",
                "Keep one of ward.master_key_file, ward.master_key_command and the environment variable PG_WARD_MASTER_KEY.",
            ));
        }
    };
    *lock() = Master {
        source,
        keys,
        read_at: process::configuration_read_at(),
    };
    Ok(())
}

/// Runs `f` with the master keys, the current one first. After a reload of the configuration the file
/// is read again first; a command is not, because every session would run it.
pub fn with<T>(f: impl FnOnce(&[MasterKey]) -> T) -> std::result::Result<T, KeyError> {
    let mut master = lock();
    refresh(&mut master);
    if master.keys.is_empty() {
        return Err(KeyError::NoMaster);
    }
    Ok(f(&master.keys))
}

/// The ids of the master keys, for messages.
pub fn ids(keys: &[MasterKey]) -> String {
    let ids: Vec<String> = keys.iter().map(|key| hex::encode(key.id())).collect();
    ids.join(", ")
}

/// The source and the ids of the master keys.
pub fn status() -> MasterStatus {
    let mut master = lock();
    refresh(&mut master);
    MasterStatus {
        source: match master.source {
            Source::None => "none",
            Source::File(_) => "file",
            Source::Command => "command",
            Source::Environment => "environment",
        },
        ids: master
            .keys
            .iter()
            .map(|key| hex::encode(key.id()))
            .collect(),
    }
}

fn lock() -> MutexGuard<'static, Master> {
    // Replaced as a whole, so it is consistent even after a panic.
    MASTER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refresh(master: &mut Master) {
    if master.read_at != process::configuration_read_at() {
        read_again(master);
    }
}

/// Reads a file of master keys again, reload or not, because another session may have seen it first.
/// Whether there are other keys now.
pub fn reread() -> bool {
    read_again(&mut lock())
}

fn read_again(master: &mut Master) -> bool {
    let Source::File(path) = &master.source else {
        return false;
    };
    master.read_at = process::configuration_read_at();
    match file::read(path) {
        Ok(keys) => {
            let known = |keys: &[MasterKey]| keys.iter().map(MasterKey::id).collect::<Vec<_>>();
            let changed = known(&keys) != known(&master.keys);
            master.keys = keys;
            changed
        }
        // As with every setting: a reload that fails is reported and changes nothing.
        Err(reason) => {
            pgrx::log!(
                "pg_ward keeps the master keys it has: file \"{}\" cannot be used: {reason}",
                path.display()
            );
            false
        }
    }
}

fn unusable_file(path: &Path, reason: &str) -> pgrx::pg_sys::panic::ErrorReport {
    unusable(
        &format!("the master key file \"{}\"", path.display()),
        reason,
    )
}

fn unusable(what: &str, reason: &str) -> pgrx::pg_sys::panic::ErrorReport {
    report_hint(
        PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
        format!("{what} cannot be used: {reason}"),
        "It holds 32 random bytes as 64 hexadecimal digits or as base64; \"openssl rand -hex 32\" makes them.",
    )
}
