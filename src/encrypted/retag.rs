//! A new search key, for when the old one may have become known: `ward.retag_column` rewrites the tags.

use crate::error::Result;
use crate::keys::{Purpose, renew_internal_key};
use crate::pg::catalog;
use pgrx::prelude::*;

/// Makes a new search key and returns its version. From then on texts are compared by its tags.
#[pg_extern(name = "renew_search_key_alone", security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn renew_search_key() -> Result<i32> {
    let version = renew_internal_key(Purpose::Search)?;
    // Kept plans hold literals with tags of the former key.
    catalog::invalidate_all();
    Ok(version)
}
