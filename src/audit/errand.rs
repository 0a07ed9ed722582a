//! What happens to a checkpoint outside the database: it is written to `ward.checkpoint_file`, and a courier gives it
//! to `ward.checkpoint_command` and brings the cosignatures back. However long the command takes, sealing goes on.

use super::{publish, signer};
use crate::error::{self, Result};
use crate::pg::keys::process::told_to_end;
use crate::pg::shared::{self, Slot};
use crate::pg::{courier, owner, process, worker};
use crate::program::{self, Talk};
use pgrx::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use ward_log::{KeyKind, SignedNote, VerifierKey, cosigned_at};

/// The most that is read of a command's answer.
const ANSWER: usize = 0x1_0000;

/// What a courier may need beside the time of the command, before it counts as lost.
const WAY: Duration = Duration::from_secs(20);

/// A checkpoint that is signed and in the table.
#[derive(Serialize, Deserialize)]
pub struct Errand {
    /// Its origin.
    pub origin: String,
    /// How many leaves it covers.
    pub size: u64,
    /// The checkpoint.
    pub note: String,
    /// The database's name, as it stands in paths.
    pub database: String,
    /// What the command is given, if there is one.
    pub request: Option<String>,
}

impl Errand {
    /// Sends a courier; false when none is free.
    pub fn send(&self) -> bool {
        let (Ok(errand), Some(slot)) = (serde_json::to_vec(self), shared::mine()) else {
            return false;
        };
        slot.courier_leaves(program::TIME_LIMIT + WAY);
        let sent = courier::send(process::my_database(), &errand);
        if !sent {
            slot.courier_is_back();
        }
        sent
    }
}

/// The courier's work.
pub fn run(database: pg_sys::Oid, errand: &[u8]) {
    if let Ok(errand) = serde_json::from_slice(errand) {
        bring_back(database, errand).unwrap_or_else(|report| error::raise(report));
    }
    if let Some(slot) = shared::get().find(database) {
        Slot::courier_is_back(slot);
    }
}

fn bring_back(database: pg_sys::Oid, errand: Errand) -> Result<()> {
    let (Some(command), Some(request)) = (publish::command(), &errand.request) else {
        return Ok(());
    };
    let talk = Talk {
        input: Some(request.as_bytes()),
        size_limit: ANSWER,
        interrupted: told_to_end,
    };
    let answer = match program::output_of(&command, &talk) {
        Ok(answer) => answer,
        Err(reason) => {
            pgrx::warning!("ward.checkpoint_command failed: {reason}");
            return Ok(());
        }
    };
    let (lines, names) = cosignatures(&errand.note, &String::from_utf8_lossy(&answer));
    if names.is_empty() {
        return Ok(());
    }
    let note = format!("{}{lines}", errand.note);
    courier::come_back(database);
    worker::transaction(|| {}, || store(&errand, &note, names))?;
    write_file(&errand.database, &note);
    Ok(())
}

/// Writes a checkpoint to `ward.checkpoint_file`, if there is one. What fails is said in the server's log.
pub fn write_file(database: &str, note: &str) {
    let Some(file) = publish::file() else {
        return;
    };
    let file = file.replace("%d", database);
    let file = Path::new(&file);
    if !file.is_absolute() {
        pgrx::warning!("ward.checkpoint_file is not an absolute path");
    } else if let Err(error) = signer::put_file(file, note) {
        pgrx::warning!("ward.checkpoint_file cannot be written: {error}");
    }
}

/// The signature lines of an answer that are valid cosignatures of known witnesses, and who those are.
fn cosignatures(note: &str, answer: &str) -> (String, Vec<String>) {
    let mut witnesses = Vec::new();
    for text in publish::witnesses().split_whitespace() {
        match VerifierKey::parse(text) {
            Ok(key) if key.kind() == KeyKind::Witness => witnesses.push(key),
            Ok(_) => {
                pgrx::warning!("ward.checkpoint_witnesses: {text} is not the key of a witness");
            }
            Err(error) => {
                pgrx::warning!("ward.checkpoint_witnesses: {error}");
            }
        }
    }
    let (mut lines, mut names) = (String::new(), Vec::new());
    for line in answer.lines() {
        let signed = format!("{note}{line}\n");
        let Ok(signed) = SignedNote::parse(&signed) else {
            continue;
        };
        let signer = witnesses
            .iter()
            .find(|key| cosigned_at(&signed, key).is_ok());
        if let Some(key) = signer
            && !names.iter().any(|name| name == key.name())
        {
            lines.push_str(line);
            lines.push('\n');
            names.push(key.name().to_owned());
        }
    }
    if names.is_empty() && !answer.trim().is_empty() {
        pgrx::warning!(
            "ward.checkpoint_command answered without a cosignature of a witness in ward.checkpoint_witnesses"
        );
    }
    (lines, names)
}

/// Stores a cosigned checkpoint, unless its place was taken meanwhile.
fn store(errand: &Errand, note: &str, names: Vec<String>) -> Result<()> {
    if owner::table(c"audit_checkpoints").is_none() {
        return Ok(());
    }
    Spi::run_with_args(
        "UPDATE ward.audit_checkpoints SET note = $3, cosigned_by = $4 \
         WHERE origin = $1 AND tree_size = $2 AND note = $5",
        &[
            errand.origin.as_str().into(),
            (errand.size as i64).into(),
            note.into(),
            names.into(),
            errand.note.as_str().into(),
        ],
    )
    .map_err(error::spi)
}
