//! Keys of the registry, wrapped under the master key.

use zeroize::Zeroizing;

use crate::error::CryptoError;
use crate::master::MasterKey;
use crate::secret::{KEY_LEN, SecretKey};
use crate::xaes::{HALF_NONCE_LEN, NONCE_LEN, TAG_LEN, Xaes};

const LABEL: &[u8] = b"ward/wrap/v1";
const FORMAT: u8 = 1;
const ID_LEN: usize = 8;

/// Length in bytes of a wrapped key.
pub const WRAPPED_LEN: usize = 1 + ID_LEN + NONCE_LEN + KEY_LEN + TAG_LEN;

/// What a wrapped key is bound to, so that it cannot stand in for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrapContext<'a> {
    /// The key's UUID.
    pub key: [u8; 16],
    /// The version of the key.
    pub version: u32,
    /// What the key is for.
    pub purpose: &'a str,
}

/// Why a wrapped key could not be unwrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnwrapError {
    /// Shorter than a wrapped key.
    #[error("the wrapped key is truncated: {len} bytes instead of {WRAPPED_LEN}")]
    Truncated {
        /// The length found.
        len: usize,
    },
    /// Wrapped in a format this version does not know.
    #[error("the wrapped key has format {format}, which is not known to this version")]
    UnknownFormat {
        /// The format found.
        format: u8,
    },
    /// None of the master keys given is the one it was wrapped under.
    #[error("the key was wrapped under master key {}, which is not one of those configured", hex::encode(.id))]
    UnknownMaster {
        /// The id of the master key that is needed.
        id: [u8; 8],
    },
    /// The right master key, but something was changed since; or too long.
    #[error(
        "the wrapped key is corrupt: it, or the key, version or purpose it belongs to, was changed"
    )]
    Corrupt,
}

/// Wraps `material` under `master`: `format || master id || nonce || ciphertext || tag`.
///
/// XAES-256-GCM under [`MasterKey::kek`]. The caller owes a `nonce` of 24 fresh bytes from the
/// operating system's generator.
pub fn wrap_key(
    master: &MasterKey,
    context: &WrapContext<'_>,
    material: &SecretKey,
    nonce: [u8; 24],
) -> Result<Vec<u8>, CryptoError> {
    let (first_half, second_half) = halves(&nonce);
    let mut ciphertext = [0u8; KEY_LEN];
    let tag = Xaes::new(&master.kek())
        .message_cipher(&first_half)
        .seal(
            &second_half,
            &additional_data(context, &master.id()),
            material.expose(),
            &mut ciphertext,
        )
        .map_err(|_| CryptoError::TooLong)?;
    let parts: [&[u8]; 5] = [&[FORMAT], &master.id(), &nonce, &ciphertext, &tag];
    Ok(parts.concat())
}

/// Unwraps what [`wrap_key`] made, with whichever of `masters` it was wrapped under.
pub fn unwrap_key(
    masters: &[MasterKey],
    context: &WrapContext<'_>,
    wrapped: &[u8],
) -> Result<SecretKey, UnwrapError> {
    let parts = Parts::parse(wrapped)?;
    let id = *parts.master_id;
    let master = masters
        .iter()
        .find(|master| master.id() == id)
        .ok_or(UnwrapError::UnknownMaster { id })?;
    let (first_half, second_half) = halves(parts.nonce);
    let mut material = Zeroizing::new([0u8; KEY_LEN]);
    Xaes::new(&master.kek())
        .message_cipher(&first_half)
        .open(
            &second_half,
            &additional_data(context, &id),
            parts.ciphertext,
            parts.tag,
            material.as_mut(),
        )
        .map_err(|_| UnwrapError::Corrupt)?;
    Ok(SecretKey::new(*material))
}

/// The id of the master key that `wrapped` names, not authenticated.
pub fn wrapped_by(wrapped: &[u8]) -> Result<[u8; 8], UnwrapError> {
    Parts::parse(wrapped).map(|parts| *parts.master_id)
}

struct Parts<'a> {
    master_id: &'a [u8; ID_LEN],
    nonce: &'a [u8; NONCE_LEN],
    ciphertext: &'a [u8; KEY_LEN],
    tag: &'a [u8; TAG_LEN],
}

impl<'a> Parts<'a> {
    fn parse(wrapped: &'a [u8]) -> Result<Self, UnwrapError> {
        let truncated = UnwrapError::Truncated { len: wrapped.len() };
        let (&format, rest) = wrapped.split_first().ok_or(truncated)?;
        if format != FORMAT {
            return Err(UnwrapError::UnknownFormat { format });
        }
        let (master_id, rest) = rest.split_first_chunk().ok_or(truncated)?;
        let (nonce, rest) = rest.split_first_chunk().ok_or(truncated)?;
        let (ciphertext, rest) = rest.split_first_chunk().ok_or(truncated)?;
        let (tag, excess) = rest.split_first_chunk().ok_or(truncated)?;
        if !excess.is_empty() {
            return Err(UnwrapError::Corrupt);
        }
        Ok(Self {
            master_id,
            nonce,
            ciphertext,
            tag,
        })
    }
}

/// `label || format || uuid || u32 version || u64 length || purpose || master id`.
fn additional_data(context: &WrapContext<'_>, master_id: &[u8; ID_LEN]) -> Vec<u8> {
    let purpose = context.purpose.as_bytes();
    let parts: [&[u8]; 7] = [
        LABEL,
        &[FORMAT],
        &context.key,
        &context.version.to_be_bytes(),
        &(purpose.len() as u64).to_be_bytes(),
        purpose,
        master_id,
    ];
    parts.concat()
}

fn halves(nonce: &[u8; NONCE_LEN]) -> ([u8; HALF_NONCE_LEN], [u8; HALF_NONCE_LEN]) {
    let mut halves = ([0; HALF_NONCE_LEN], [0; HALF_NONCE_LEN]);
    halves.0.copy_from_slice(&nonce[..HALF_NONCE_LEN]);
    halves.1.copy_from_slice(&nonce[HALF_NONCE_LEN..]);
    halves
}
