//! What the audit trail is told about contexts, when `ward.audit_context` is on.

use super::state;
use super::token::{Accepted, algorithm};
use crate::audit::event::{self, Severity};
use crate::error::{self, Result};
use crate::pg::{process, who};
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;
use serde_json::{Value, json};

static AUDIT: GucSetting<bool> = GucSetting::<bool>::new(false);

/// Defines the setting.
pub fn register() {
    GucRegistry::define_bool_guc(
        c"ward.audit_context",
        c"Whether every authentication and every override of a tenant is an entry of the audit trail.",
        c"",
        &AUDIT,
        GucContext::Suset,
        GucFlags::default(),
    );
}

/// A token was accepted. Its context is in force by now, so the entry names tenant and user.
pub fn authenticated(token: &Accepted) -> Result<()> {
    if !AUDIT.get() {
        return Ok(());
    }
    let claims = &token.registered;
    record(
        "authentication",
        Severity::Info,
        &json!({
            "issuer": token.issuer,
            "kid": token.kid,
            "algorithm": algorithm::name(token.algorithm),
            "subject": claims.subject,
            "token_id": claims.id,
            "issued_at": claims.issued_at / 1_000_000,
            "expires_at": claims.expires_at / 1_000_000,
        }),
    )
}

/// A role acts for another tenant from here on.
pub fn overridden(tenant: &str, former: Option<&str>, reason: &str) -> Result<()> {
    if !AUDIT.get() {
        return Ok(());
    }
    // The entry goes when the transaction is rolled back, what was read in it does not. As JSON, so
    // that nothing in the texts looks like a line of the log.
    error::report(
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        "a role acts for another tenant",
    )
    .set_detail(
        json!({ "session_role": who::role_name(who::session_role()), "tenant": tenant, "reason": reason })
            .to_string(),
    )
    .report(PgLogLevel::LOG_SERVER_ONLY);
    record(
        "tenant_override",
        Severity::Medium,
        &json!({ "former_tenant": former, "reason": reason }),
    )
}

fn record(event_type: &str, severity: Severity, details: &Value) -> Result<()> {
    if process::in_recovery() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "this change of context cannot be recorded on a standby",
            "Set ward.audit_context off for the roles that work on standbys.",
        ));
    }
    // Recording it is no use of the context by the application.
    state::unused(|| event::record(event_type, severity, &details.to_string()))
}
