//! Columns that exist already: converted at once or online, moved to the active version of their key,
//! and counted.
//!
//! What has to be decided and done in SQL is in sql/columns*.sql; here is what happens to each row.

mod convert;
mod describe;
mod grants;
mod part;
mod progress;
mod renew;
mod transform;

pub use transform::Transform;

pgrx::extension_sql_file!(
    "../../sql/columns.sql",
    name = "ward_columns",
    requires = ["ward_encrypted_columns"]
);
pgrx::extension_sql_file!(
    "../../sql/columns_convert.sql",
    name = "ward_columns_convert",
    requires = [
        "ward_columns",
        convert::convert_next,
        convert::convert_places,
        convert::forget_conversion
    ]
);
pgrx::extension_sql_file!(
    "../../sql/columns_status.sql",
    name = "ward_columns_status",
    requires = [
        "ward_columns_convert",
        renew::renew_rows,
        renew::is_current,
        describe::key_version_of_envelope,
        describe::key_version_of_encrypted,
        describe::key_version_of_secret,
        grants::require_key_usage,
        grants::require_type_key_usage,
        grants::lacks_key_usage,
        grants::key_of_modifier
    ]
);
