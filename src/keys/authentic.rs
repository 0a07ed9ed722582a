//! What the MAC of a registry row covers. The key's identity is in each, so that no row can be moved
//! to another key. Times and a key's maximum age are not, because nothing but a reminder follows from
//! them, and a reminder whose start could be altered all the same would gain nothing.

use super::model::{State, Usages};
use pgrx::pg_sys::Oid;
use ward_crypto::{MasterKey, registry_mac, registry_mac_verify};

/// What is authenticated of a row, beside the key's identity.
pub enum Row<'a> {
    /// Of `ward.encryption_key`.
    Key {
        /// The key's name.
        name: &'a str,
        /// Its purpose.
        purpose: &'a str,
        /// Whether it is the default.
        is_default: bool,
    },
    /// Of `ward.encryption_key_version`.
    Version {
        /// Counts from 1.
        version: i32,
        /// What envelopes name it by.
        key_id: [u8; 8],
        /// What may be done with it.
        state: State,
        /// The wrapped material.
        wrapped: Option<&'a [u8]>,
        /// The ids of all master keys it was ever wrapped under, one after the other.
        masters: &'a [u8],
    },
    /// Of `ward.key_grant`.
    Grant {
        /// The grantee's name.
        role_name: &'a str,
        /// The grantee's id.
        role_oid: Oid,
        /// What it may do.
        usages: Usages,
    },
    /// Of `ward.jwt_key`.
    Jwt {
        /// Whose tokens it verifies.
        issuer: &'a str,
        /// What tokens name it by.
        kid: &'a str,
        /// The public key.
        key: &'a str,
        /// The algorithms it may be used with, with commas between.
        algorithms: &'a str,
        /// Whom its tokens must be for.
        audience: &'a str,
        /// Whether it verifies nothing any more.
        retired: bool,
    },
}

impl Row<'_> {
    /// What messages call such a row.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Key { .. } => "row",
            Self::Version { .. } => "version",
            Self::Grant { .. } => "grant",
            Self::Jwt { .. } => "token key",
        }
    }

    /// The id of `master`, then the MAC under it: what the column `mac` holds.
    pub fn mac(&self, master: &MasterKey, key: &[u8; 16]) -> Vec<u8> {
        let mac = self.fields(key, |label, fields| registry_mac(master, label, fields));
        [&master.id()[..], &mac].concat()
    }

    /// Whether `mac`, without the id of `master` before it, is the one of this row.
    pub fn verify(&self, master: &MasterKey, key: &[u8; 16], mac: &[u8]) -> bool {
        self.fields(key, |label, fields| {
            registry_mac_verify(master, label, fields, mac)
        })
    }

    fn fields<T>(&self, key: &[u8; 16], f: impl FnOnce(&str, &[&[u8]]) -> T) -> T {
        match self {
            Self::Key {
                name,
                purpose,
                is_default,
            } => f(
                "ward/registry/key/v1",
                &[
                    key,
                    name.as_bytes(),
                    purpose.as_bytes(),
                    &[u8::from(*is_default)],
                ],
            ),
            Self::Version {
                version,
                key_id,
                state,
                wrapped,
                masters,
            } => f(
                "ward/registry/version/v1",
                &[
                    key,
                    &version.to_be_bytes(),
                    key_id,
                    state.as_str().as_bytes(),
                    &[u8::from(wrapped.is_some())],
                    wrapped.unwrap_or_default(),
                    masters,
                ],
            ),
            Self::Grant {
                role_name,
                role_oid,
                usages,
            } => f(
                "ward/registry/grant/v1",
                &[
                    key,
                    role_name.as_bytes(),
                    &role_oid.to_u32().to_be_bytes(),
                    &[usages.bits()],
                ],
            ),
            Self::Jwt {
                issuer,
                kid,
                key: public,
                algorithms,
                audience,
                retired,
            } => f(
                "ward/registry/jwt/v1",
                &[
                    key,
                    issuer.as_bytes(),
                    kid.as_bytes(),
                    public.as_bytes(),
                    algorithms.as_bytes(),
                    audience.as_bytes(),
                    &[u8::from(*retired)],
                ],
            ),
        }
    }
}
