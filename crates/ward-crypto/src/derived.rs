//! The keys that XAES-256-GCM derived from the last few nonce prefixes.

use crate::secret::SecretKey;
use crate::xaes::{HALF_NONCE_LEN, MessageCipher, Xaes};

/// How many derived keys are kept. Values written by one backend share one.
const CACHED_PREFIXES: usize = 8;

/// A key, and what was derived from it.
pub(crate) struct DerivedCiphers {
    xaes: Box<Xaes>,
    cache: Vec<CachedCipher>,
    /// The entry of the cache that is replaced next.
    oldest: usize,
}

struct CachedCipher {
    first_half: [u8; HALF_NONCE_LEN],
    cipher: MessageCipher,
}

impl DerivedCiphers {
    pub(crate) fn new(key: &SecretKey) -> Self {
        Self {
            xaes: Box::new(Xaes::new(key)),
            cache: Vec::with_capacity(CACHED_PREFIXES),
            oldest: 0,
        }
    }

    /// The cipher for nonces with this first half.
    pub(crate) fn cipher(&mut self, first_half: &[u8; HALF_NONCE_LEN]) -> &MessageCipher {
        let found = self
            .cache
            .iter()
            .position(|cached| cached.first_half == *first_half);
        let at = found.unwrap_or_else(|| self.derive(first_half));
        &self.cache[at].cipher
    }

    /// Derives the key for `first_half` and says where in the cache it is.
    fn derive(&mut self, first_half: &[u8; HALF_NONCE_LEN]) -> usize {
        let derived = CachedCipher {
            first_half: *first_half,
            cipher: self.xaes.message_cipher(first_half),
        };
        if self.cache.len() < CACHED_PREFIXES {
            self.cache.push(derived);
            return self.cache.len() - 1;
        }
        let at = self.oldest;
        self.cache[at] = derived;
        self.oldest = (at + 1) % CACHED_PREFIXES;
        at
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.cache.len()
    }

    #[cfg(test)]
    pub(crate) const LIMIT: usize = CACHED_PREFIXES;
}
