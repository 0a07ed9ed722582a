//! What policies and queries read. They run for every row of a table without a usable index, so
//! they only copy what [`super::state`] holds.

use super::state;
use crate::error::Result;
use crate::pg::values::{JsonbValue, Text, TextValue, Varlena};
use pgrx::prelude::*;

#[pg_extern(stable, parallel_safe)]
fn get_tenant_context() -> Result<Option<TextValue>> {
    state::read(|context| context.tenant.as_deref().map(text))?.transpose()
}

#[pg_extern(stable, parallel_safe)]
fn get_current_tenant_number() -> Result<Option<i64>> {
    state::read(|context| context.tenant_number)
}

#[pg_extern(stable, parallel_safe)]
fn get_user_context() -> Result<Option<TextValue>> {
    state::read(|context| context.user_id.as_deref().map(text))?.transpose()
}

#[pg_extern(stable, parallel_safe)]
fn get_current_user_number() -> Result<Option<i64>> {
    state::read(|context| context.user_number)
}

#[pg_extern(stable, parallel_safe)]
fn has_role(role: Option<Text<'_>>) -> Result<bool> {
    holds(role, |context| &context.roles)
}

#[pg_extern(stable, parallel_safe)]
fn has_permission(permission: Option<Text<'_>>) -> Result<bool> {
    holds(permission, |context| &context.permissions)
}

#[pg_extern(stable, parallel_safe)]
fn current_claims() -> Result<Option<JsonbValue>> {
    let Some(claims) = state::read(|context| context.claims.clone())? else {
        return Ok(None);
    };
    Ok(Some(JsonbValue::from_utf8(copy(&claims)?)?))
}

/// Whether a list of the context has a name. NULL is in no list.
fn holds(
    name: Option<Text>,
    list: impl Fn(&super::SecurityContext) -> &Vec<String>,
) -> Result<bool> {
    let Some(name) = name else {
        return Ok(false);
    };
    let name = name.utf8()?;
    let held = state::read(|context| {
        let held = list(context).iter().any(|one| one.as_bytes() == &*name);
        Some(held)
    })?;
    Ok(held == Some(true))
}

fn text(value: &str) -> Result<TextValue> {
    Ok(TextValue::from_utf8(copy(value)?)?)
}

fn copy(text: &str) -> Result<Varlena> {
    let mut value = Varlena::new(text.len())?;
    value.bytes_mut().copy_from_slice(text.as_bytes());
    Ok(value)
}
