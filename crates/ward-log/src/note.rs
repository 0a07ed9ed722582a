//! Signed notes and the keys that verify them, as C2SP signed-note says.

use base64::{Engine, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signature, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::checkpoint::CheckpointError;

/// How many signature lines a note may carry: the log's and cosignatures.
const MAX_SIGNATURES: usize = 100;
/// The longest note that is read.
const MAX_NOTE_LEN: usize = 64 * 1024;

/// What a key signs; its number is the signature type byte of C2SP signed-note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeyKind {
    /// The log's own key: plain Ed25519.
    Log = 0x01,
    /// A witness's key: timestamped Ed25519 cosignatures (C2SP tlog-cosignature).
    Witness = 0x04,
}

impl KeyKind {
    pub(crate) fn parse(byte: u8) -> Option<Self> {
        match byte {
            0x01 => Some(Self::Log),
            0x04 => Some(Self::Witness),
            _ => None,
        }
    }
}

/// The key id: `SHA-256(name || "\n" || kind || key)[..4]`.
pub(crate) fn key_id(name: &str, kind: KeyKind, key: &[u8; 32]) -> [u8; 4] {
    let digest = Sha256::new()
        .chain_update(name)
        .chain_update([b'\n', kind as u8])
        .chain_update(key)
        .finalize();
    [digest[0], digest[1], digest[2], digest[3]]
}

/// A name that can stand in a note.
pub(crate) fn check_name(name: &str) -> Result<(), CheckpointError> {
    if name.is_empty()
        || name
            .chars()
            .any(|c| c == '+' || c.is_whitespace() || c.is_control())
    {
        return Err(CheckpointError::BadOrigin);
    }
    Ok(())
}

/// `<name>+<key id>+<base64 of kind and key>`, the part that public and private keys have in common.
pub(crate) fn key_text(name: &str, id: [u8; 4], kind: KeyKind, key: &[u8; 32]) -> String {
    let mut typed = vec![kind as u8];
    typed.extend_from_slice(key);
    let id = u32::from_be_bytes(id);
    format!("{name}+{id:08x}+{}", STANDARD.encode(typed))
}

/// Name, written id, kind and key bytes of a key text.
pub(crate) fn parse_key_text(text: &str) -> Option<(&str, &str, KeyKind, [u8; 32])> {
    // base64 may hold a '+', names may not
    let mut parts = text.splitn(3, '+');
    let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
    let typed = STANDARD.decode(key).ok()?;
    let (kind, key) = typed.split_first()?;
    Some((name, id, KeyKind::parse(*kind)?, key.try_into().ok()?))
}

/// A signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NoteSignature<'a> {
    name: &'a str,
    id: [u8; 4],
    signature: Vec<u8>,
}

/// A note: a text and the signatures on it. Nothing of it may be relied on before a key has verified it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote<'a> {
    text: &'a str,
    signatures: Vec<NoteSignature<'a>>,
}

impl<'a> SignedNote<'a> {
    /// Reads a note; verifies nothing.
    pub fn parse(note: &'a str) -> Result<Self, CheckpointError> {
        let bad = CheckpointError::NotANote;
        if note.len() > MAX_NOTE_LEN || note.chars().any(|c| c < ' ' && c != '\n') {
            return Err(bad);
        }
        let split = note.rfind("\n\n").ok_or(bad)?;
        let (text, lines) = (&note[..split + 1], &note[split + 2..]);
        let lines = lines.strip_suffix('\n').ok_or(bad)?.split('\n');
        let mut signatures = Vec::new();
        for (count, line) in lines.enumerate() {
            let (name, blob) = line
                .strip_prefix("\u{2014} ")
                .and_then(|rest| rest.split_once(' '))
                .filter(|_| count < MAX_SIGNATURES)
                .ok_or(bad)?;
            let blob = STANDARD.decode(blob).map_err(|_| bad)?;
            let (id, signature) = blob.split_first_chunk::<4>().ok_or(bad)?;
            signatures.push(NoteSignature {
                name,
                id: *id,
                signature: signature.to_vec(),
            });
        }
        Ok(Self { text, signatures })
    }

    /// The signed text, with its final newline.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// The signatures that claim to be this key's.
    pub(crate) fn claimed(&self, key: &VerifierKey) -> impl Iterator<Item = &[u8]> {
        self.signatures
            .iter()
            .filter(|line| line.name == key.name && line.id == key.id)
            .map(|line| line.signature.as_slice())
    }
}

/// A public key, with the name it signs under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    kind: KeyKind,
    key: VerifyingKey,
}

impl VerifierKey {
    /// Reads the text form: `<name>+<8 hexadecimal digits>+<base64>`.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let bad = CheckpointError::BadVerifierKey;
        let (name, written, kind, key) = parse_key_text(text).ok_or(bad)?;
        check_name(name)?;
        let id = key_id(name, kind, &key);
        if written != format!("{:08x}", u32::from_be_bytes(id)) {
            return Err(bad);
        }
        Ok(Self {
            name: name.to_owned(),
            id,
            kind,
            key: VerifyingKey::from_bytes(&key).map_err(|_| bad)?,
        })
    }

    /// The key of a log with these bytes, under a name.
    pub fn of_log(name: &str, key: &[u8; 32]) -> Result<Self, CheckpointError> {
        check_name(name)?;
        Ok(Self {
            name: name.to_owned(),
            id: key_id(name, KeyKind::Log, key),
            kind: KeyKind::Log,
            key: VerifyingKey::from_bytes(key).map_err(|_| CheckpointError::BadVerifierKey)?,
        })
    }

    /// The key itself.
    pub fn bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The name the key signs under: of a log, its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the key signs.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Whether this is a valid signature of the key on these bytes; strict, see RFC 8032, section 5.1.7.
    pub(crate) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), CheckpointError> {
        Signature::from_slice(signature)
            .and_then(|signature| self.key.verify_strict(message, &signature))
            .map_err(|_| CheckpointError::BadSignature)
    }
}
