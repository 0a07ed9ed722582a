//! The column types `ward.encrypted_text` and `ward.secret_text`.
//!
//! A column names its key in its type, as in `ward.encrypted_text('customers')`. What is stored, printed,
//! dumped and logged is ciphertext; text comes from a cast, for a role with a grant.

pub mod convert;
pub mod ddl;
mod error;
pub mod input;
pub mod modifier;
mod retag;
mod search;

pub use error::Error;

pgrx::extension_sql_file!(
    "../../sql/encrypted.sql",
    name = "ward_encrypted",
    requires = ["ward_keys", "ward_audit"]
);
pgrx::extension_sql_file!(
    "../../sql/encrypted_operators.sql",
    name = "ward_encrypted_operators",
    requires = ["ward_encrypted"]
);
pgrx::extension_sql_file!(
    "../../sql/encrypted_columns.sql",
    name = "ward_encrypted_columns",
    requires = ["ward_encrypted_operators", retag::renew_search_key]
);

/// Defines the setting `ward.reveal` and its hook.
pub fn init() {
    crate::pg::encrypted::reveal::init();
}
