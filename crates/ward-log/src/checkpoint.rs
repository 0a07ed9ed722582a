//! Checkpoints: a signed statement of the log's size and root, as C2SP tlog-checkpoint and signed-note say.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::hash::Hash;

/// The signature type byte of Ed25519 (C2SP signed-note).
const ED25519: u8 = 0x01;
/// How many signature lines a note may carry: ours and cosignatures.
const MAX_SIGNATURES: usize = 100;
/// The longest note that is read.
const MAX_NOTE_LEN: usize = 64 * 1024;

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
        check_name(&self.origin)?;
        let key = SigningKey::from_bytes(seed);
        let text = format!(
            "{}\n{}\n{}\n",
            self.origin,
            self.size,
            STANDARD.encode(self.root)
        );
        let mut signature = key_hash(&self.origin, key.verifying_key().as_bytes()).to_vec();
        signature.extend_from_slice(&key.sign(text.as_bytes()).to_bytes());
        Ok(format!(
            "{text}\n\u{2014} {} {}\n",
            self.origin,
            STANDARD.encode(signature)
        ))
    }

    /// Reads a signed checkpoint. It must carry this key's signature; signatures of other keys are left alone.
    pub fn verify(note: &str, vkey: &str) -> Result<Self, CheckpointError> {
        let key = VerifierKey::parse(vkey)?;
        let text = key.verify(note)?;
        let checkpoint = Self::parse_text(text)?;
        if checkpoint.origin != key.name {
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
        let decimal = size.bytes().all(|byte| byte.is_ascii_digit());
        if !decimal || (size.len() > 1 && size.starts_with('0')) {
            return Err(bad);
        }
        Ok(Self {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| bad)?,
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
    let hash = u32::from_be_bytes(key_hash(origin, key.as_bytes()));
    let mut typed = vec![ED25519];
    typed.extend_from_slice(key.as_bytes());
    Ok(format!("{origin}+{hash:08x}+{}", STANDARD.encode(typed)))
}

/// A parsed verifier key.
struct VerifierKey<'a> {
    name: &'a str,
    hash: [u8; 4],
    key: VerifyingKey,
}

impl<'a> VerifierKey<'a> {
    fn parse(text: &'a str) -> Result<Self, CheckpointError> {
        let bad = CheckpointError::BadVerifierKey;
        // base64 may hold a '+', names may not
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(bad);
        };
        check_name(name)?;
        let typed = STANDARD.decode(key).map_err(|_| bad)?;
        let Some((&ED25519, key)) = typed.split_first() else {
            return Err(bad);
        };
        let key: [u8; 32] = key.try_into().map_err(|_| bad)?;
        let expected = key_hash(name, &key);
        if hash != format!("{:08x}", u32::from_be_bytes(expected)) {
            return Err(bad);
        }
        Ok(Self {
            name,
            hash: expected,
            key: VerifyingKey::from_bytes(&key).map_err(|_| bad)?,
        })
    }

    /// The note's text, when this key has signed it.
    fn verify<'n>(&self, note: &'n str) -> Result<&'n str, CheckpointError> {
        let bad = CheckpointError::NotANote;
        if note.len() > MAX_NOTE_LEN || note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(bad);
        }
        let split = note.rfind("\n\n").ok_or(bad)?;
        let (text, signatures) = (&note[..split + 1], &note[split + 2..]);
        let lines = signatures.strip_suffix('\n').ok_or(bad)?.split('\n');
        let mut signed = false;
        for (count, line) in lines.enumerate() {
            let (name, blob) = line
                .strip_prefix("\u{2014} ")
                .and_then(|rest| rest.split_once(' '))
                .filter(|_| count < MAX_SIGNATURES)
                .ok_or(bad)?;
            let blob = STANDARD.decode(blob).map_err(|_| bad)?;
            let (hash, signature) = blob.split_first_chunk::<4>().ok_or(bad)?;
            if name != self.name || *hash != self.hash {
                continue;
            }
            let signature =
                Signature::from_slice(signature).map_err(|_| CheckpointError::BadSignature)?;
            self.key
                .verify_strict(text.as_bytes(), &signature)
                .map_err(|_| CheckpointError::BadSignature)?;
            signed = true;
        }
        if signed {
            Ok(text)
        } else {
            Err(CheckpointError::NotSigned)
        }
    }
}

/// `SHA-256(name || "\n" || 0x01 || key)[..4]` (C2SP signed-note).
fn key_hash(name: &str, key: &[u8; 32]) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', ED25519])
        .chain_update(key)
        .finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

fn check_name(name: &str) -> Result<(), CheckpointError> {
    if name.is_empty()
        || name
            .chars()
            .any(|c| c == '+' || c.is_whitespace() || c.is_control())
    {
        return Err(CheckpointError::BadOrigin);
    }
    Ok(())
}
