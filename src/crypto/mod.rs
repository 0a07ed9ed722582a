//! Field encryption in SQL.

mod blind_index;
mod error;
mod field_tree;
mod fields;
mod password;
mod password_cache;
mod values;

/// Registers settings, and what forgets passwords at the end of a transaction.
pub fn init() {
    password_cache::init();
}

pgrx::extension_sql_file!(
    "../../sql/crypto_functions.sql",
    name = "ward_crypto_functions",
    requires = [
        values::encrypt_text,
        values::encrypt_bytea,
        values::encrypt_jsonb,
        values::decrypt,
        values::decrypt_bytea,
        values::decrypt_jsonb,
        values::reencrypt,
        password::encrypt_with_password,
        password::decrypt_with_password,
        fields::encrypt_fields,
        fields::decrypt_fields,
        blind_index::blind_index,
        blind_index::blind_index_compound
    ]
);
