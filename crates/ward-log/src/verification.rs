//! Records of verifications, so that a later one can go on where an earlier one ended.

use crate::hash::Hash;
use crate::leaf::AuditMac;
use crate::wire::put_text;

const LABEL: &[u8] = b"ward/verification/v1";
/// The longest role name.
const MAX_ROLE_LEN: u16 = 1024;

/// What a verification found out, authenticated with an audit key.
///
/// The record saves work, it proves nothing: who has the key can forge it, and what was changed behind it is found
/// by the next whole verification only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// Number of the record.
    pub number: u64,
    /// When the verification ended, in microseconds since 1970-01-01 UTC.
    pub verified_at: i64,
    /// The role that verified.
    pub verified_by: String,
    /// The first block that was verified.
    pub from_block: u64,
    /// The last block that was verified.
    pub to_block: u64,
    /// Leaves in the tree after that block.
    pub size: u64,
    /// The root of that tree.
    pub root: Hash,
    /// How many violations were found.
    pub violations: u64,
}

impl Verification {
    /// `HMAC-SHA256(audit key, "ward/verification/v1" || the fields)`.
    pub fn mac(&self, key: &AuditMac) -> [u8; 32] {
        key.of(&self.authenticated())
    }

    /// Whether the MAC was made with this key, compared in constant time.
    pub fn verify_mac(&self, key: &AuditMac, mac: &[u8]) -> bool {
        key.is_of(&self.authenticated(), mac)
    }

    fn authenticated(&self) -> Vec<u8> {
        let mut bytes = LABEL.to_vec();
        for number in [
            self.number,
            self.from_block,
            self.to_block,
            self.size,
            self.violations,
        ] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.extend_from_slice(&self.verified_at.to_be_bytes());
        bytes.extend_from_slice(&self.root);
        put_text(&mut bytes, &self.verified_by, MAX_ROLE_LEN);
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_field_can_be_changed_without_the_key() {
        let key = AuditMac::new(&[1; 32]);
        let record = Verification {
            number: 1,
            verified_at: 2,
            verified_by: "auditor".into(),
            from_block: 3,
            to_block: 4,
            size: 5,
            root: [6; 32],
            violations: 7,
        };
        let mac = record.mac(&key);
        assert!(record.verify_mac(&key, &mac));
        assert!(!record.verify_mac(&key, &mac[..31]));
        assert!(!record.verify_mac(&AuditMac::new(&[2; 32]), &mac));
        let edits: [fn(&mut Verification); 8] = [
            |r| r.number += 1,
            |r| r.verified_at += 1,
            |r| r.verified_by.push('s'),
            |r| r.from_block = 0,
            |r| r.to_block += 1,
            |r| r.size += 1,
            |r| r.root[0] ^= 1,
            |r| r.violations = 0,
        ];
        for edit in edits {
            let mut edited = record.clone();
            edit(&mut edited);
            assert!(!edited.verify_mac(&key, &mac));
        }
    }
}
