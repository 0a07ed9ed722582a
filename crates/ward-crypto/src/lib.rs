//! The cryptography of pg_ward, without PostgreSQL.
//!
//! Formats are specified in `docs/envelope-format.md` and frozen by its test vectors. This crate
//! has no clock and no source of randomness: nonces are arguments, so that one caller decides,
//! once, where they come from.
//!
//! * [`Encryptor`], [`Decryptor`], [`Envelope`]: field values.
//! * [`MasterKey`], [`wrap_key`], [`unwrap_key`]: the keys of the registry.
//! * [`ColumnType`], [`SearchTagger`], [`literal_key`]: values of the encrypted column types.
//! * [`registry_mac`], [`registry_mac_verify`]: the rows of the registry.

#![forbid(unsafe_code)]

mod aad;
mod column_value;
mod envelope;
mod error;
mod master;
mod registry_mac;
mod seal;
mod search_tag;
mod secret;
#[cfg(test)]
mod vectors;
mod wrap;
mod xaes;

pub use column_value::{ColumnType, ColumnValue, Form, SEARCH_LEN, SEARCH_START};
pub use envelope::{Envelope, OVERHEAD, Suite, ValueType};
pub use error::{CryptoError, EnvelopeField};
pub use master::{MAX_MASTER_KEYS, MasterKey, MasterKeyError, parse_master_keys};
pub use registry_mac::{registry_mac, registry_mac_verify};
pub use seal::{Decryptor, Encryptor, MAX_VALUES_PER_PREFIX};
pub use search_tag::{SEARCH_TAG_LEN, SearchTagger, literal_key, type_modifier};
pub use secret::{KEY_LEN, KeyId, SecretKey};
pub use wrap::{UnwrapError, WRAPPED_LEN, WrapContext, unwrap_key, wrap_key, wrapped_by};
