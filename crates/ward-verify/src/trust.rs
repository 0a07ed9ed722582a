//! What is relied on: public keys and checkpoints, all from the command line.

use crate::args;
use crate::failure::Failure;
use crate::input;
use std::path::Path;
use ward_log::{Checkpoint, CheckpointError, KeyKind, SignedNote, VerifierKey, cosigned_at};

/// The public keys of the log and of witnesses.
pub struct Keys(Vec<VerifierKey>);

/// A witness's word.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Cosignature {
    /// The witness's name.
    pub witness: String,
    /// When it cosigned.
    pub at: String,
}

/// A checkpoint that a key of the log has signed.
pub struct Held {
    /// Where it comes from.
    pub file: String,
    /// What it says.
    pub checkpoint: Checkpoint,
    /// Which of the witnesses have cosigned it.
    pub cosignatures: Vec<Cosignature>,
}

impl Keys {
    /// Reads public keys.
    pub fn parse(texts: &[String]) -> Result<Self, Failure> {
        texts
            .iter()
            .map(|text| VerifierKey::parse(text).map_err(|error| Failure::input(text, error)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Opens a checkpoint: a key of the log must have signed it, and no given key's signature may be wrong.
    pub fn open(&self, file: &str, text: &str) -> Result<Held, Failure> {
        let refused = |error: CheckpointError| Failure::input(file, error);
        let note = SignedNote::parse(text).map_err(refused)?;
        let of_kind = |kind| self.0.iter().filter(move |key| key.kind() == kind);
        if of_kind(KeyKind::Log).next().is_none() {
            return Err(Failure::input(
                file,
                "a checkpoint shows nothing without the log's public key: give it with --key",
            ));
        }
        let mut checkpoint = None;
        for key in of_kind(KeyKind::Log) {
            match Checkpoint::open(&note, key) {
                Ok(opened) => checkpoint = Some(opened),
                Err(CheckpointError::NotSigned) => {}
                Err(error) => return Err(refused(error)),
            }
        }
        let checkpoint = checkpoint.ok_or_else(|| {
            Failure::input(
                file,
                "none of the given keys of a log has signed this checkpoint",
            )
        })?;
        let mut cosignatures = Vec::new();
        for key in of_kind(KeyKind::Witness) {
            match cosigned_at(&note, key) {
                Ok(seconds) => cosignatures.push(Cosignature {
                    witness: key.name().to_owned(),
                    at: crate::time::text(
                        i64::try_from(seconds)
                            .unwrap_or(i64::MAX)
                            .saturating_mul(1_000_000),
                    ),
                }),
                Err(CheckpointError::NotSigned) => {}
                Err(error) => return Err(refused(error)),
            }
        }
        Ok(Held {
            file: file.to_owned(),
            checkpoint,
            cosignatures,
        })
    }

    /// Opens the checkpoint in a file.
    pub fn open_file(&self, file: &Path) -> Result<Held, Failure> {
        self.open(&file.display().to_string(), &input::note(file)?)
    }
}

/// Reads all that is relied on. Two checkpoints of one log that contradict each other are no input, but a finding.
pub fn read(trust: &args::Trust) -> Result<(Keys, Vec<Held>), Failure> {
    let keys = Keys::parse(&trust.keys)?;
    let held = trust
        .checkpoints
        .iter()
        .map(|file| keys.open_file(file))
        .collect::<Result<_, _>>()?;
    Ok((keys, held))
}
