//! Trailer leaves: the end of a transaction, authenticated with the audit key.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::chain::TransactionChain;
use crate::error::FormatError;
use crate::hash::Hash;
use crate::leaf::{TRAILER, VERSION};
use crate::wire::Reader;

const LABEL: &[u8] = b"ward/trailer/v1";
/// How many bytes precede the MAC in the encoding.
const AUTHENTICATED_LEN: usize = 70;

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
}

/// The end of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrailerLeaf {
    /// The top-level transaction's full id.
    pub xid: u64,
    /// Index of this leaf within its transaction: how many leaves precede it.
    pub position: u32,
    /// The incarnation of the history the transaction was written in.
    pub incarnation: [u8; 16],
    /// SHA-256 over the concatenated hashes of the transaction's leaves before this one.
    pub chain: Hash,
    /// Which audit key made the MAC.
    pub audit_key_id: [u8; 8],
    /// `HMAC-SHA256(audit key, "ward/trailer/v1" || the leaf's bytes before this field)`.
    pub mac: [u8; 32],
}

impl TrailerLeaf {
    /// Makes the trailer of a transaction.
    pub fn sign(
        xid: u64,
        position: u32,
        incarnation: [u8; 16],
        chain: Hash,
        key_id: [u8; 8],
        audit_key: &[u8; 32],
    ) -> Self {
        Self::sign_with(
            xid,
            position,
            incarnation,
            chain,
            key_id,
            &AuditMac::new(audit_key),
        )
    }

    /// Makes the trailer of a transaction with a prepared key.
    pub fn sign_with(
        xid: u64,
        position: u32,
        incarnation: [u8; 16],
        chain: Hash,
        key_id: [u8; 8],
        mac: &AuditMac,
    ) -> Self {
        let mut leaf = Self {
            xid,
            position,
            incarnation,
            chain,
            audit_key_id: key_id,
            mac: [0; 32],
        };
        leaf.mac = leaf.hmac(mac).finalize().into_bytes().into();
        leaf
    }

    /// Makes the trailer that ends the transaction whose leaves were pushed to `chain`.
    pub fn close(
        xid: u64,
        chain: &TransactionChain,
        incarnation: [u8; 16],
        key_id: [u8; 8],
        mac: &AuditMac,
    ) -> Self {
        Self::sign_with(xid, chain.count(), incarnation, chain.digest(), key_id, mac)
    }

    /// Whether the MAC was made with this audit key, compared in constant time.
    pub fn verify_mac(&self, audit_key: &[u8; 32]) -> bool {
        self.verify_mac_with(&AuditMac::new(audit_key))
    }

    /// Whether the MAC was made with this prepared audit key, compared in constant time.
    pub fn verify_mac_with(&self, mac: &AuditMac) -> bool {
        self.hmac(mac).verify_slice(&self.mac).is_ok()
    }

    /// Appends the leaf's encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.authenticated());
        out.extend_from_slice(&self.mac);
    }

    fn hmac(&self, mac: &AuditMac) -> Hmac<Sha256> {
        mac.0
            .clone()
            .chain_update(LABEL)
            .chain_update(self.authenticated())
    }

    fn authenticated(&self) -> [u8; AUTHENTICATED_LEN] {
        let mut bytes = [0u8; AUTHENTICATED_LEN];
        bytes[0] = TRAILER;
        bytes[1] = VERSION;
        bytes[2..10].copy_from_slice(&self.xid.to_be_bytes());
        bytes[10..14].copy_from_slice(&self.position.to_be_bytes());
        bytes[14..30].copy_from_slice(&self.incarnation);
        bytes[30..62].copy_from_slice(&self.chain);
        bytes[62..70].copy_from_slice(&self.audit_key_id);
        bytes
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            xid: reader.u64()?,
            position: reader.u32()?,
            incarnation: reader.array()?,
            chain: reader.array()?,
            audit_key_id: reader.array()?,
            mac: reader.array()?,
        })
    }
}
