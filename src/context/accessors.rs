//! What policies and queries read. They run for every row of a table without a usable index, so
//! they only copy what [`super::state`] holds.

use super::state;
use pgrx::Uuid;
use pgrx::prelude::*;

#[pg_extern(stable, parallel_safe)]
fn get_tenant_context() -> Option<String> {
    state::read(|context| context.tenant.clone())
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
