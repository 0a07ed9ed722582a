//! The signer of checkpoints. It remembers, outside the database, what it signed last, and signs nothing that does not
//! agree with that: a database that was rolled back or rewritten gets no second history signed.

use super::checkpoint::origin;
use super::find;
use super::signing_key;
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
use ward_log::{Checkpoint, Leaf, consistency_proof, verify_consistency, vkey};

/// Type bytes of leaves (docs/log-format.md).
const VIOLATION: u8 = 0x12;
const RESTORE: u8 = 0x17;

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
    let checkpoint = head(identity, block)?;
    let memory = Memory::open(identity)?;
    let last = match &memory {
        Some(memory) => memory.last()?,
        None => None,
    };
    let standing = last.as_ref().map(|last| last.standing(&checkpoint));
    if let (Some(last), Some(Standing::Contradicted)) = (&last, &standing) {
        return Err(refused(&last.checkpoint));
    }
    let keys = signing_key::signers(checkpoint.size)?;
    let seeds: Vec<_> = keys.iter().map(|key| key.material.expose()).collect();
    let note = checkpoint.sign_with(&seeds).map_err(|problem| {
        error::report(
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            format!("signing failed: {problem}"),
        )
    })?;
    if let Some(memory) = memory {
        let newer = |last: &Last| {
            last.incarnation != identity.incarnation || last.checkpoint.size < checkpoint.size
        };
        if let (Some(last), Some(Standing::Declared)) = (&last, &standing) {
            // What the former history had signed is evidence: of what was lost, and that somebody said so.
            memory.keep_former(&last.note)?;
        }
        if last.as_ref().is_none_or(newer) {
            memory.replace(&note)?;
        }
    }
    Ok(note)
}

fn head(identity: &Identity, block: &Block) -> Result<Checkpoint> {
    Ok(Checkpoint {
        origin: origin(identity)?,
        size: block.tree_size,
        root: block.root,
    })
}

/// The error that signing the head after `block` would end with, if any. Signs and remembers nothing.
pub fn problem(identity: &Identity, block: &Block) -> Result<()> {
    let checkpoint = head(identity, block)?;
    match last(identity)? {
        Some(last) if last.standing(&checkpoint) == Standing::Contradicted => {
            Err(refused(&last.checkpoint))
        }
        _ => Ok(()),
    }
}

fn last(identity: &Identity) -> Result<Option<Last>> {
    match Memory::open(identity)? {
        Some(memory) => memory.last(),
        None => Ok(None),
    }
}

/// How the signer stands: one row.
#[pg_extern(parallel_unsafe)]
pub fn audit_signer_state() -> std::result::Result<
    TableIterator<
        'static,
        (
            name!(state, String),
            name!(incarnation, Option<pgrx::Uuid>),
            name!(sealed_size, Option<i64>),
            name!(signed_size, Option<i64>),
            name!(signed_incarnation, Option<pgrx::Uuid>),
            name!(problem, Option<String>),
        ),
    >,
    ErrorReport,
> {
    let found = owner::run(|| store::identity().zip(store::last_block()));
    let Some((identity, block)) = found else {
        let state = "nothing sealed".to_owned();
        return Ok(TableIterator::once((state, None, None, None, None, None)));
    };
    let uuid = pgrx::Uuid::from_bytes;
    let checkpoint = head(&identity, &block)?;
    let (state, signed, problem) = match last(&identity) {
        Err(report) => ("unusable", None, Some(report.message().to_owned())),
        Ok(None) if STATE.get().is_none_or(|name| name.is_empty()) => ("no memory", None, None),
        Ok(None) => ("ready", None, None),
        Ok(Some(last)) => {
            let refused = last.standing(&checkpoint) == Standing::Contradicted;
            let problem = refused.then(|| self::refused(&last.checkpoint).message().to_owned());
            (
                if refused { "refused" } else { "ready" },
                Some(last),
                problem,
            )
        }
    };
    Ok(TableIterator::once((
        state.to_owned(),
        Some(uuid(identity.incarnation)),
        Some(block.tree_size as i64),
        signed.as_ref().map(|last| last.checkpoint.size as i64),
        signed.as_ref().map(|last| uuid(last.incarnation)),
        problem,
    )))
}

/// The checkpoint that was signed last, of this or an earlier incarnation of the log.
struct Last {
    incarnation: [u8; 16],
    note: String,
    checkpoint: Checkpoint,
    /// The incarnations since then.
    later: Vec<Identity>,
}

/// How the log stands to what was signed last.
#[derive(PartialEq, Eq)]
enum Standing {
    /// It agrees.
    Agrees,
    /// It does not, and a restore to less than that was declared.
    Declared,
    /// It does not.
    Contradicted,
}

impl Last {
    fn standing(&self, head: &Checkpoint) -> Standing {
        if owner::run(|| agree(&self.checkpoint, head)) {
            return Standing::Agrees;
        }
        let declared = |one: &Identity| {
            one.restored_size
                .is_some_and(|size| size < self.checkpoint.size && is_declared(one, size, head))
        };
        match owner::run(|| self.later.iter().any(declared)) {
            true => Standing::Declared,
            false => Standing::Contradicted,
        }
    }
}

/// Whether the log with this head has a leaf that declares a restore to `size`, in the block before the incarnation that
/// follows from it, and no violation leaf speaks of its transaction. What the table of incarnations says, anybody may have
/// written there.
fn is_declared(one: &Identity, size: u64, head: &Checkpoint) -> bool {
    let Some(last) = one.left_at.checked_sub(1) else {
        return false;
    };
    let mut first = None;
    store::blocks_of(&[last], |first_leaf, _, _| first = Some(first_leaf));
    let Some(first) = first else { return false };
    let (mut restores, mut faulty) = (Vec::new(), Vec::new());
    find::leaves(first..one.left_at, |index, leaf, _| {
        if !matches!(leaf.first(), Some(&(RESTORE | VIOLATION))) {
            return;
        }
        match Leaf::parse(leaf) {
            Ok(Leaf::Violation(violation)) => faulty.push(violation.xid),
            Ok(Leaf::Restore(restore)) if restore.restored_size == size => {
                restores.push((restore.frame.xid, index, leaf.to_vec()));
            }
            _ => {}
        }
    });
    restores.iter().any(|(xid, index, leaf)| {
        !faulty.contains(xid) && store::has_leaf((head.size, &head.root), *index, leaf)
    })
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
    directory: PathBuf,
    incarnation: [u8; 16],
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
            directory: resolved,
            incarnation: identity.incarnation,
            _lock: lock,
        }))
    }

    fn file(&self, incarnation: [u8; 16], kind: &str) -> PathBuf {
        let name = uuid::Uuid::from_bytes(incarnation);
        self.directory.join(format!("{name}.{kind}"))
    }

    /// The checkpoint signed last. An incarnation of which none was signed yet continues the one before, unless that
    /// one's database is still there and goes on by itself.
    fn last(&self) -> Result<Option<Last>> {
        let mut later = Vec::new();
        for one in owner::run(store::incarnations).into_iter().rev() {
            let current = one.incarnation == self.incarnation;
            if (current || !owner::run(|| one.lives_elsewhere()))
                && let Some((note, checkpoint)) = self.read(one.incarnation)?
            {
                return Ok(Some(Last {
                    incarnation: one.incarnation,
                    note,
                    checkpoint,
                    later,
                }));
            }
            later.push(one);
        }
        Ok(None)
    }

    /// What was signed of an incarnation. A file that none of the log's keys has signed is an error, not a beginning.
    fn read(&self, incarnation: [u8; 16]) -> Result<Option<(String, Checkpoint)>> {
        let file = self.file(incarnation, "checkpoint");
        let unusable = |reason: String| unusable(&file, &reason);
        let note = match fs::read_to_string(&file) {
            Ok(note) => note,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unusable(error.to_string())),
        };
        match signed_by_log(&note)? {
            Some(checkpoint) => Ok(Some((note, checkpoint))),
            None => Err(unusable(
                "it holds no checkpoint signed with a key of this log".to_owned(),
            )),
        }
    }

    fn replace(&self, note: &str) -> Result<()> {
        self.put("checkpoint", note)
    }

    /// Keeps what was signed before a restore that was declared.
    fn keep_former(&self, note: &str) -> Result<()> {
        self.put("former", note)
    }

    fn put(&self, kind: &str, note: &str) -> Result<()> {
        let file = self.file(self.incarnation, kind);
        put_file(&file, note).map_err(|error| unusable(&file, &error.to_string()))
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
        "The log was cut, rewritten, or restored from an older copy. Verify it against a checkpoint kept outside (docs/verify.md). If it was a restore that was meant, say so with ward.declare_restore().",
    )
}
