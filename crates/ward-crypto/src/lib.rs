//! The cryptography of pg_ward, without PostgreSQL.
//!
//! Formats are specified in `docs/envelope-format.md` and frozen by its test vectors. This crate
//! has no clock and no source of randomness: nonces are arguments, so that one caller decides,
//! once, where they come from.
//!
//! * [`Encryptor`], [`Decryptor`], [`Envelope`]: field values.
//! * [`PasswordKey`], [`PasswordEncryptor`], [`PasswordEnvelope`]: values under a password.
//! * [`FieldPath`], [`field_text`], [`field_envelope`]: encrypted fields of a JSON document.
//! * [`blind_index`]: keyed tags to search by.
//! * [`MasterKey`], [`wrap_key`], [`unwrap_key`]: the keys of the registry.
//! * [`ColumnType`], [`SearchTagger`], [`literal_key`]: values of the encrypted column types.
//! * [`registry_mac`], [`registry_mac_verify`]: the rows of the registry.

#![forbid(unsafe_code)]

mod aad;
mod blind_index;
mod column_value;
mod derived;
mod envelope;
mod error;
mod field;
mod kdf;
mod master;
mod nonce;
mod password;
mod password_envelope;
mod registry_mac;
mod seal;
mod search_tag;
mod secret;
#[cfg(test)]
mod vectors;
mod wrap;
mod xaes;

pub use blind_index::{IndexBitsError, MAX_INDEX_BITS, MIN_INDEX_BITS, blind_index};
pub use column_value::{ColumnType, ColumnValue, Form, SEARCH_LEN, SEARCH_START};
pub use envelope::{Envelope, OVERHEAD, Suite, ValueType};
pub use error::{CryptoError, EnvelopeField};
pub use field::{
    FieldPath, FieldTextError, MAX_PATH_STEPS, PathError, Step, field_envelope, field_text,
    field_text_len, is_field_text,
};
pub use master::{MAX_MASTER_KEYS, MasterKey, MasterKeyError, parse_master_keys};
pub use nonce::MAX_VALUES_PER_PREFIX;
pub use password::{PasswordEncryptor, PasswordKey};
pub use password_envelope::{
    MAX_ITERATIONS, MIN_ITERATIONS, PASSWORD_OVERHEAD, PasswordEnvelope, PasswordParams, SALT_LEN,
};
pub use registry_mac::{registry_mac, registry_mac_verify};
pub use seal::{Decryptor, Encryptor};
pub use search_tag::{SEARCH_TAG_LEN, SearchTagger, literal_key, type_modifier};
pub use secret::{KEY_LEN, KeyId, SecretKey};
pub use wrap::{UnwrapError, WRAPPED_LEN, WrapContext, unwrap_key, wrap_key, wrapped_by};
