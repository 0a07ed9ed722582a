//! What is relied on: public keys and checkpoints, all from the command line.

use crate::args;
use crate::failure::Failure;
use crate::input;
use crate::trail::Trail;
use std::path::{Path, PathBuf};
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
        self.try_open(file, text)?.ok_or_else(|| not_signed(file))
    }

    /// Opens a checkpoint; None when no given key of a log has signed it.
    fn try_open(&self, file: &str, text: &str) -> Result<Option<Held>, Failure> {
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
        let Some(checkpoint) = checkpoint else {
            return Ok(None);
        };
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
        Ok(Some(Held {
            file: file.to_owned(),
            checkpoint,
            cosignatures,
        }))
    }

    /// The same with the keys of `log` as the keys of a log of this name.
    fn under(&self, origin: &str, log: &[[u8; 32]]) -> Self {
        let witnesses = self.0.iter().filter(|key| key.kind() == KeyKind::Witness);
        let keys = log
            .iter()
            .filter_map(|key| VerifierKey::of_log(origin, key).ok())
            .chain(witnesses.cloned());
        Self(keys.collect())
    }

    /// The keys of logs themselves, without their names.
    fn log_keys(&self) -> Vec<[u8; 32]> {
        let logs = self.0.iter().filter(|key| key.kind() == KeyKind::Log);
        logs.map(|key| *key.bytes()).collect()
    }

    /// Opens the checkpoint in a file.
    pub fn open_file(&self, file: &Path) -> Result<Held, Failure> {
        self.open(&file.display().to_string(), &input::note(file)?)
    }
}

fn not_signed(file: &str) -> Failure {
    Failure::input(
        file,
        "none of the given keys of a log has signed this checkpoint",
    )
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

/// A checkpoint from the arguments.
pub struct Candidate {
    file: String,
    text: String,
    /// What it says, whoever signed it.
    pub says: Checkpoint,
    /// What it is when one of the given keys has signed it.
    held: Option<Held>,
}

/// Keys, and checkpoints that may turn out to be signed by keys that follow from them.
pub struct Candidates {
    keys: Keys,
    /// The checkpoints.
    pub list: Vec<Candidate>,
}

impl Candidates {
    /// Reads keys and checkpoints.
    pub fn read(trust: &args::Trust) -> Result<Self, Failure> {
        let keys = Keys::parse(&trust.keys)?;
        let candidate = |file: &PathBuf| {
            let name = file.display().to_string();
            let text = input::note(file)?;
            let says = SignedNote::parse(&text)
                .and_then(|note| Checkpoint::unverified(&note))
                .map_err(|error| Failure::input(&name, error))?;
            let held = keys.try_open(&name, &text)?;
            Ok(Candidate {
                file: name,
                text,
                says,
                held,
            })
        };
        let list = trust.checkpoints.iter().map(candidate);
        let list = list.collect::<Result<_, Failure>>()?;
        Ok(Self { keys, list })
    }

    /// The checkpoints, now that the trail was read: `extends` says whether the log has the head of one. A key counts
    /// for every incarnation that the log has, and hands over to the one that replaced it (docs/log-format.md, 6).
    pub fn open(
        self,
        trail: &mut Trail,
        extends: impl Fn(&Checkpoint) -> bool,
    ) -> Result<Vec<Held>, Failure> {
        let mut trusted = self.keys.log_keys();
        loop {
            let handed_over = trail.key_changes.iter_mut().find(|change| {
                let [old, new] = change.keys;
                !change.followed
                    && trusted.contains(&old)
                    && self.list.iter().any(|candidate| {
                        let origin = &candidate.says.origin;
                        let signed = |key| {
                            SignedNote::parse(&candidate.text).is_ok_and(|note| {
                                VerifierKey::of_log(origin, key)
                                    .is_ok_and(|key| Checkpoint::open(&note, &key).is_ok())
                            })
                        };
                        candidate.says.size > change.entry
                            && extends(&candidate.says)
                            && signed(&old)
                            && signed(&new)
                    })
            });
            let Some(change) = handed_over else { break };
            change.followed = true;
            trusted.push(change.keys[1]);
        }
        let mut held = Vec::new();
        for candidate in self.list {
            let origin = &candidate.says.origin;
            let opened = match candidate.held {
                Some(opened) => Some(opened),
                None if trail.history_of(origin).is_some() => self
                    .keys
                    .under(origin, &trusted)
                    .try_open(&candidate.file, &candidate.text)?,
                None => None,
            };
            held.push(opened.ok_or_else(|| not_signed(&candidate.file))?);
        }
        Ok(held)
    }
}
