//! Suite 3: values encrypted with a password.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::aad::password_aad;
use crate::derived::DerivedCiphers;
use crate::envelope::ValueType;
use crate::error::CryptoError;
use crate::kdf::pbkdf2_hmac_sha256;
use crate::nonce::Nonces;
use crate::password_envelope::{
    COMMITMENT_LEN, PASSWORD_OVERHEAD, PasswordEnvelope, PasswordParams, header,
};
use crate::secret::{SecretKey, derive};
use crate::xaes::{HALF_NONCE_LEN, MAX_MESSAGE_LEN};

const KEY_INFO: &[u8] = b"ward/password-key/v1";
const COMMITMENT_INFO: &[u8] = b"ward/password-commitment/v1";

/// A key derived from a password, wiped when dropped.
///
/// Deriving it is made slow on purpose, so keep it while the same password and parameters recur.
pub struct PasswordKey {
    params: PasswordParams,
    commitment: [u8; COMMITMENT_LEN],
    ciphers: DerivedCiphers,
}

impl PasswordKey {
    /// Derives the key. `pause` is called every few milliseconds; its error ends the derivation.
    pub fn derive<E>(
        password: &[u8],
        params: PasswordParams,
        pause: impl FnMut() -> Result<(), E>,
    ) -> Result<Self, E> {
        let stretched = pbkdf2_hmac_sha256(password, params.salt(), params.iterations(), pause)?;
        let stretched = SecretKey::new(*stretched);
        Ok(Self {
            params,
            ciphers: DerivedCiphers::new(&derive(&stretched, KEY_INFO)),
            commitment: *derive(&stretched, COMMITMENT_INFO).expose(),
        })
    }

    /// What it was derived with.
    pub fn params(&self) -> &PasswordParams {
        &self.params
    }

    /// The value in `envelope`, wiped when dropped. `aad` must be what it was sealed with.
    pub fn open(
        &mut self,
        envelope: &PasswordEnvelope<'_>,
        aad: Option<&[u8]>,
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        let mut plaintext = Zeroizing::new(vec![0; envelope.plaintext_len()]);
        self.open_to(envelope, aad, &mut plaintext)?;
        Ok(plaintext)
    }

    /// Fills `out`, of exactly [`PasswordEnvelope::plaintext_len`] bytes, with the value in `envelope`.
    ///
    /// An error leaves `out` as it was. Wiping it is up to the caller.
    pub fn open_to(
        &mut self,
        envelope: &PasswordEnvelope<'_>,
        aad: Option<&[u8]>,
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        let needed = envelope.plaintext_len();
        if out.len() != needed {
            let given = out.len();
            return Err(CryptoError::BufferSize { needed, given });
        }
        if envelope.params() != &self.params {
            return Err(CryptoError::WrongKey);
        }
        if !bool::from(self.commitment.ct_eq(envelope.commitment)) {
            return Err(CryptoError::WrongPassword);
        }
        self.ciphers
            .cipher(envelope.first_half)
            .open(
                envelope.second_half,
                &password_aad(envelope.header, aad)?,
                envelope.ciphertext,
                envelope.tag,
                out,
            )
            .map_err(|_| CryptoError::AuthenticationFailed)
    }
}

impl fmt::Debug for PasswordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordKey")
            .field("iterations", &self.params.iterations())
            .finish_non_exhaustive()
    }
}

/// Seals values with a key derived from a password.
pub struct PasswordEncryptor {
    key: PasswordKey,
    nonces: Nonces,
}

impl PasswordEncryptor {
    /// Nonces are as for [`Encryptor::new`](crate::Encryptor::new), and the caller owes the same.
    /// It owes a salt from the operating system's generator, too.
    pub fn new(
        key: PasswordKey,
        nonce_prefix: [u8; HALF_NONCE_LEN],
        counter_start: [u8; HALF_NONCE_LEN],
    ) -> Self {
        Self {
            key,
            nonces: Nonces::new(nonce_prefix, counter_start),
        }
    }

    /// What its key was derived with.
    pub fn params(&self) -> &PasswordParams {
        self.key.params()
    }

    /// The key, to open with.
    pub fn key(&mut self) -> &mut PasswordKey {
        &mut self.key
    }

    /// Fills `out`, of exactly `plaintext.len() + PASSWORD_OVERHEAD` bytes, with the envelope of
    /// `plaintext`.
    pub fn seal_to(
        &mut self,
        value_type: ValueType,
        plaintext: &[u8],
        aad: Option<&[u8]>,
        out: &mut [u8],
    ) -> Result<(), CryptoError> {
        let needed = plaintext.len() + PASSWORD_OVERHEAD;
        if out.len() != needed {
            let given = out.len();
            return Err(CryptoError::BufferSize { needed, given });
        }
        if plaintext.len() as u64 > MAX_MESSAGE_LEN {
            return Err(CryptoError::TooLong);
        }
        let second_half = self.nonces.next_second_half()?;
        let header = header(value_type, &self.key.params, &self.key.commitment);

        let (head, rest) = out.split_at_mut(header.len());
        let (first, rest) = rest.split_at_mut(HALF_NONCE_LEN);
        let (second, rest) = rest.split_at_mut(HALF_NONCE_LEN);
        let (ciphertext, tag) = rest.split_at_mut(plaintext.len());
        head.copy_from_slice(&header);
        first.copy_from_slice(self.nonces.prefix());
        second.copy_from_slice(&second_half);
        let aad = password_aad(&header, aad)?;
        let cipher = self.key.ciphers.cipher(self.nonces.prefix());
        let sealed = cipher.seal(&second_half, &aad, plaintext, ciphertext);
        tag.copy_from_slice(&sealed.map_err(|_| CryptoError::TooLong)?);
        Ok(())
    }
}
