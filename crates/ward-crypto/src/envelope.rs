//! The envelope around an encrypted value, taken apart but not yet authenticated.

use std::fmt;

use crate::error::{CryptoError, EnvelopeField};
use crate::secret::KeyId;
use crate::xaes::{HALF_NONCE_LEN, NONCE_LEN, TAG_LEN};

pub(crate) const MAGIC: u8 = 0xE7;
pub(crate) const FLAGS: u8 = 0;

/// Everything before the nonce: magic, suite, type tag, flags, key id.
pub(crate) const HEADER_LEN: usize = 12;

/// Bytes that an envelope adds to its plaintext.
pub const OVERHEAD: usize = HEADER_LEN + NONCE_LEN + TAG_LEN;

/// The type of the value in an envelope, authenticated with it.
///
/// Tag 0 is never assigned; tags from 4 are reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum ValueType {
    /// Text in UTF-8 or the database's encoding.
    Text = 1,
    /// Bytes.
    Bytea = 2,
    /// JSON, as its text.
    Jsonb = 3,
}

impl ValueType {
    pub(crate) fn from_tag(tag: u8) -> Option<Self> {
        [Self::Text, Self::Bytea, Self::Jsonb]
            .into_iter()
            .find(|ty| *ty as u8 == tag)
    }

    /// Refuses `self` unless it is `expected`.
    pub(crate) fn expect(self, expected: Self) -> Result<(), CryptoError> {
        if self == expected {
            Ok(())
        } else {
            Err(CryptoError::WrongType {
                expected,
                found: self,
            })
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Bytea => "bytea",
            Self::Jsonb => "jsonb",
        })
    }
}

/// How an envelope is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[repr(u8)]
pub enum Suite {
    /// XAES-256-GCM under a key of the registry.
    Xaes256Gcm = 1,
    /// XAES-256-GCM under a key derived from a password:
    /// [`PasswordEnvelope`](crate::PasswordEnvelope).
    Password = 3,
}

/// An envelope of suite 1 whose form is right. Nothing in it is authenticated until it is opened.
#[derive(Clone, Copy)]
pub struct Envelope<'a> {
    value_type: ValueType,
    key_id: KeyId,
    pub(crate) header: &'a [u8; HEADER_LEN],
    pub(crate) first_half: &'a [u8; HALF_NONCE_LEN],
    pub(crate) second_half: &'a [u8; HALF_NONCE_LEN],
    pub(crate) ciphertext: &'a [u8],
    pub(crate) tag: &'a [u8; TAG_LEN],
}

impl<'a> Envelope<'a> {
    /// Takes `bytes` apart: the whole of it is one envelope.
    ///
    /// What is not an envelope at all is told from one that was cut short: only bytes that start
    /// as an envelope are called truncated.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CryptoError> {
        let truncated = CryptoError::Truncated {
            len: bytes.len(),
            least: OVERHEAD,
        };
        let unknown = |field| CryptoError::UnknownFormat { field };
        if bytes.first().is_some_and(|magic| *magic != MAGIC) {
            return Err(unknown(EnvelopeField::Magic));
        }
        let (header, rest) = bytes.split_first_chunk::<HEADER_LEN>().ok_or(truncated)?;
        let [_, suite, value_type, flags, key_id @ ..] = *header;
        if suite == Suite::Password as u8 {
            return Err(CryptoError::NeedsPassword);
        }
        if suite != Suite::Xaes256Gcm as u8 {
            return Err(unknown(EnvelopeField::Suite));
        }
        let value_type =
            ValueType::from_tag(value_type).ok_or(unknown(EnvelopeField::ValueType))?;
        if flags != FLAGS {
            return Err(unknown(EnvelopeField::Flags));
        }
        let (first_half, rest) = rest.split_first_chunk().ok_or(truncated)?;
        let (second_half, rest) = rest.split_first_chunk().ok_or(truncated)?;
        let (ciphertext, tag) = rest.split_last_chunk().ok_or(truncated)?;
        Ok(Self {
            value_type,
            key_id: KeyId(key_id),
            header,
            first_half,
            second_half,
            ciphertext,
            tag,
        })
    }

    /// The suite it is encrypted with.
    pub fn suite(&self) -> Suite {
        Suite::Xaes256Gcm
    }

    /// The type it claims for its value.
    pub fn value_type(&self) -> ValueType {
        self.value_type
    }

    /// The key it claims to be encrypted with.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The length in bytes of its value.
    pub fn plaintext_len(&self) -> usize {
        self.ciphertext.len()
    }

    /// Refuses an envelope that does not hold a value of type `expected`.
    pub fn expect_type(&self, expected: ValueType) -> Result<(), CryptoError> {
        self.value_type.expect(expected)
    }
}

impl fmt::Debug for Envelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("suite", &self.suite())
            .field("value_type", &self.value_type)
            .field("key_id", &self.key_id)
            .field("plaintext_len", &self.plaintext_len())
            .finish_non_exhaustive()
    }
}

/// The header of a suite 1 envelope.
pub(crate) fn header(value_type: ValueType, key_id: KeyId) -> [u8; HEADER_LEN] {
    let [a, b, c, d, e, f, g, h] = key_id.0;
    let suite = Suite::Xaes256Gcm as u8;
    [
        MAGIC,
        suite,
        value_type as u8,
        FLAGS,
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
    ]
}
