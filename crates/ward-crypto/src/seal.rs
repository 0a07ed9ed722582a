//! Sealing values into envelopes and opening them.

use std::fmt;

use zeroize::Zeroizing;

use crate::aad::with_aad;
use crate::derived::DerivedCiphers;
use crate::envelope::{Envelope, HEADER_LEN, OVERHEAD, ValueType, header};
use crate::error::CryptoError;
use crate::nonce::Nonces;
use crate::secret::{KeyId, SecretKey};
use crate::xaes::{HALF_NONCE_LEN, MAX_MESSAGE_LEN, MessageCipher, NONCE_LEN, Xaes};

/// Seals values under one key and one nonce prefix.
///
/// The key that XAES-256-GCM derives from the prefix is expanded once and kept, so a value costs
/// as much as plain AES-256-GCM with a cached key.
pub struct Encryptor {
    cipher: MessageCipher,
    key_id: KeyId,
    nonces: Nonces,
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
        Self {
            cipher: Xaes::new(key).message_cipher(&nonce_prefix),
            key_id: key.id(),
            nonces: Nonces::new(nonce_prefix, counter_start),
        }
    }

    /// The key that the envelopes will name.
    pub fn key_id(&self) -> KeyId {
        self.key_id
    }

    /// How many values have been sealed.
    pub fn used(&self) -> u64 {
        self.nonces.used()
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
        let second_half = self.nonces.next_second_half()?;
        let header = header(value_type, self.key_id);

        let (head, rest) = out.split_at_mut(HEADER_LEN);
        let (nonce, rest) = rest.split_at_mut(NONCE_LEN);
        let (ciphertext, tag) = rest.split_at_mut(plaintext.len());
        head.copy_from_slice(&header);
        nonce[..HALF_NONCE_LEN].copy_from_slice(self.nonces.prefix());
        nonce[HALF_NONCE_LEN..].copy_from_slice(&second_half);
        let sealed = with_aad(&header, aad, |aad| {
            self.cipher.seal(&second_half, aad, plaintext, ciphertext)
        })?;
        tag.copy_from_slice(&sealed.map_err(|_| CryptoError::TooLong)?);
        Ok(())
    }
}

impl fmt::Debug for Encryptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryptor")
            .field("key_id", &self.key_id)
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

/// Opens values of one key, keeping the keys derived from the last few nonce prefixes.
pub struct Decryptor {
    ciphers: DerivedCiphers,
    key_id: KeyId,
}

impl Decryptor {
    /// Opens envelopes that name `key`.
    pub fn new(key: &SecretKey) -> Self {
        Self {
            ciphers: DerivedCiphers::new(key),
            key_id: key.id(),
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
        let cipher = self.ciphers.cipher(envelope.first_half);
        with_aad(envelope.header, aad, |aad| {
            cipher.open(
                envelope.second_half,
                aad,
                envelope.ciphertext,
                envelope.tag,
                out,
            )
        })?
        .map_err(|_| CryptoError::AuthenticationFailed)
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

    #[test]
    fn the_cache_stays_small_and_every_prefix_opens() {
        let key = SecretKey::new([7; 32]);
        let mut decryptor = Decryptor::new(&key);
        for round in 0..3u8 {
            for prefix in 0..=(DerivedCiphers::LIMIT as u8) {
                let mut out = Vec::new();
                Encryptor::new(&key, [prefix; HALF_NONCE_LEN], [round; HALF_NONCE_LEN])
                    .seal_into(ValueType::Text, &[prefix, round], None, &mut out)
                    .unwrap();
                let opened = decryptor.open(&Envelope::parse(&out).unwrap(), None);
                assert_eq!(*opened.unwrap(), [prefix, round]);
                assert!(decryptor.ciphers.len() <= DerivedCiphers::LIMIT);
            }
        }
    }
}
