//! Acting for another tenant: support staff and batch jobs, whom a grant allows it.

use super::bounds;
use super::model::{SecurityContext, Source};
use super::{event, state};
use crate::error::{self, Result};
use crate::pg::context as setting;
use crate::pg::values::Text;
use pgrx::prelude::*;

/// Longest reason, in bytes.
const REASON_LIMIT: usize = 1024;

/// Makes this transaction act for `tenant`, whatever tenant it was bound to. Who acts stays; what he
/// may do in his own tenant does not.
#[pg_extern(volatile, parallel_unsafe)]
fn override_tenant_context(tenant: Option<Text<'_>>, reason: Option<Text<'_>>) -> Result<()> {
    let tenant = bounds::tenant(bounds::utf8("tenant", tenant)?.as_deref())?;
    let reason = bounds::utf8("reason", reason)?.unwrap_or_default();
    if reason.trim().is_empty() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "the reason must be given",
            "Say why this tenant is acted for; it is recorded in the audit trail.",
        ));
    }
    let reason = bounds::bounded("reason", &reason, REASON_LIMIT)?;
    let base = state::base().unwrap_or_else(|| SecurityContext::empty(Source::Override));
    let former = base.tenant.clone();
    let context = SecurityContext {
        source: Source::Override,
        tenant: Some(tenant.clone()),
        roles: Vec::new(),
        permissions: Vec::new(),
        claims: None,
        transaction_local: true,
        ..base
    };
    setting::store(context.complete(), true)?;
    state::rebind_tenant();
    event::overridden(&tenant, former.as_deref(), &reason)
}
