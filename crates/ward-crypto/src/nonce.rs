//! Nonces of one writer: a random prefix, and a counter behind it.

use crate::error::CryptoError;
use crate::xaes::HALF_NONCE_LEN;

/// How many values are sealed under one nonce prefix, that is under one derived key: the limit
/// NIST SP 800-38D section 8.3 sets, although a counter would never repeat.
pub const MAX_VALUES_PER_PREFIX: u64 = 1 << 32;

/// Nonces `prefix || counter`, each given out once.
pub(crate) struct Nonces {
    prefix: [u8; HALF_NONCE_LEN],
    counter: u128,
    used: u64,
}

impl Nonces {
    pub(crate) fn new(prefix: [u8; HALF_NONCE_LEN], counter_start: [u8; HALF_NONCE_LEN]) -> Self {
        let mut start = [0u8; 16];
        start[4..].copy_from_slice(&counter_start);
        Self {
            prefix,
            counter: u128::from_be_bytes(start),
            used: 0,
        }
    }

    /// The first half of every nonce.
    pub(crate) fn prefix(&self) -> &[u8; HALF_NONCE_LEN] {
        &self.prefix
    }

    /// How many were given out.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Uses up one nonce, whatever happens after.
    #[inline]
    pub(crate) fn next_second_half(&mut self) -> Result<[u8; HALF_NONCE_LEN], CryptoError> {
        if self.used >= MAX_VALUES_PER_PREFIX {
            return Err(CryptoError::NonceExhausted);
        }
        let [_, _, _, _, second_half @ ..] = self.counter.to_be_bytes();
        // The top 32 bits are cut off above, so this is a counter modulo 2^96.
        self.counter = self.counter.wrapping_add(1);
        self.used += 1;
        Ok(second_half)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_wraps_at_96_bits() {
        let mut nonces = Nonces::new([1; 12], [0xFF; 12]);
        assert_eq!(nonces.next_second_half(), Ok([0xFF; 12]));
        assert_eq!(nonces.next_second_half(), Ok([0; 12]));
        assert_eq!(
            nonces.next_second_half(),
            Ok([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1])
        );
        assert_eq!(nonces.used(), 3);
    }

    #[test]
    fn a_prefix_is_refused_once_it_is_used_up() {
        let mut nonces = Nonces::new([1; 12], [9; 12]);
        nonces.used = MAX_VALUES_PER_PREFIX - 1;
        assert!(nonces.next_second_half().is_ok());
        for _ in 0..2 {
            assert_eq!(nonces.next_second_half(), Err(CryptoError::NonceExhausted));
        }
        assert_eq!(nonces.used(), MAX_VALUES_PER_PREFIX);
    }
}
