//! What an application sets that is trusted to have authenticated its user. Refused in token mode.

use super::bounds::{self, scope, utf8};
use super::model::{SecurityContext, Source};
use super::state;
use crate::error::{self, Result};
use crate::pg::context as setting;
use crate::pg::values::Text;
use pgrx::datum::Inet;
use pgrx::prelude::*;
use pgrx::{Array, Uuid};

#[pg_extern(volatile, parallel_unsafe, name = "set_tenant_context")]
fn set_tenant_context_uuid(
    tenant: Option<Uuid>,
    is_local: default!(Option<bool>, true),
) -> Result<()> {
    set_tenant(tenant.map(hyphenated).as_deref(), is_local)
}

#[pg_extern(volatile, parallel_unsafe, name = "set_tenant_context")]
fn set_tenant_context_text(
    tenant: Option<Text<'_>>,
    is_local: default!(Option<bool>, true),
) -> Result<()> {
    set_tenant(utf8("tenant", tenant)?.as_deref(), is_local)
}

// The declaration is spelled out because Rust has no type for text[] that leaves bytes as they are.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."set_security_context"("user_id" uuid, "session_id" text DEFAULT NULL,
    "service_name" text DEFAULT NULL, "client_ip" inet DEFAULT NULL, "user_agent" text DEFAULT NULL,
    "is_local" bool DEFAULT true, "roles" text[] DEFAULT NULL, "permissions" text[] DEFAULT NULL)
RETURNS void VOLATILE PARALLEL UNSAFE
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
#[allow(clippy::too_many_arguments)]
fn set_security_context(
    user_id: Option<Uuid>,
    session_id: Option<Text<'_>>,
    service_name: Option<Text<'_>>,
    client_ip: Option<Inet>,
    user_agent: Option<Text<'_>>,
    is_local: Option<bool>,
    roles: Option<Array<&[u8]>>,
    permissions: Option<Array<&[u8]>>,
) -> Result<()> {
    let is_local = scope(is_local)?;
    if user_id.is_none() && service_name.is_none() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "user_id must not be NULL unless service_name is given",
            "Name the user, or the service that acts on its own behalf. Call \
             ward.clear_security_context() to end a context.",
        ));
    }
    let session_id = utf8("session_id", session_id)?;
    let service_name = utf8("service_name", service_name)?;
    let user_agent = utf8("user_agent", user_agent)?;
    let context = SecurityContext {
        user_id: user_id.map(hyphenated),
        session_id: bounds::name("session_id", session_id.as_deref())?,
        service_name: bounds::name("service_name", service_name.as_deref())?,
        client_ip: client_ip.map(|address| address.0),
        user_agent: bounds::user_agent(user_agent.as_deref())?,
        roles: bounds::list("roles", roles)?,
        permissions: bounds::list("permissions", permissions)?,
        ..base(is_local)?
    };
    setting::store(context.complete(), is_local)
}

/// The text of a UUID. pgrx's own goes through a formatter, digit by digit.
fn hyphenated(id: Uuid) -> String {
    let id = uuid::Uuid::from_bytes(*id.as_bytes());
    let mut buffer = uuid::Uuid::encode_buffer();
    id.hyphenated().encode_lower(&mut buffer).to_owned()
}

#[pg_extern(volatile, parallel_unsafe)]
fn clear_security_context() -> Result<()> {
    setting::clear()
}

fn set_tenant(tenant: Option<&str>, is_local: Option<bool>) -> Result<()> {
    let is_local = scope(is_local)?;
    let tenant = bounds::tenant(tenant)?;
    state::check_tenant(&tenant)?;
    let context = SecurityContext {
        tenant: Some(tenant),
        ..base(is_local)?
    };
    setting::store(context.complete(), is_local)?;
    state::bind_tenant();
    Ok(())
}

/// The context to build on. A session-wide context must not take over parts that were meant to end
/// with the transaction, and what an application says must not stand beside what a token says.
fn base(is_local: bool) -> Result<SecurityContext> {
    if setting::token_mode() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            "the security context can only be set by a token",
            "ward.context_mode is token here: call ward.authenticate().",
        ));
    }
    let base = state::base()
        .filter(|base| base.source == Source::Trusted)
        .unwrap_or_else(|| SecurityContext::empty(Source::Trusted));
    if base.transaction_local && !is_local {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_ACTIVE_SQL_TRANSACTION,
            "a transaction-local security context is in force",
            "Use is_local => true, or set the session's context after this transaction.",
        ));
    }
    Ok(SecurityContext {
        transaction_local: is_local,
        ..base
    })
}
