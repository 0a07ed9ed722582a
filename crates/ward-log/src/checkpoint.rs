//! Checkpoints: a signed statement of the log's size and root, as C2SP tlog-checkpoint and signed-note say.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer, SigningKey};
use thiserror::Error;

use crate::hash::Hash;
use crate::note::{KeyKind, SignedNote, VerifierKey, check_name, key_id, key_text};
use crate::tlog::number;

/// Why a checkpoint or key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CheckpointError {
    /// The origin cannot be a key name.
    #[error(
        "the origin must not be empty and must not contain '+', white space or control characters"
    )]
    BadOrigin,
    /// The verifier key text is malformed.
    #[error("the verifier key must read <name>+<8 hexadecimal digits>+<base64 of an Ed25519 key>")]
    BadVerifierKey,
    /// The text is not a signed note.
    #[error("the checkpoint is not a signed note")]
    NotANote,
    /// The note is not a checkpoint of three lines: origin, size, root.
    #[error("the note does not hold exactly an origin, a size and a root")]
    NotACheckpoint,
    /// The checkpoint is of another log.
    #[error("the checkpoint's origin is not the verifier key's name")]
    OtherOrigin,
    /// The key has not signed the note.
    #[error("the checkpoint carries no signature of this key")]
    NotSigned,
    /// The signature is wrong.
    #[error("the checkpoint's signature is wrong")]
    BadSignature,
    /// A witness's key where the log's is needed, or the other way round.
    #[error(
        "the key is of the wrong kind: a log signs checkpoints (type 01), a witness cosigns them (type 04)"
    )]
    WrongKeyKind,
    /// The text is not the private key of a witness.
    #[error(
        "the signing key must read PRIVATE+KEY+<name>+<8 hexadecimal digits>+<base64 of type 04 and seed>"
    )]
    BadSigningKey,
}

/// The size and root of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log's name, which is also the name of the key that signs.
    pub origin: String,
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
}

impl Checkpoint {
    /// The checkpoint as a note signed with the Ed25519 key of this seed.
    pub fn sign(&self, seed: &[u8; 32]) -> Result<String, CheckpointError> {
        self.sign_with(&[seed])
    }

    /// The checkpoint as a note signed with the Ed25519 keys of these seeds.
    pub fn sign_with(&self, seeds: &[&[u8; 32]]) -> Result<String, CheckpointError> {
        check_name(&self.origin)?;
        let text = self.text();
        let mut note = format!("{text}\n");
        for seed in seeds {
            let key = SigningKey::from_bytes(seed);
            let id = key_id(&self.origin, KeyKind::Log, key.verifying_key().as_bytes());
            let mut signature = id.to_vec();
            signature.extend_from_slice(&key.sign(text.as_bytes()).to_bytes());
            let signature = STANDARD.encode(signature);
            note.push_str(&format!("\u{2014} {} {signature}\n", self.origin));
        }
        Ok(note)
    }

    /// What a note says, without any check of who signed it: for finding the key to check it with.
    pub fn unverified(note: &SignedNote<'_>) -> Result<Self, CheckpointError> {
        Self::parse_text(note.text())
    }

    /// The note's text: origin, size and root, a line each.
    pub fn text(&self) -> String {
        format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            STANDARD.encode(self.root)
        )
    }

    /// Reads a signed checkpoint. It must carry this key's signature; signatures of other keys are left alone.
    pub fn verify(note: &str, vkey: &str) -> Result<Self, CheckpointError> {
        Self::open(&SignedNote::parse(note)?, &VerifierKey::parse(vkey)?)
    }

    /// The checkpoint in a note that this key of a log has signed.
    pub fn open(note: &SignedNote<'_>, key: &VerifierKey) -> Result<Self, CheckpointError> {
        if key.kind() != KeyKind::Log {
            return Err(CheckpointError::WrongKeyKind);
        }
        let mut signed = false;
        for signature in note.claimed(key) {
            key.verify(note.text().as_bytes(), signature)?;
            signed = true;
        }
        if !signed {
            return Err(CheckpointError::NotSigned);
        }
        let checkpoint = Self::parse_text(note.text())?;
        if checkpoint.origin != key.name() {
            return Err(CheckpointError::OtherOrigin);
        }
        Ok(checkpoint)
    }

    fn parse_text(text: &str) -> Result<Self, CheckpointError> {
        let bad = CheckpointError::NotACheckpoint;
        let mut lines = text.strip_suffix('\n').ok_or(bad)?.split('\n');
        let (Some(origin), Some(size), Some(root), None) =
            (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(bad);
        };
        Ok(Self {
            origin: origin.to_owned(),
            size: number(size).map_err(|_| bad)?,
            root: STANDARD
                .decode(root)
                .ok()
                .and_then(|root| root.try_into().ok())
                .ok_or(bad)?,
        })
    }
}

/// The text of the verifier key that belongs to a signing seed: `<origin>+<key hash>+<base64 key>`.
pub fn vkey(origin: &str, seed: &[u8; 32]) -> Result<String, CheckpointError> {
    check_name(origin)?;
    let key = SigningKey::from_bytes(seed).verifying_key();
    let id = key_id(origin, KeyKind::Log, key.as_bytes());
    Ok(key_text(origin, id, KeyKind::Log, key.as_bytes()))
}

/// The public key that belongs to a signing seed.
pub fn public_key(seed: &[u8; 32]) -> [u8; 32] {
    SigningKey::from_bytes(seed).verifying_key().to_bytes()
}
