//! Trailers: the end of a transaction, authenticated with the audit key.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::chain::TransactionChain;
use crate::error::FormatError;
use crate::hash::Hash;
use crate::leaf::frame::{has_trailer, set_has_trailer};
use crate::wire::Reader;

const LABEL: &[u8] = b"ward/trailer/v1";
const MAC_LEN: usize = 32;
const KEY_ID_LEN: usize = 8;

/// HMAC-SHA256 under an audit key, with the key schedule done once.
#[derive(Clone)]
pub struct AuditMac(Hmac<Sha256>);

impl AuditMac {
    /// Prepares an audit key.
    pub fn new(audit_key: &[u8; 32]) -> Self {
        // a key shorter than the hash's block is padded with zeros (FIPS 198-1, section 4, step 3)
        let mut block = Zeroizing::new([0u8; 64]);
        block[..32].copy_from_slice(audit_key);
        Self(Hmac::new((&*block).into()))
    }

    /// The MAC of bytes, which begin with a label of their own.
    pub(crate) fn of(&self, bytes: &[u8]) -> [u8; 32] {
        self.0
            .clone()
            .chain_update(bytes)
            .finalize()
            .into_bytes()
            .into()
    }

    /// Whether a MAC is that of these bytes, compared in constant time.
    pub(crate) fn is_of(&self, bytes: &[u8], mac: &[u8]) -> bool {
        self.0.clone().chain_update(bytes).verify_slice(mac).is_ok()
    }

    fn labelled(&self, bytes: &[u8]) -> Hmac<Sha256> {
        self.0.clone().chain_update(LABEL).chain_update(bytes)
    }
}

/// The end of a transaction: the last part of its last entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trailer {
    /// The incarnation of the history the transaction was written in.
    pub incarnation: [u8; 16],
    /// SHA-256 over the concatenated hashes of the transaction's leaves before this one.
    pub chain: Hash,
    /// Which audit key made the MAC.
    pub audit_key_id: [u8; KEY_ID_LEN],
    /// `HMAC-SHA256(audit key, "ward/trailer/v1" || the leaf's bytes before this field)`.
    pub mac: [u8; MAC_LEN],
}

impl Trailer {
    /// Ends a transaction with its last entry, which has been encoded without a trailer; `chain` is over the leaves
    /// before it.
    pub fn close(
        entry: &mut Vec<u8>,
        chain: &TransactionChain,
        incarnation: [u8; 16],
        key_id: [u8; KEY_ID_LEN],
        mac: &AuditMac,
    ) -> Result<(), FormatError> {
        set_has_trailer(entry)?;
        entry.extend_from_slice(&incarnation);
        entry.extend_from_slice(&chain.digest());
        entry.extend_from_slice(&key_id);
        let mac = mac.labelled(entry).finalize().into_bytes();
        entry.extend_from_slice(&mac);
        Ok(())
    }

    /// Which audit key the trailer of a leaf names, and whether its MAC was made with that one, which `key` finds;
    /// compared in constant time. None where the bytes have no trailer; they need not parse.
    pub fn check<'k>(
        leaf: &[u8],
        key: impl FnOnce(&[u8; KEY_ID_LEN]) -> Option<&'k AuditMac>,
    ) -> Option<MacCheck> {
        if !has_trailer(leaf) {
            return None;
        }
        let (authenticated, mac) = leaf.split_last_chunk::<MAC_LEN>()?;
        let (_, key_id) = authenticated.split_last_chunk()?;
        Some(match key(key_id) {
            None => MacCheck::UnknownKey,
            Some(key) if key.labelled(authenticated).verify_slice(mac).is_ok() => MacCheck::Genuine,
            Some(_) => MacCheck::Forged,
        })
    }

    /// Appends the encoding.
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.incarnation);
        out.extend_from_slice(&self.chain);
        out.extend_from_slice(&self.audit_key_id);
        out.extend_from_slice(&self.mac);
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            incarnation: reader.array()?,
            chain: reader.array()?,
            audit_key_id: reader.array()?,
            mac: reader.array()?,
        })
    }
}

/// What an audit key says of a trailer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MacCheck {
    /// The key that it names made it.
    Genuine,
    /// The key that it names did not make it.
    Forged,
    /// The key that it names is not known.
    UnknownKey,
}
