//! The signer of checkpoints. It remembers, outside the database, what it signed last, and signs nothing that does not
//! agree with that: a database that was rolled back or rewritten gets no second history signed.

use super::checkpoint::origin;
use super::store::{self, Block, Identity};
use crate::error::{self, Result};
use crate::keys::{self, Purpose};
use crate::pg::{owner, process};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use std::ffi::CString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use ward_log::{Checkpoint, consistency_proof, verify_consistency, vkey};

/// How long to wait for another signer of the same log.
const PATIENCE: Duration = Duration::from_secs(10);

static STATE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Defines the setting.
pub fn init() {
    GucRegistry::define_string_guc(
        c"ward.checkpoint_state",
        c"Directory that remembers which checkpoint of each log was signed last.",
        c"Outside the data directory, so that restoring an old backup does not bring an old memory back.",
        &STATE,
        GucContext::Sighup,
        GucFlags::SUPERUSER_ONLY | GucFlags::DISALLOW_IN_AUTO_FILE,
    );
}

/// The tree head after `block` as a signed note, unless it contradicts what was signed last.
pub fn sign(identity: &Identity, block: &Block) -> Result<String> {
    let checkpoint = Checkpoint {
        origin: origin(identity)?,
        size: block.tree_size,
        root: block.root,
    };
    let memory = Memory::open(identity)?;
    let last = match &memory {
        Some(memory) => memory.last()?,
        None => None,
    };
    if let Some(last) = &last
        && !owner::run(|| agree(last, &checkpoint))
    {
        return Err(refused(last));
    }
    let key = keys::internal_key(Purpose::CheckpointSigning)?;
    let note = checkpoint.sign(key.material.expose()).map_err(|problem| {
        error::report(
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            format!("signing failed: {problem}"),
        )
    })?;
    if let Some(memory) = memory
        && last.is_none_or(|last| last.size < checkpoint.size)
    {
        memory.replace(&note)?;
    }
    Ok(note)
}

/// The error that signing the head after `block` would end with, if any. Signs and remembers nothing.
pub fn problem(identity: &Identity, block: &Block) -> Result<()> {
    let checkpoint = Checkpoint {
        origin: origin(identity)?,
        size: block.tree_size,
        root: block.root,
    };
    match Memory::open(identity)? {
        Some(memory) => match memory.last()? {
            Some(last) if !owner::run(|| agree(&last, &checkpoint)) => Err(refused(&last)),
            _ => Ok(()),
        },
        None => Ok(()),
    }
}

/// Whether the log as it is now has both heads. A session may sign a head that is older than the last one.
fn agree(last: &Checkpoint, new: &Checkpoint) -> bool {
    let (old, new) = if last.size <= new.size {
        (last, new)
    } else {
        (new, last)
    };
    consistency_proof(old.size, new.size, store::tile)
        .is_ok_and(|proof| verify_consistency((old.size, &old.root), (new.size, &new.root), &proof))
}

/// The checkpoint in a note, if one of the log's keys has signed it. The name of the log may have been changed since.
pub fn signed_by_log(note: &str) -> Result<Option<Checkpoint>> {
    let signed_as = note.lines().next().unwrap_or_default();
    for key in keys::all_versions(Purpose::CheckpointSigning)? {
        if let Ok(key) = vkey(signed_as, key.material.expose())
            && let Ok(checkpoint) = Checkpoint::verify(note, &key)
        {
            return Ok(Some(checkpoint));
        }
    }
    Ok(None)
}

/// What was signed last, locked against other signers while this lives.
struct Memory {
    file: PathBuf,
    _lock: File,
}

impl Memory {
    /// None when no directory is configured.
    fn open(identity: &Identity) -> Result<Option<Memory>> {
        let Some(directory) = STATE.get().filter(|name| !name.is_empty()) else {
            return Ok(None);
        };
        let directory = PathBuf::from(directory.to_string_lossy().into_owned());
        let unusable = |reason: String| unusable(&directory, &reason);
        if !directory.is_absolute() {
            return Err(unusable("its name is not an absolute path".to_owned()));
        }
        let resolved = fs::canonicalize(&directory).map_err(|error| unusable(error.to_string()))?;
        let data = fs::canonicalize(process::data_directory())
            .map_err(|error| unusable(error.to_string()))?;
        if resolved.starts_with(&data) {
            return Err(unusable(
                "it lies in the data directory, so that a restored backup brings it back"
                    .to_owned(),
            ));
        }
        let name = uuid::Uuid::from_bytes(identity.incarnation);
        let lock = lock(&resolved.join(format!("{name}.lock")))
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Some(Memory {
            file: resolved.join(format!("{name}.checkpoint")),
            _lock: lock,
        }))
    }

    /// The checkpoint signed last. A file that none of the log's keys has signed is an error, not a beginning.
    fn last(&self) -> Result<Option<Checkpoint>> {
        let unusable = |reason: String| unusable(&self.file, &reason);
        let note = match fs::read_to_string(&self.file) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(error.to_string())),
        };
        signed_by_log(&note)?.map(Some).ok_or_else(|| {
            unusable("it holds no checkpoint signed with a key of this log".to_owned())
        })
    }

    fn replace(&self, note: &str) -> Result<()> {
        put_file(&self.file, note).map_err(|error| unusable(&self.file, &error.to_string()))
    }
}

/// Replaces a file as a whole, on the disk, or not at all.
pub fn put_file(file: &Path, text: &str) -> io::Result<()> {
    let mut name = file.as_os_str().to_owned();
    name.push(".new");
    let new = PathBuf::from(name);
    let mut written = File::create(&new)?;
    written.write_all(text.as_bytes())?;
    written.sync_all()?;
    fs::rename(&new, file)?;
    match file.parent() {
        Some(directory) => File::open(directory)?.sync_all(),
        None => Ok(()),
    }
}

fn lock(file: &Path) -> io::Result<File> {
    let lock = OpenOptions::new().create(true).append(true).open(file)?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if Instant::now() > deadline => {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "another session signs and does not end",
                ));
            }
            Err(TryLockError::WouldBlock) => process::nap(Duration::from_millis(10)),
        }
    }
}

fn unusable(path: &Path, reason: &str) -> ErrorReport {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
        format!(
            "the memory of signed checkpoints \"{}\" cannot be used: {reason}",
            path.display()
        ),
        "ward.checkpoint_state names a directory outside the data directory that the server's user can write.",
    )
}

fn refused(last: &Checkpoint) -> ErrorReport {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        format!(
            "the log contradicts the checkpoint of {} leaves that was signed last: nothing is signed",
            last.size
        ),
        "The log was cut, rewritten, or restored from an older copy. Verify it against a checkpoint kept outside (docs/verify.md).",
    )
}
