//! The only way to change the context.

use super::model::{self, SecurityContext};
use super::state;
use crate::error::{self, Result};
use crate::pg::context as setting;
use crate::pg::values::Text;
use pgrx::Uuid;
use pgrx::datum::Inet;
use pgrx::prelude::*;

#[pg_extern(volatile, parallel_unsafe, name = "set_tenant_context")]
fn set_tenant_context_uuid(
    tenant: Option<Uuid>,
    is_local: default!(Option<bool>, true),
) -> Result<()> {
    set_tenant(tenant.map(|id| id.to_string()).as_deref(), is_local)
}

#[pg_extern(volatile, parallel_unsafe, name = "set_tenant_context")]
fn set_tenant_context_text(
    tenant: Option<Text<'_>>,
    is_local: default!(Option<bool>, true),
) -> Result<()> {
    set_tenant(utf8("tenant", tenant)?.as_deref(), is_local)
}

#[pg_extern(volatile, parallel_unsafe)]
fn set_security_context(
    user_id: Option<Uuid>,
    session_id: default!(Option<Text<'_>>, "NULL"),
    service_name: default!(Option<Text<'_>>, "NULL"),
    client_ip: default!(Option<Inet>, "NULL"),
    user_agent: default!(Option<Text<'_>>, "NULL"),
    is_local: default!(Option<bool>, true),
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
        user_id: user_id.map(|id| id.to_string()),
        session_id: model::name("session_id", session_id.as_deref())?,
        service_name: model::name("service_name", service_name.as_deref())?,
        client_ip: client_ip.map(|address| address.0),
        user_agent: model::user_agent(user_agent.as_deref())?,
        ..base(is_local)?
    };
    setting::store(&context.encode()?, is_local)
}

#[pg_extern(volatile, parallel_unsafe)]
fn clear_security_context() -> Result<()> {
    setting::clear()
}

fn set_tenant(tenant: Option<&str>, is_local: Option<bool>) -> Result<()> {
    let is_local = scope(is_local)?;
    let tenant = model::tenant(tenant)?;
    state::check_tenant(&tenant)?;
    let context = SecurityContext {
        tenant: Some(tenant.clone()),
        ..base(is_local)?
    };
    setting::store(&context.encode()?, is_local)?;
    state::bind_tenant(&tenant);
    Ok(())
}

/// An argument in UTF-8, whatever the database's encoding.
fn utf8(argument: &str, value: Option<Text>) -> Result<Option<String>> {
    let Some(value) = value else {
        return Ok(None);
    };
    match String::from_utf8(value.utf8()?.into_owned()) {
        Ok(text) => Ok(Some(text)),
        // Only SQL_ASCII lets other bytes through.
        Err(_) => Err(error::report(
            PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
            format!("{argument} is not valid UTF-8"),
        )),
    }
}

fn scope(is_local: Option<bool>) -> Result<bool> {
    is_local.ok_or_else(|| {
        error::report(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "is_local must not be NULL",
        )
    })
}

/// The context to build on. A session-wide context must not take over parts that were meant to
/// end with the transaction.
fn base(is_local: bool) -> Result<SecurityContext> {
    let base = state::base();
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
