//! The master key and what is derived from it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::secret::{KEY_LEN, SecretKey, derive, first_eight};

/// How many master keys may be in use at once, while rotating.
pub const MAX_MASTER_KEYS: usize = 8;

const ID_INFO: &[u8] = b"ward/master-id/v1";
const KEK_INFO: &[u8] = b"ward/kek/v1";
const REGISTRY_MAC_INFO: &[u8] = b"ward/registry-mac/v1";

/// The key that all others are wrapped under. It is never used itself, only derived from.
pub struct MasterKey {
    key: SecretKey,
    id: [u8; 8],
}

impl MasterKey {
    /// The caller owes a `key` that comes from outside the database.
    pub fn new(key: SecretKey) -> Self {
        let id = first_eight(&derive(&key, ID_INFO));
        Self { key, id }
    }

    /// Names the master key: `HKDF-SHA256(master, "ward/master-id/v1")[..8]`.
    pub fn id(&self) -> [u8; 8] {
        self.id
    }

    /// The key that wraps keys: `HKDF-SHA256(master, "ward/kek/v1")`.
    pub fn kek(&self) -> SecretKey {
        derive(&self.key, KEK_INFO)
    }

    /// The key that authenticates the registry's rows: `HKDF-SHA256(master, "ward/registry-mac/v1")`.
    pub fn registry_mac_key(&self) -> SecretKey {
        derive(&self.key, REGISTRY_MAC_INFO)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").finish_non_exhaustive()
    }
}

/// Why a text does not hold master keys. No variant holds a part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MasterKeyError {
    /// There is no line with a key.
    #[error(
        "there is no master key: one line of 64 hexadecimal digits or 44 characters of base64 is needed"
    )]
    Missing,
    /// There are more than [`MAX_MASTER_KEYS`].
    #[error("line {line}: more than {MAX_MASTER_KEYS} master keys; remove those no longer needed")]
    TooMany {
        /// The line with one key too many.
        line: usize,
    },
    /// Neither hexadecimal digits nor base64.
    #[error(
        "line {line}: a master key is 64 hexadecimal digits, or base64 of 32 bytes with its padding, and nothing else on the line"
    )]
    Malformed {
        /// The line that cannot be read.
        line: usize,
    },
    /// Readable, but not 32 bytes.
    #[error(
        "line {line}: a master key has exactly 32 bytes: 64 hexadecimal digits or 44 characters of base64"
    )]
    WrongLength {
        /// The line with too much or too little on it.
        line: usize,
    },
    /// Only zero bytes: a file that was never filled.
    #[error("line {line}: the master key is all zeros; use 32 bytes from a random generator")]
    AllZero {
        /// The line with the zeros.
        line: usize,
    },
    /// The same key twice.
    #[error("line {line}: this master key is already on line {first}; remove one of them")]
    Duplicate {
        /// The second line with this key.
        line: usize,
        /// The first line with this key.
        first: usize,
    },
}

/// Reads master keys, one a line; the first is the current one, the others only unwrap.
///
/// A key is 64 hexadecimal digits, or standard base64 with padding of 32 bytes. Blank lines and
/// white space around a key are ignored. The caller owes to wipe `text`.
pub fn parse_master_keys(text: &str) -> Result<Vec<MasterKey>, MasterKeyError> {
    let mut found: Vec<(usize, SecretKey)> = Vec::new();
    let lines = (1..).zip(text.lines().map(str::trim));
    for (line, encoded) in lines.filter(|(_, encoded)| !encoded.is_empty()) {
        if found.len() == MAX_MASTER_KEYS {
            return Err(MasterKeyError::TooMany { line });
        }
        let key = parse_key(line, encoded)?;
        if let Some((first, _)) = found.iter().find(|(_, other)| other.ct_eq(&key).into()) {
            let first = *first;
            return Err(MasterKeyError::Duplicate { line, first });
        }
        found.push((line, key));
    }
    if found.is_empty() {
        return Err(MasterKeyError::Missing);
    }
    Ok(found
        .into_iter()
        .map(|(_, key)| MasterKey::new(key))
        .collect())
}

fn parse_key(line: usize, encoded: &str) -> Result<SecretKey, MasterKeyError> {
    let wrong_length = MasterKeyError::WrongLength { line };
    let malformed = MasterKeyError::Malformed { line };
    let mut key = Zeroizing::new([0u8; KEY_LEN]);
    if encoded.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        // Never base64 of 32 bytes, which ends in '='.
        hex::decode_to_slice(encoded, key.as_mut()).map_err(|_| wrong_length)?;
    } else {
        // Fixed, so that no growing buffer leaves pieces of a key behind.
        let mut decoded = Zeroizing::new([0u8; 3 * KEY_LEN]);
        let len = match STANDARD.decode_slice(encoded, decoded.as_mut()) {
            Ok(len) => len,
            Err(base64::DecodeSliceError::OutputSliceTooSmall) => return Err(wrong_length),
            Err(base64::DecodeSliceError::DecodeError(_)) => return Err(malformed),
        };
        if len != KEY_LEN {
            return Err(wrong_length);
        }
        key.copy_from_slice(&decoded[..KEY_LEN]);
    }
    if key.ct_eq(&[0; KEY_LEN]).into() {
        return Err(MasterKeyError::AllZero { line });
    }
    Ok(SecretKey::new(*key))
}
