//! What policies and queries read. They run for every row of a table without a usable index, so
//! they only copy what [`super::state`] holds.

use super::state;
use crate::error::Result;
use crate::pg::values::{TextValue, Varlena};
use pgrx::Uuid;
use pgrx::prelude::*;

#[pg_extern(stable, parallel_safe)]
fn get_tenant_context() -> Result<Option<TextValue>> {
    let Some(tenant) = state::read(|context| context.tenant.clone()) else {
        return Ok(None);
    };
    let mut value = Varlena::new(tenant.len())?;
    value.bytes_mut().copy_from_slice(tenant.as_bytes());
    Ok(Some(TextValue::from_utf8(value)?))
}

#[pg_extern(stable, parallel_safe)]
fn get_current_tenant_id() -> Option<Uuid> {
    state::read(|context| context.tenant_uuid).map(Uuid::from_bytes)
}

#[pg_extern(stable, parallel_safe)]
fn get_current_tenant_number() -> Option<i64> {
    state::read(|context| context.tenant_number)
}

#[pg_extern(stable, parallel_safe)]
fn get_current_user_id() -> Option<Uuid> {
    state::read(|context| context.user_uuid).map(Uuid::from_bytes)
}
