//! Search tags: equal texts have equal tags, and nothing else is to be learnt from one.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::secret::{KEY_LEN, KeyId, SecretKey, derive};

/// Length in bytes of a search tag.
pub const SEARCH_TAG_LEN: usize = 16;

const TAG_INFO: &[u8] = b"ward/search-tag/v1";
const LITERAL_INFO: &[u8] = b"ward/literal/v1";
const MODIFIER_LABEL: &[u8] = b"ward/type-modifier/v1";

/// The block size of SHA-256, to which HMAC pads its key (RFC 2104 section 2).
const BLOCK_LEN: usize = 64;

/// Computes the tags of one search key.
pub struct SearchTagger {
    search_key_id: KeyId,
    keyed: Hmac<Sha256>,
}

impl SearchTagger {
    /// Expands the key once, for any number of tags.
    pub fn new(search_key: &SecretKey) -> Self {
        let key = derive(search_key, TAG_INFO);
        let mut padded = Zeroizing::new([0u8; BLOCK_LEN]);
        padded[..KEY_LEN].copy_from_slice(key.expose());
        Self {
            search_key_id: search_key.id(),
            keyed: Hmac::new((&*padded).into()),
        }
    }

    /// The search key's id, which stands beside each tag.
    pub fn search_key_id(&self) -> KeyId {
        self.search_key_id
    }

    /// The tag of `text`.
    pub fn tag(&self, text: &[u8]) -> [u8; SEARCH_TAG_LEN] {
        let mut mac = self.keyed.clone();
        mac.update(text);
        let mac: [u8; 32] = mac.finalize().into_bytes().into();
        let (tag, _) = mac.split_at(SEARCH_TAG_LEN);
        let mut out = [0; SEARCH_TAG_LEN];
        out.copy_from_slice(tag);
        out
    }
}

impl fmt::Debug for SearchTagger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SearchTagger")
            .field("search_key_id", &self.search_key_id)
            .finish_non_exhaustive()
    }
}

/// The key that seals literals until the key of their column is known.
pub fn literal_key(search_key: &SecretKey) -> SecretKey {
    derive(search_key, LITERAL_INFO)
}

/// The type modifier that stands for a key's name: never negative, never 0.
pub fn type_modifier(key_name: &str) -> i32 {
    let digest = Sha256::new()
        .chain_update(MODIFIER_LABEL)
        .chain_update(key_name)
        .finalize();
    let [a, b, c, d, ..]: [u8; 32] = digest.into();
    i32::from_be_bytes([a & 0x7f, b, c, d]).max(1)
}
