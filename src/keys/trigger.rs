//! Notices changes of the registry that do not come through its functions: a superuser's, a
//! restore's. Every session then reads the rows again, and refuses those that are not authentic.

use super::error::KeyError;
use crate::pg::keys::{invalidation, rows};
use pgrx::prelude::*;
use std::convert::Infallible;

/// The statement trigger of the registry's tables.
#[pg_trigger]
fn registry_changed<'a>(
    _trigger: &'a PgTrigger<'a>,
) -> Result<Option<PgHeapTuple<'a, pgrx::AllocatedByPostgres>>, Infallible> {
    match rows::registry() {
        Some(relation) => invalidation::changing(relation),
        None => crate::error::raise(KeyError::NotInstalled.into()),
    }
    Ok(None)
}
