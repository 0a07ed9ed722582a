//! SHA-256 as RFC 6962 uses it.

use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// The hash of a leaf: `SHA-256(0x00 || leaf)` (RFC 6962, section 2.1).
pub fn leaf_hash(leaf: &[u8]) -> Hash {
    labelled(&[0], leaf)
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)` (RFC 6962, section 2.1).
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1u8; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    Sha256::digest(bytes).into()
}

/// The root of a tree without leaves: `SHA-256("")` (RFC 6962, section 2.1).
pub fn empty_root() -> Hash {
    Sha256::digest([]).into()
}

/// `SHA-256(label || bytes)`.
pub(crate) fn labelled(label: &[u8], bytes: &[u8]) -> Hash {
    Sha256::new()
        .chain_update(label)
        .chain_update(bytes)
        .finalize()
        .into()
}
