//! Refuses callers who lack a grant on a key, before anything is done.

use crate::error::{self, Result};
use crate::keys::{Key, KeyError, Usage, with_registry};
use crate::pg::keys::acl;
use pgrx::prelude::*;

/// Raises unless the caller has these usages of a key.
#[pg_extern(volatile, parallel_unsafe)]
fn require_key_usage(key: Option<&str>, usage: Vec<Option<String>>) -> Result<()> {
    let name = key.ok_or(KeyError::Null("key"))?;
    let usages = usages(&usage)?;
    Ok(with_registry(|registry| {
        require(registry.by_name(name)?, &usages)
    })?)
}

/// Raises unless the caller has these usages of the key that a type modifier stands for.
#[pg_extern(volatile, parallel_unsafe)]
fn require_type_key_usage(modifier: i32, usage: Vec<Option<String>>) -> Result<()> {
    let usages = usages(&usage)?;
    Ok(with_registry(|registry| {
        require(registry.by_modifier(modifier)?, &usages)
    })?)
}

/// Whether a role lacks one of these usages of a key, for a caller who has them: who else has is
/// nobody else's business.
#[pg_extern(stable, parallel_safe)]
fn lacks_key_usage(role: pg_sys::Oid, key: &str, usage: Vec<Option<String>>) -> Result<bool> {
    let usages = usages(&usage)?;
    Ok(with_registry(|registry| {
        let key = registry.by_name(key)?;
        require(key, &usages)?;
        Ok(usages
            .iter()
            .any(|usage| matches!(key.require(role, *usage), Err(KeyError::NoGrant { .. }))))
    })?)
}

/// The name of the key that a type modifier stands for; NULL when it is not in the registry.
#[pg_extern(stable, parallel_safe)]
fn key_of_modifier(modifier: i32) -> Result<Option<String>> {
    Ok(with_registry(|registry| {
        Ok(registry.name_of_modifier(modifier).map(str::to_owned))
    })?)
}

fn usages(names: &[Option<String>]) -> Result<Vec<Usage>> {
    names
        .iter()
        .map(|name| match name.as_deref() {
            Some("encrypt") => Ok(Usage::Encrypt),
            Some("decrypt") => Ok(Usage::Decrypt),
            Some("search") => Ok(Usage::Search),
            _ => Err(error::report(
                PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                "unknown key usage",
            )),
        })
        .collect()
}

fn require(key: &mut Key, usages: &[Usage]) -> std::result::Result<(), KeyError> {
    let user = acl::current_user();
    key.active()?;
    usages
        .iter()
        .try_for_each(|usage| key.require(user, *usage))
}
