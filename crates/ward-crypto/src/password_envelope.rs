//! The envelope of suite 3, taken apart but not yet authenticated.

use std::fmt;

use crate::envelope::{FLAGS, MAGIC, Suite, ValueType};
use crate::error::{CryptoError, EnvelopeField};
use crate::xaes::{HALF_NONCE_LEN, NONCE_LEN, TAG_LEN};

/// The fewest iterations a password is stretched with.
pub const MIN_ITERATIONS: u32 = 100_000;

/// The most iterations a password is stretched with: some seconds of one processor.
pub const MAX_ITERATIONS: u32 = 10_000_000;

/// Length in bytes of a salt.
pub const SALT_LEN: usize = 16;

/// Length in bytes of the commitment to the key.
pub(crate) const COMMITMENT_LEN: usize = 32;

/// Everything before the nonce.
pub(crate) const PASSWORD_HEADER_LEN: usize = 4 + 1 + 4 + SALT_LEN + COMMITMENT_LEN;

/// Bytes that an envelope of suite 3 adds to its plaintext.
pub const PASSWORD_OVERHEAD: usize = PASSWORD_HEADER_LEN + NONCE_LEN + TAG_LEN;

/// PBKDF2-HMAC-SHA256, the only derivation there is.
const KDF: u8 = 1;

/// How a password becomes a key. The number of iterations is within the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PasswordParams {
    iterations: u32,
    salt: [u8; SALT_LEN],
}

impl PasswordParams {
    /// Refuses a number of iterations below [`MIN_ITERATIONS`] or above [`MAX_ITERATIONS`].
    pub fn new(iterations: u32, salt: [u8; SALT_LEN]) -> Result<Self, CryptoError> {
        if (MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
            Ok(Self { iterations, salt })
        } else {
            Err(CryptoError::Iterations)
        }
    }

    /// How often the password is hashed.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// The salt.
    pub fn salt(&self) -> &[u8; SALT_LEN] {
        &self.salt
    }
}

/// An envelope of suite 3 whose form is right. Nothing in it is authenticated until it is opened.
#[derive(Clone, Copy)]
pub struct PasswordEnvelope<'a> {
    value_type: ValueType,
    params: PasswordParams,
    pub(crate) header: &'a [u8; PASSWORD_HEADER_LEN],
    pub(crate) commitment: &'a [u8; COMMITMENT_LEN],
    pub(crate) first_half: &'a [u8; HALF_NONCE_LEN],
    pub(crate) second_half: &'a [u8; HALF_NONCE_LEN],
    pub(crate) ciphertext: &'a [u8],
    pub(crate) tag: &'a [u8; TAG_LEN],
}

impl<'a> PasswordEnvelope<'a> {
    /// Takes `bytes` apart: the whole of it is one envelope. The cost of a hostile one is bounded,
    /// because iterations out of range are refused before anything is derived.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CryptoError> {
        let truncated = CryptoError::Truncated {
            len: bytes.len(),
            least: PASSWORD_OVERHEAD,
        };
        let unknown = |field| CryptoError::UnknownFormat { field };
        match *bytes {
            [] => return Err(truncated),
            [magic, ..] if magic != MAGIC => return Err(unknown(EnvelopeField::Magic)),
            [_, suite, ..] if suite == Suite::Xaes256Gcm as u8 => {
                return Err(CryptoError::NeedsKey);
            }
            [_, suite, ..] if suite != Suite::Password as u8 => {
                return Err(unknown(EnvelopeField::Suite));
            }
            _ => {}
        }
        let (header, rest) = bytes.split_first_chunk().ok_or(truncated)?;
        let header: &[u8; PASSWORD_HEADER_LEN] = header;
        let (start, derivation) = header.split_first_chunk().ok_or(truncated)?;
        let [_, _, value_type, flags, kdf] = *start;
        let value_type =
            ValueType::from_tag(value_type).ok_or(unknown(EnvelopeField::ValueType))?;
        if flags != FLAGS {
            return Err(unknown(EnvelopeField::Flags));
        }
        if kdf != KDF {
            return Err(unknown(EnvelopeField::Kdf));
        }
        let (iterations, derivation) = derivation.split_first_chunk().ok_or(truncated)?;
        let (salt, commitment) = derivation.split_first_chunk().ok_or(truncated)?;
        let params = PasswordParams::new(u32::from_be_bytes(*iterations), *salt)?;
        let (first_half, rest) = rest.split_first_chunk().ok_or(truncated)?;
        let (second_half, rest) = rest.split_first_chunk().ok_or(truncated)?;
        let (ciphertext, tag) = rest.split_last_chunk().ok_or(truncated)?;
        Ok(Self {
            value_type,
            params,
            header,
            commitment: commitment.try_into().map_err(|_| truncated)?,
            first_half,
            second_half,
            ciphertext,
            tag,
        })
    }

    /// The type it claims for its value.
    pub fn value_type(&self) -> ValueType {
        self.value_type
    }

    /// How it claims to have made its key.
    pub fn params(&self) -> &PasswordParams {
        &self.params
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

impl fmt::Debug for PasswordEnvelope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordEnvelope")
            .field("value_type", &self.value_type)
            .field("iterations", &self.params.iterations)
            .field("plaintext_len", &self.plaintext_len())
            .finish_non_exhaustive()
    }
}

/// The bytes before the nonce.
pub(crate) fn header(
    value_type: ValueType,
    params: &PasswordParams,
    commitment: &[u8; COMMITMENT_LEN],
) -> [u8; PASSWORD_HEADER_LEN] {
    let mut header = [0u8; PASSWORD_HEADER_LEN];
    let (start, rest) = header.split_at_mut(5);
    let (iterations, rest) = rest.split_at_mut(4);
    let (salt, rest) = rest.split_at_mut(SALT_LEN);
    start.copy_from_slice(&[MAGIC, Suite::Password as u8, value_type as u8, FLAGS, KDF]);
    iterations.copy_from_slice(&params.iterations.to_be_bytes());
    salt.copy_from_slice(&params.salt);
    rest.copy_from_slice(commitment);
    header
}
