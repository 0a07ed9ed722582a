//! Sealing values into envelopes and opening them.

use std::fmt;

use zeroize::Zeroizing;

use crate::aad::with_aad;
use crate::envelope::{Envelope, HEADER_LEN, OVERHEAD, ValueType, header};
use crate::error::CryptoError;
use crate::secret::{KeyId, SecretKey};
use crate::xaes::{HALF_NONCE_LEN, MAX_MESSAGE_LEN, MessageCipher, NONCE_LEN, Xaes};

/// How many values are sealed under one nonce prefix, that is under one derived key: the limit
/// NIST SP 800-38D section 8.3 sets, although a counter would never repeat.
pub const MAX_VALUES_PER_PREFIX: u64 = 1 << 32;

/// Seals values under one key and one nonce prefix.
///
/// The key that XAES-256-GCM derives from the prefix is expanded once and kept, so a value costs
/// as much as plain AES-256-GCM with a cached key.
pub struct Encryptor {
    cipher: MessageCipher,
    key_id: KeyId,
    nonce_prefix: [u8; HALF_NONCE_LEN],
    counter: u128,
    used: u64,
}

impl Encryptor {
    /// The nonce of the first value is `nonce_prefix || counter_start`; the second half counts up,
    /// modulo 2^96.
    ///
    /// The caller owes a `nonce_prefix` from the operating system's generator that no other
    /// encryptor of this key has, in any process: two with one prefix may repeat a nonce, and that
    /// gives away plaintext and the means to forge. In particular an encryptor must not survive a
    /// fork on both sides.
    pub fn new(
        key: &SecretKey,
        nonce_prefix: [u8; HALF_NONCE_LEN],
        counter_start: [u8; HALF_NONCE_LEN],
    ) -> Self {
        let mut start = [0u8; 16];
        start[4..].copy_from_slice(&counter_start);
        Self {
            cipher: Xaes::new(key).message_cipher(&nonce_prefix),
            key_id: key.id(),
            nonce_prefix,
            counter: u128::from_be_bytes(start),
            used: 0,
        }
    }

    /// The key that the envelopes will name.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// How many values have been sealed.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Appends the envelope of `plaintext` to `out`: `plaintext.len() + OVERHEAD` bytes.
    ///
    /// An error leaves `out` as it was.
    pub fn seal_into(
        &mut self,
        value_type: ValueType,
        plaintext: &[u8],
        aad: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        let start = out.len();
        out.resize(start + plaintext.len() + OVERHEAD, 0);
        let sealed = self.seal_to(value_type, plaintext, aad, &mut out[start..]);
        if sealed.is_err() {
            out.truncate(start);
        }
        sealed
    }

    /// Fills `out`, of exactly `plaintext.len() + OVERHEAD` bytes, with the envelope of
    /// `plaintext`.
    pub fn seal_to(
        &mut self,
        value_type: ValueType,
        plaintext: &[u8],
        aad: Option<&[u8]>,
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        let needed = plaintext.len() + OVERHEAD;
        if out.len() != needed {
            let given = out.len();
            return Err(CryptoError::BufferSize { needed, given });
        }
        if plaintext.len() as u64 > MAX_MESSAGE_LEN {
            return Err(CryptoError::TooLong);
        }
        let second_half = self.next_second_half()?;
        let header = header(value_type, self.key_id);

        let (head, rest) = out.split_at_mut(HEADER_LEN);
        let (nonce, rest) = rest.split_at_mut(NONCE_LEN);
        let (ciphertext, tag) = rest.split_at_mut(plaintext.len());
        head.copy_from_slice(&header);
        nonce[..HALF_NONCE_LEN].copy_from_slice(&self.nonce_prefix);
        nonce[HALF_NONCE_LEN..].copy_from_slice(&second_half);
        let sealed = with_aad(&header, aad, |aad| {
            self.cipher.seal(&second_half, aad, plaintext, ciphertext)
        });
        tag.copy_from_slice(&sealed.map_err(|_| CryptoError::TooLong)?);
        Ok(())
    }

    /// Uses up one nonce, whatever happens after.
    fn next_second_half(&mut self) -> Result<[u8; HALF_NONCE_LEN], CryptoError> {
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

impl fmt::Debug for Encryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryptor")
            .field("key_id", &self.key_id)
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

/// How many derived keys a [`Decryptor`] keeps. Values written by one backend share one.
const CACHED_PREFIXES: usize = 8;

/// Opens values of one key, keeping the keys derived from the last few nonce prefixes.
pub struct Decryptor {
    xaes: Box<Xaes>,
    key_id: KeyId,
    cache: Vec<CachedCipher>,
    /// The entry of the cache that is replaced next.
    oldest: usize,
}

struct CachedCipher {
    first_half: [u8; HALF_NONCE_LEN],
    cipher: MessageCipher,
}

impl Decryptor {
    /// Opens envelopes that name `key`.
    pub fn new(key: &SecretKey) -> Self {
        Self {
            xaes: Box::new(Xaes::new(key)),
            key_id: key.id(),
            cache: Vec::with_capacity(CACHED_PREFIXES),
            oldest: 0,
        }
    }

    /// The key whose envelopes it opens.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// The value in `envelope`, wiped when dropped. `aad` must be what it was sealed with.
    pub fn open(
        &mut self,
        envelope: &Envelope<'_>,
        aad: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut plaintext = Zeroizing::new(vec![0; envelope.plaintext_len()]);
        self.open_to(envelope, aad, &mut plaintext)?;
        Ok(plaintext)
    }

    /// Fills `out`, of exactly [`Envelope::plaintext_len`] bytes, with the value in `envelope`.
    ///
    /// An error leaves `out` as it was. Wiping it is up to the caller.
    pub fn open_to(
        &mut self,
        envelope: &Envelope<'_>,
        aad: Option<&[u8]>,
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        let needed = envelope.plaintext_len();
        if out.len() != needed {
            let given = out.len();
            return Err(CryptoError::BufferSize { needed, given });
        }
        if envelope.key_id() != self.key_id {
            return Err(CryptoError::WrongKey);
        }
        let cipher = self.cipher(envelope.first_half);
        with_aad(envelope.header, aad, |aad| {
            cipher.open(
                envelope.second_half,
                aad,
                envelope.ciphertext,
                envelope.tag,
                out,
            )
        })
        .map_err(|_| CryptoError::AuthenticationFailed)
    }

    fn cipher(&mut self, first_half: &[u8; HALF_NONCE_LEN]) -> &MessageCipher {
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
}

impl fmt::Debug for Decryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decryptor")
            .field("key_id", &self.key_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encryptor(counter_start: [u8; HALF_NONCE_LEN]) -> Encryptor {
        Encryptor::new(&SecretKey::new([7; 32]), [1; HALF_NONCE_LEN], counter_start)
    }

    fn second_half_of_next(encryptor: &mut Encryptor) -> [u8; HALF_NONCE_LEN] {
        let mut out = Vec::new();
        encryptor
            .seal_into(ValueType::Text, b"", None, &mut out)
            .unwrap();
        *Envelope::parse(&out).unwrap().second_half
    }

    #[test]
    fn the_counter_wraps_at_96_bits() {
        let mut encryptor = encryptor([0xFF; HALF_NONCE_LEN]);
        assert_eq!(second_half_of_next(&mut encryptor), [0xFF; 12]);
        assert_eq!(second_half_of_next(&mut encryptor), [0; 12]);
        assert_eq!(
            second_half_of_next(&mut encryptor),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
        );
        assert_eq!(encryptor.used(), 3);
    }

    #[test]
    fn a_prefix_is_refused_once_it_is_used_up() {
        let mut encryptor = encryptor([9; HALF_NONCE_LEN]);
        encryptor.used = MAX_VALUES_PER_PREFIX - 1;
        second_half_of_next(&mut encryptor);
        let mut out = b"kept".to_vec();
        for _ in 0..2 {
            let sealed = encryptor.seal_into(ValueType::Text, b"x", None, &mut out);
            assert_eq!(sealed, Err(CryptoError::NonceExhausted));
        }
        assert_eq!(out, b"kept");
        assert_eq!(encryptor.used(), MAX_VALUES_PER_PREFIX);
    }

    #[test]
    fn the_cache_stays_small_and_every_prefix_opens() {
        let key = SecretKey::new([7; 32]);
        let mut decryptor = Decryptor::new(&key);
        for round in 0..3u8 {
            for prefix in 0..=(CACHED_PREFIXES as u8) {
                let mut out = Vec::new();
                Encryptor::new(&key, [prefix; HALF_NONCE_LEN], [round; HALF_NONCE_LEN])
                    .seal_into(ValueType::Text, &[prefix, round], None, &mut out)
                    .unwrap();
                let opened = decryptor.open(&Envelope::parse(&out).unwrap(), None);
                assert_eq!(*opened.unwrap(), [prefix, round]);
                assert!(decryptor.cache.len() <= CACHED_PREFIXES);
            }
        }
    }
}
