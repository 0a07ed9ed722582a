//! Cosignatures: a witness's timestamped word that a checkpoint extends all it has seen of the log
//! (C2SP tlog-cosignature, Ed25519).

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use zeroize::Zeroizing;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::note::{KeyKind, SignedNote, VerifierKey, check_name, key_id, key_text, parse_key_text};

/// What a private key begins with.
const PRIVATE: &str = "PRIVATE+KEY+";

/// When this witness has cosigned the note, in seconds since 1970; the latest time if it did more than once.
///
/// A cosignature says nothing about the log's own signature: open the checkpoint with the log's key as well.
pub fn cosigned_at(note: &SignedNote<'_>, witness: &VerifierKey) -> Result<u64, CheckpointError> {
    if witness.kind() != KeyKind::Witness {
        return Err(CheckpointError::WrongKeyKind);
    }
    let mut latest = None;
    for blob in note.claimed(witness) {
        let (time, signature) = blob
            .split_first_chunk::<8>()
            .ok_or(CheckpointError::BadSignature)?;
        let time = u64::from_be_bytes(*time);
        if i64::try_from(time).is_err() {
            return Err(CheckpointError::BadSignature);
        }
        witness.verify(&message(note.text(), time), signature)?;
        latest = latest.max(Some(time));
    }
    latest.ok_or(CheckpointError::NotSigned)
}

fn message(text: &str, time: u64) -> Vec<u8> {
    format!("cosignature/v1\ntime {time}\n{text}").into_bytes()
}

/// The signing key of a witness.
pub struct WitnessKey {
    name: String,
    seed: Zeroizing<[u8; 32]>,
}

impl WitnessKey {
    /// A key from its name and 32 random bytes.
    pub fn new(name: &str, seed: Zeroizing<[u8; 32]>) -> Result<Self, CheckpointError> {
        check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            seed,
        })
    }

    /// Reads the text form: `PRIVATE+KEY+<name>+<8 hexadecimal digits>+<base64 of 04 and seed>`.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let bad = CheckpointError::BadSigningKey;
        let text = text.strip_prefix(PRIVATE).ok_or(bad)?;
        let (name, written, kind, seed) = parse_key_text(text).ok_or(bad)?;
        let key = Self::new(name, Zeroizing::new(seed)).map_err(|_| bad)?;
        if kind != KeyKind::Witness || written != format!("{:08x}", u32::from_be_bytes(key.id())) {
            return Err(bad);
        }
        Ok(key)
    }

    /// The text form; a secret.
    pub fn to_text(&self) -> Zeroizing<String> {
        let text = key_text(&self.name, self.id(), KeyKind::Witness, &self.seed);
        Zeroizing::new(format!("{PRIVATE}{text}"))
    }

    /// The public key in text form.
    pub fn vkey(&self) -> String {
        let key = SigningKey::from_bytes(&self.seed).verifying_key();
        key_text(&self.name, self.id(), KeyKind::Witness, key.as_bytes())
    }

    /// The signature line on this checkpoint, made at this time (seconds since 1970).
    pub fn cosign(&self, checkpoint: &Checkpoint, time: u64) -> Result<String, CheckpointError> {
        if i64::try_from(time).is_err() {
            return Err(CheckpointError::BadSignature);
        }
        let signature = SigningKey::from_bytes(&self.seed).sign(&message(&checkpoint.text(), time));
        let mut blob = self.id().to_vec();
        blob.extend_from_slice(&time.to_be_bytes());
        blob.extend_from_slice(&signature.to_bytes());
        Ok(format!(
            "\u{2014} {} {}\n",
            self.name,
            STANDARD.encode(blob)
        ))
    }

    fn id(&self) -> [u8; 4] {
        let key = SigningKey::from_bytes(&self.seed).verifying_key();
        key_id(&self.name, KeyKind::Witness, key.as_bytes())
    }
}
