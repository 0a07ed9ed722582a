//! Secret keys, their ids, and derivation from them.

use std::fmt;

use hkdf::Hkdf;
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// Length in bytes of every secret key.
pub const KEY_LEN: usize = 32;

const KEY_ID_INFO: &[u8] = b"ward/key-id/v1";

/// A 256-bit secret: one heap allocation, wiped when dropped.
///
/// It is neither `Debug` nor `Clone` nor `PartialEq`, so it cannot be printed, copied or compared
/// in variable time by accident.
pub struct SecretKey(Box<Zeroizing<[u8; KEY_LEN]>>);

impl SecretKey {
    /// Takes over `bytes`. The caller owes uniformly random bytes and wipes its own copy.
    pub fn new(bytes: [u8; KEY_LEN]) -> Self {
        Self(Box::new(Zeroizing::new(bytes)))
    }

    /// The key itself. The caller owes not to copy it anywhere that is not wiped.
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// The public name of this key: `HKDF-SHA256(key, "ward/key-id/v1")[..8]`.
    ///
    /// It depends on nothing but the key, so a restore, a clone or an import cannot make one id
    /// stand for two keys.
    pub fn id(&self) -> KeyId {
        KeyId(first_eight(&derive(self, KEY_ID_INFO)))
    }
}

impl ConstantTimeEq for SecretKey {
    fn ct_eq(&self, other: &Self) -> Choice {
        self.expose().ct_eq(other.expose())
    }
}

/// Names a key in an envelope without giving anything of it away.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(pub [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// `HKDF-SHA256(salt = none, ikm = key, info, L = 32)`, RFC 5869 sections 2.2 and 2.3.
pub(crate) fn derive(key: &SecretKey, info: &[u8]) -> SecretKey {
    let mut derived = SecretKey::new([0; KEY_LEN]);
    if Hkdf::<Sha256>::new(None, key.expose())
        .expand(info, derived.0.as_mut_slice())
        .is_err()
    {
        // RFC 5869 section 2.3 refuses only more than 255 hashes; this asks for one. Carrying on
        // would mean an all-zero key.
        unreachable!("HKDF-SHA256 gives 32 bytes");
    }
    derived
}

/// The part of a derived value that is published as an id.
pub(crate) fn first_eight(derived: &SecretKey) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = *derived.expose();
    [a, b, c, d, e, f, g, h]
}
