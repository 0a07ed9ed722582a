//! What can be found out about a leaf without knowing the rest of the log.

use crate::hash::{Hash, leaf_hash};
use crate::image::image_commitment;
use crate::leaf::{AuditMac, MacCheck, RowLeaf, Trailer};
use zeroize::Zeroizing;

/// Audit keys by their ids, ready to check MACs with.
#[derive(Clone, Default)]
pub struct AuditKeys(Vec<([u8; 8], AuditMac)>);

impl AuditKeys {
    /// Prepares audit keys.
    pub fn new(keys: &[([u8; 8], Zeroizing<[u8; 32]>)]) -> Self {
        let prepared = keys.iter().map(|(id, key)| (*id, AuditMac::new(key)));
        Self(prepared.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the trailer of a leaf was made with the key it names; None where there is no trailer.
    pub(super) fn check(&self, leaf: &[u8]) -> Option<MacCheck> {
        Trailer::check(leaf, |id| {
            let mut keys = self.0.iter();
            keys.find(|(known, _)| known == id).map(|(_, mac)| mac)
        })
    }
}

/// The costly part of verifying a leaf: its hash, its image's commitment, its MAC. It depends on nothing else, so
/// it can be done ahead and elsewhere; [`Verifier::prepared`](crate::Verifier::prepared) does the rest, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prepared {
    pub(super) hash: Hash,
    /// The image is the one that the row leaf commits to.
    pub(super) image_fits: bool,
    /// What the keys say of the trailer, where there is one and that was asked.
    pub(super) mac: Option<MacCheck>,
}

impl Prepared {
    /// How long the encoding is.
    pub const LEN: usize = 33;

    /// Hashes a leaf and its image.
    #[inline]
    pub fn new(leaf: &[u8], image: Option<&[u8]>) -> Self {
        let fits = |image| RowLeaf::commits_to(leaf, &image_commitment(image));
        Self {
            hash: leaf_hash(leaf),
            image_fits: image.is_some_and(fits),
            mac: None,
        }
    }

    /// As [`new`](Self::new), and checks the MAC of a trailer.
    #[inline]
    pub fn with_mac(leaf: &[u8], image: Option<&[u8]>, keys: &AuditKeys) -> Self {
        let mut prepared = Self::new(leaf, image);
        if !keys.is_empty() {
            prepared.mac = keys.check(leaf);
        }
        prepared
    }

    /// As bytes, for another process; without what was found about a MAC.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [u8::from(self.image_fits); Self::LEN];
        bytes[..32].copy_from_slice(&self.hash);
        bytes
    }

    /// From the bytes of another process.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Self {
        let [hash @ .., image_fits] = *bytes;
        Self {
            hash,
            image_fits: image_fits == 1,
            mac: None,
        }
    }
}
