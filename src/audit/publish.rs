//! Publication of checkpoints by the sealing worker: to a table, a file, and a command that may bring cosignatures.

use super::errand::{self, Errand};
use super::store::{self, Block};
use super::{checkpoint, signer};
use crate::error::{self, Result};
use crate::pg::shared::{self, Slot};
use crate::pg::{owner, query, worker};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;
use std::ffi::CString;
use std::time::{Duration, Instant};
use ward_log::{AddCheckpoint, consistency_proof};

/// How soon a checkpoint that could not be signed is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// How soon it is looked again whether the courier of the checkpoint before is back.
const OUT: Duration = Duration::from_secs(1);

static INTERVAL: GucSetting<i32> = GucSetting::<i32>::new(3600);
static FILE: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static COMMAND: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);
static WITNESSES: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Defines the settings.
pub fn init() {
    // ALTER SYSTEM cannot set them, or a superuser of SQL could write files and run commands as the server
    let guarded = GucFlags::SUPERUSER_ONLY | GucFlags::DISALLOW_IN_AUTO_FILE;
    GucRegistry::define_int_guc(
        c"ward.checkpoint_interval",
        c"Shortest time between two published checkpoints.",
        c"0 publishes one after every block, -1 none.",
        &INTERVAL,
        -1,
        604_800,
        GucContext::Sighup,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_string_guc(
        c"ward.checkpoint_file",
        c"File that the last checkpoint is written to.",
        c"%d stands for the database's name. Replaced as a whole. Put it where it is copied to another machine.",
        &FILE,
        GucContext::Sighup,
        guarded,
    );
    GucRegistry::define_string_guc(
        c"ward.checkpoint_command",
        c"Command that is given each checkpoint.",
        c"An absolute path and arguments, without a shell. Standard input: the body of add-checkpoint (C2SP tlog-witness). Standard output: cosignatures, if any. Limited to 10 seconds.",
        &COMMAND,
        GucContext::Sighup,
        guarded,
    );
    GucRegistry::define_string_guc(
        c"ward.checkpoint_witnesses",
        c"Public keys of witnesses, separated by white space.",
        c"Only their cosignatures are kept.",
        &WITNESSES,
        GucContext::Sighup,
        GucFlags::DISALLOW_IN_AUTO_FILE,
    );
}

fn text(setting: &GucSetting<Option<CString>>) -> Option<String> {
    setting
        .get()
        .map(|value| value.to_string_lossy().into_owned())
        .filter(|value| !value.is_empty())
}

/// What `ward.checkpoint_file` says.
pub fn file() -> Option<String> {
    text(&FILE)
}

/// What `ward.checkpoint_command` says.
pub fn command() -> Option<String> {
    text(&COMMAND)
}

/// What `ward.checkpoint_witnesses` says.
pub fn witnesses() -> String {
    text(&WITNESSES).unwrap_or_default()
}

/// How publication stands.
pub struct Publication {
    /// Whether checkpoints go anywhere outside the database.
    pub leaves: bool,
    /// Leaves that the last published checkpoint covers.
    pub published: u64,
    /// Leaves that the last cosigned one covers.
    pub cosigned: u64,
    /// Why nothing is signed.
    pub problem: Option<String>,
}

/// How publication stands; None before the first block.
pub fn publication() -> Option<Publication> {
    let (identity, block) = (store::identity()?, store::last_block()?);
    let mut state = Publication {
        leaves: file().is_some() || command().is_some(),
        published: 0,
        cosigned: 0,
        problem: None,
    };
    if let Err(report) = signer::problem(&identity, &block) {
        state.problem = Some(report.message().to_owned());
        return Some(state);
    }
    if let Ok(origin) = checkpoint::origin(&identity) {
        query::read(
            c"SELECT coalesce(max(tree_size), 0), coalesce(max(tree_size) FILTER (WHERE cosigned_by <> '{}'), 0) \
              FROM ward.audit_checkpoints WHERE origin = pg_catalog.convert_from($1, 'UTF8')",
            &[query::Arg::Bytes(origin.as_bytes())],
            |row| {
                state.published = row.int8(1) as u64;
                state.cosigned = row.int8(2) as u64;
            },
        );
    }
    Some(state)
}

/// What a worker remembers of its publications.
pub struct Publisher {
    /// The log may have a head that is not published.
    unpublished: bool,
    not_before: Option<Instant>,
}

impl Publisher {
    /// A worker that has just begun does not know what was published.
    pub fn new() -> Self {
        Self {
            unpublished: true,
            not_before: None,
        }
    }

    /// Publishes the log's head if it is time. Answers how long it is until then, while there is one to publish.
    /// Call it outside a transaction.
    pub fn round(&mut self, sealed: bool) -> Result<Option<Duration>> {
        self.unpublished |= sealed;
        let Ok(interval) = u64::try_from(INTERVAL.get()) else {
            return Ok(None);
        };
        if !self.unpublished {
            return Ok(None);
        }
        if let Some(wait) = self.wait() {
            return Ok(Some(wait));
        }
        // one checkpoint after the other, however long a command takes
        if shared::mine().is_some_and(Slot::courier_is_out) {
            return Ok(Some(OUT));
        }
        let interval = Duration::from_secs(interval);
        match worker::transaction(|| {}, || prepare(interval))? {
            Step::Nothing => self.unpublished = false,
            Step::Wait(wait) => self.not_before = Some(Instant::now() + wait),
            Step::Refused(report) => {
                pgrx::warning!("pg_ward publishes no checkpoint: {}", report.message());
                self.not_before = Some(Instant::now() + AGAIN);
            }
            Step::Publish(errand) => {
                publish(&errand);
                self.unpublished = false;
                self.not_before = Some(Instant::now() + interval);
            }
        }
        Ok(self.wait().filter(|_| self.unpublished))
    }

    fn wait(&self) -> Option<Duration> {
        self.not_before
            .map(|time| time.saturating_duration_since(Instant::now()))
            .filter(|wait| !wait.is_zero())
    }
}

enum Step {
    Nothing,
    Wait(Duration),
    Refused(pgrx::pg_sys::panic::ErrorReport),
    /// It is signed and in the table.
    Publish(Errand),
}

/// Signs the head, if it is to be published now, and puts it into the table.
fn prepare(interval: Duration) -> Result<Step> {
    if owner::table(c"audit_checkpoints").is_none() {
        return Ok(Step::Nothing);
    }
    let (Some(identity), Some(block)) = (store::identity(), store::last_block()) else {
        return Ok(Step::Nothing);
    };
    let origin = match checkpoint::origin(&identity) {
        Ok(origin) => origin,
        Err(report) => return Ok(Step::Refused(report)),
    };
    let mut published = None;
    query::read(
        c"SELECT tree_size, (extract(epoch FROM pg_catalog.clock_timestamp() - signed_at) * 1000)::bigint \
          FROM ward.audit_checkpoints WHERE origin = pg_catalog.convert_from($1, 'UTF8') \
          ORDER BY signed_at DESC, tree_size DESC LIMIT 1",
        &[query::Arg::Bytes(origin.as_bytes())],
        |row| published = Some((row.int8(1), row.int8(2))),
    );
    if let Some((size, age)) = published {
        if size == block.tree_size as i64 {
            // as long as what was published, and perhaps another log
            return Ok(match signer::problem(&identity, &block) {
                Ok(_) => Step::Nothing,
                Err(report) => Step::Refused(report),
            });
        }
        // a clock that was set back makes ages negative
        let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
        if age < interval {
            return Ok(Step::Wait(interval - age));
        }
    }
    let note = match signer::sign(&identity, &block) {
        Ok(note) => note,
        Err(report) => return Ok(Step::Refused(report)),
    };
    Spi::run_with_args(
        "INSERT INTO ward.audit_checkpoints (origin, tree_size, note) VALUES ($1, $2, $3) \
         ON CONFLICT (origin, tree_size) DO UPDATE SET note = excluded.note, signed_at = excluded.signed_at, \
           cosigned_by = excluded.cosigned_by",
        &[
            origin.as_str().into(),
            (block.tree_size as i64).into(),
            note.as_str().into(),
        ],
    )
    .map_err(error::spi)?;
    Ok(Step::Publish(errand(&block, origin, note)))
}

fn errand(block: &Block, origin: String, note: String) -> Errand {
    let mut request = None;
    if command().is_some() {
        let mut old_size = 0;
        query::read(
            c"SELECT coalesce(max(tree_size), 0) FROM ward.audit_checkpoints \
              WHERE origin = pg_catalog.convert_from($1, 'UTF8') AND cosigned_by <> '{}'",
            &[query::Arg::Bytes(origin.as_bytes())],
            |row| old_size = row.int8(1) as u64,
        );
        match consistency_proof(old_size, block.tree_size, store::tile) {
            Ok(proof) => {
                let checkpoint = note.clone();
                request = Some(
                    AddCheckpoint {
                        old_size,
                        proof,
                        checkpoint,
                    }
                    .to_text(),
                );
            }
            Err(problem) => {
                pgrx::warning!("pg_ward asks no witness: {problem}");
            }
        }
    }
    let mut database = Vec::new();
    query::read(
        c"SELECT pg_catalog.convert_to(pg_catalog.current_database()::text, 'UTF8')",
        &[],
        |row| database = row.bytes(1),
    );
    Errand {
        origin,
        size: block.tree_size,
        note,
        database: safe_name(&database),
        request,
    }
}

/// A name that is one component of a path: other bytes than letters, digits, '-' and '_' as %XX.
fn safe_name(name: &[u8]) -> String {
    let mut safe = String::new();
    for byte in name {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            safe.push(char::from(*byte));
        } else {
            safe.push_str(&format!("%{byte:02X}"));
        }
    }
    safe
}

/// Hands a checkpoint out. What fails here is said in the server's log and must not stop sealing.
fn publish(errand: &Errand) {
    errand::write_file(&errand.database, &errand.note);
    if errand.request.is_some() && !errand.send() {
        pgrx::warning!(
            "ward.checkpoint_command was not run: no background worker is free (raise max_worker_processes)"
        );
    }
}
