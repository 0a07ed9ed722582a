//! What can go wrong with a field value.

use std::fmt;

use crate::envelope::ValueType;
use crate::password_envelope::{MAX_ITERATIONS, MIN_ITERATIONS};

/// Why a value could not be sealed or opened.
///
/// No text holds a byte of the value: bytes given for an envelope may be a plaintext passed by
/// mistake, and messages reach logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// Shorter than the shortest envelope.
    #[error("ciphertext is truncated: {len} bytes, an envelope has at least {least}")]
    Truncated {
        /// The length found.
        len: usize,
        /// The length of the shortest.
        least: usize,
    },
    /// Not an envelope, or one of a format this version does not know.
    #[error("unknown ciphertext format: {field}")]
    UnknownFormat {
        /// The first part of the header that is not known.
        field: EnvelopeField,
    },
    /// The envelope holds a value of another type.
    #[error("the encrypted value is {found}, not {expected}")]
    WrongType {
        /// The type asked for.
        expected: ValueType,
        /// The type the envelope names.
        found: ValueType,
    },
    /// The envelope names another key than the one it was to be opened with.
    #[error("the envelope was made with another key than the one given")]
    WrongKey,
    /// Wrong key bytes, additional data or ciphertext: these cannot be told apart.
    #[error(
        "authentication failed: the ciphertext or its additional data differs from what was encrypted"
    )]
    AuthenticationFailed,
    /// The envelope commits to a key that this password does not give.
    #[error("wrong password")]
    WrongPassword,
    /// The envelope is of suite 3.
    #[error("the value was encrypted with a password, not with a key")]
    NeedsPassword,
    /// The envelope is of suite 1.
    #[error("the value was encrypted with a key, not with a password")]
    NeedsKey,
    /// A password is to be stretched too little, or more than is bearable.
    #[error("the number of iterations is not between {MIN_ITERATIONS} and {MAX_ITERATIONS}")]
    Iterations,
    /// This nonce prefix has been used up; make an [`Encryptor`](crate::Encryptor) with a new one.
    #[error("the nonce prefix is used up, a new one is needed")]
    NonceExhausted,
    /// The value exceeds what AES-256-GCM may encrypt at once.
    #[error("the value is too long to encrypt")]
    TooLong,
    /// There is no memory for a copy of the additional data.
    #[error("out of memory for the additional data of an encrypted value")]
    OutOfMemory,
    /// The buffer given for the result has the wrong length.
    #[error("the result needs a buffer of {needed} bytes, {given} were given")]
    BufferSize {
        /// The length that fits.
        needed: usize,
        /// The length given.
        given: usize,
    },
}

/// A part of the envelope's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EnvelopeField {
    /// The first byte, `E7`.
    Magic,
    /// The cipher suite.
    Suite,
    /// The type tag.
    ValueType,
    /// The flags, all reserved.
    Flags,
    /// How the password becomes a key.
    Kdf,
}

impl fmt::Display for EnvelopeField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Magic => "it does not start as an envelope does",
            Self::Suite => "its cipher suite is not known to this version",
            Self::ValueType => "its type tag is not known to this version",
            Self::Kdf => "its key derivation is not known to this version",
            Self::Flags => "it has flags that are not known to this version",
        })
    }
}
