//! Authentication of the registry's rows, so that whoever can write the tables cannot grant.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::master::MasterKey;

/// The block size of SHA-256, to which HMAC pads its key (RFC 2104 section 2).
const BLOCK_LEN: usize = 64;

/// `HMAC-SHA256(registry key, u64 length || label || u64 count || (u64 length || field)*)`.
///
/// `label` says what kind of row it is. The lengths make the encoding injective: no two lists of
/// fields have one MAC.
pub fn registry_mac(master: &MasterKey, label: &str, fields: &[&[u8]]) -> [u8; 32] {
    mac(master, label, fields).finalize().into_bytes().into()
}

/// Whether `expected` is the MAC of `label` and `fields`, in constant time.
pub fn registry_mac_verify(
    master: &MasterKey,
    label: &str,
    fields: &[&[u8]],
    expected: &[u8],
) -> bool {
    mac(master, label, fields).verify_slice(expected).is_ok()
}

fn mac(master: &MasterKey, label: &str, fields: &[&[u8]]) -> Hmac<Sha256> {
    let key = master.registry_mac_key();
    let mut padded = Zeroizing::new([0u8; BLOCK_LEN]);
    padded[..key.expose().len()].copy_from_slice(key.expose());
    let mut mac = Hmac::<Sha256>::new((&*padded).into());
    update_prefixed(&mut mac, label.as_bytes());
    mac.update(&(fields.len() as u64).to_be_bytes());
    for field in fields {
        update_prefixed(&mut mac, field);
    }
    mac
}

fn update_prefixed(mac: &mut Hmac<Sha256>, bytes: &[u8]) {
    mac.update(&(bytes.len() as u64).to_be_bytes());
    mac.update(bytes);
}
