//! The cryptography of pg_ward, without PostgreSQL.
//!
//! Formats are specified in `docs/envelope-format.md` and frozen by its test vectors. This crate
//! has no clock and no source of randomness: nonces are arguments, so that one caller decides,
//! once, where they come from.
//!
//! * [`Encryptor`], [`Decryptor`], [`Envelope`]: field values.
//! * [`MasterKey`], [`wrap_key`], [`unwrap_key`]: the keys of the registry.
//! * [`registry_mac`], [`registry_mac_verify`]: the rows of the registry.

#![forbid(unsafe_code)]

mod aad;
mod envelope;
mod error;
mod master;
mod registry_mac;
mod seal;
mod secret;
#[cfg(test)]
mod vectors;
mod wrap;
mod xaes;

pub use envelope::{Envelope, OVERHEAD, Suite, ValueType};
pub use error::{CryptoError, EnvelopeField};
pub use master::{MAX_MASTER_KEYS, MasterKey, MasterKeyError, parse_master_keys};
pub use registry_mac::{registry_mac, registry_mac_verify};
pub use seal::{Decryptor, Encryptor, MAX_VALUES_PER_PREFIX};
pub use secret::{KEY_LEN, KeyId, SecretKey};
pub use wrap::{UnwrapError, WRAPPED_LEN, WrapContext, unwrap_key, wrap_key, wrapped_by};
