//! XAES-256-GCM, <https://c2sp.org/XAES-256-GCM>: AES-256-GCM under a key derived from the first
//! half of a 24-byte nonce.

use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes256, Block};
use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::{Aes256Gcm, Nonce, P_MAX, Tag};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::secret::{KEY_LEN, SecretKey};

/// Length in bytes of each half of a nonce.
pub(crate) const HALF_NONCE_LEN: usize = 12;

/// Length in bytes of a whole nonce.
pub(crate) const NONCE_LEN: usize = 2 * HALF_NONCE_LEN;

/// Length in bytes of the authentication tag.
pub(crate) const TAG_LEN: usize = 16;

/// The message cannot be sealed: longer than GCM allows, or the buffers differ in length.
#[derive(Debug)]
pub(crate) struct SealError;

/// The message, its additional data, its nonce or the key is not the one that was sealed.
#[derive(Debug)]
pub(crate) struct OpenError;

/// Does not compile unless the expanded keys are wiped when dropped.
const _: () = {
    const fn wiped_when_dropped<T: ZeroizeOnDrop>() {}
    wiped_when_dropped::<Aes256>();
    wiped_when_dropped::<Aes256Gcm>();
};

/// An input key with steps 1 and 2 of the specification done: `K1` is precomputed.
pub(crate) struct Xaes {
    aes: Aes256,
    k1: Zeroizing<u128>,
}

impl Xaes {
    /// `L = AES-256_K(0)`; `K1 = (L << 1) xor (0x87 if the top bit of L is set)`.
    pub(crate) fn new(key: &SecretKey) -> Self {
        let aes = Aes256::new(key.expose().into());
        let mut block = Block::default();
        aes.encrypt_block(&mut block);
        let l = Zeroizing::new(u128::from_be_bytes(block.into()));
        block.zeroize();
        // Multiplied rather than branched on: L is secret.
        let k1 = Zeroizing::new((*l << 1) ^ (0x87 * (*l >> 127)));
        Self { aes, k1 }
    }

    /// Steps 3 to 5: `Kx = AES-256_K(M1 xor K1) || AES-256_K(M2 xor K1)` for the first half of a
    /// nonce, expanded for use.
    pub(crate) fn message_cipher(&self, first_half: &[u8; HALF_NONCE_LEN]) -> MessageCipher {
        let mut message_key = Zeroizing::new([0u8; KEY_LEN]);
        for (half, counter) in message_key.chunks_exact_mut(16).zip(1u8..) {
            let mut message = [0u8; 16];
            message[1] = counter;
            message[2] = b'X';
            message[4..].copy_from_slice(first_half);
            let mut block = Block::from((u128::from_be_bytes(message) ^ *self.k1).to_be_bytes());
            self.aes.encrypt_block(&mut block);
            half.copy_from_slice(&block);
            block.zeroize();
        }
        MessageCipher::with_key(&message_key)
    }
}

/// AES-256-GCM with a 96-bit nonce and a 128-bit tag, NIST SP 800-38D, under one derived key.
///
/// Boxed, so that moving it leaves no copies of expanded keys behind; wiped when dropped.
pub(crate) struct MessageCipher(Box<Aes256Gcm>);

impl MessageCipher {
    pub(crate) fn with_key(key: &[u8; KEY_LEN]) -> Self {
        Self(Box::new(Aes256Gcm::new(key.into())))
    }

    /// Writes the ciphertext of `plaintext` to `ciphertext`, of the same length, and returns the
    /// tag. The caller owes a `second_half` that this key never sees again.
    pub(crate) fn seal(
        &self,
        second_half: &[u8; HALF_NONCE_LEN],
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
    ) -> Result<[u8; TAG_LEN], SealError> {
        let buffer = InOutBuf::new(plaintext, ciphertext).map_err(|_| SealError)?;
        self.0
            .encrypt_inout_detached(&Nonce::from(*second_half), aad, buffer)
            .map(Into::into)
            .map_err(|_| SealError)
    }

    /// Checks `tag` in constant time, and only then writes to `plaintext`.
    pub(crate) fn open(
        &self,
        second_half: &[u8; HALF_NONCE_LEN],
        aad: &[u8],
        ciphertext: &[u8],
        tag: &[u8; TAG_LEN],
        plaintext: &mut [u8],
    ) -> Result<(), OpenError> {
        let buffer = InOutBuf::new(ciphertext, plaintext).map_err(|_| OpenError)?;
        self.0
            .decrypt_inout_detached(&Nonce::from(*second_half), aad, buffer, &Tag::from(*tag))
            .map_err(|_| OpenError)
    }
}

/// The longest message in bytes, NIST SP 800-38D section 5.2.1.1.
pub(crate) const MAX_MESSAGE_LEN: u64 = P_MAX;
