//! Blind indexes: keyed tags by which equal values are found without decrypting.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::secret::{SecretKey, derive};

const LABEL: &[u8] = b"ward/blind-index/v1";

/// The fewest bits of a blind index.
pub const MIN_INDEX_BITS: u16 = 8;

/// The most bits of a blind index: the whole of a hash.
pub const MAX_INDEX_BITS: u16 = 256;

/// The number of bits is not between [`MIN_INDEX_BITS`] and [`MAX_INDEX_BITS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a blind index has {MIN_INDEX_BITS} to {MAX_INDEX_BITS} bits")]
pub struct IndexBitsError;

/// The blind index of `values`, in the smallest number of bytes that holds `bits`; what is left over
/// of the last byte is zero.
///
/// `HMAC-SHA256(HKDF(key, "ward/blind-index/v1" || u16 bits || u64 length || domain), count and values)`.
/// `domain` and `bits` make keys of their own, so an index of one domain tells nothing about another,
/// and a short one is not the beginning of a long one. Each value is preceded by its length, so
/// ("ab", "c") is not ("a", "bc").
pub fn blind_index(
    key: &SecretKey,
    domain: &[u8],
    bits: u16,
    values: &[&[u8]],
) -> Result<Vec<u8>, IndexBitsError> {
    if !(MIN_INDEX_BITS..=MAX_INDEX_BITS).contains(&bits) {
        return Err(IndexBitsError);
    }
    let length = (domain.len() as u64).to_be_bytes();
    let info = [LABEL, &bits.to_be_bytes(), &length, domain].concat();
    let domain_key = derive(key, &info);
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(domain_key.expose()) else {
        unreachable!("HMAC takes a key of any length, RFC 2104 section 2");
    };
    mac.update(&(values.len() as u64).to_be_bytes());
    for value in values {
        mac.update(&(value.len() as u64).to_be_bytes());
        mac.update(value);
    }
    let hash: [u8; 32] = mac.finalize().into_bytes().into();
    let mut index = hash[..usize::from(bits.div_ceil(8))].to_vec();
    if let (Some(last), surplus @ 1..) = (index.last_mut(), bits.wrapping_neg() % 8) {
        *last &= 0xFF << surplus;
    }
    Ok(index)
}
