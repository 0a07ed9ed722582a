//! The context as a value: its parts, their bounds, and the text the setting stores.

use crate::error::{self, Result};
use pgrx::prelude::PgSqlErrorCode;
use serde::{Deserialize, Serialize};

/// Longest tenant, session and service name, in bytes.
const NAME_LIMIT: usize = 255;
/// Longest user agent, in bytes.
const USER_AGENT_LIMIT: usize = 512;

/// Where a context came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// Set by the application, which is trusted to have authenticated the user.
    #[serde(rename = "trusted")]
    Trusted,
}

/// The context in force. Built by the setters only; everything else reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityContext {
    /// Where the context came from.
    pub source: Source,
    /// The tenant, as the caller gave it.
    pub tenant: Option<String>,
    /// The user, as a hyphenated UUID.
    pub user_id: Option<String>,
    /// The application's session.
    pub session_id: Option<String>,
    /// The service that acts.
    pub service_name: Option<String>,
    /// The address of the application's client, which PostgreSQL itself never sees.
    pub client_ip: Option<String>,
    /// The user agent of the application's client.
    pub user_agent: Option<String>,
    /// Whether it ends with the transaction.
    pub(super) transaction_local: bool,
    /// `tenant` as a UUID, when it is one.
    #[serde(skip)]
    pub(super) tenant_uuid: Option<[u8; 16]>,
    /// `tenant` as a number, when it is one.
    #[serde(skip)]
    pub(super) tenant_number: Option<i64>,
    /// `user_id` in binary.
    #[serde(skip)]
    pub(super) user_uuid: Option<[u8; 16]>,
}

impl SecurityContext {
    /// A context that names nobody yet.
    pub(super) fn empty() -> Self {
        SecurityContext {
            source: Source::Trusted,
            tenant: None,
            user_id: None,
            session_id: None,
            service_name: None,
            client_ip: None,
            user_agent: None,
            transaction_local: false,
            tenant_uuid: None,
            tenant_number: None,
            user_uuid: None,
        }
    }

    /// The text the setting stores.
    pub(super) fn encode(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|_| {
            error::report(
                PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
                "the security context could not be encoded",
            )
        })
    }

    /// Parses the text of the setting, and derives the binary forms once, so that the accessors,
    /// which run for every row, only copy.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        let mut context: SecurityContext = serde_json::from_str(text).ok()?;
        context.tenant_uuid = context.tenant.as_deref().and_then(parse_uuid);
        context.tenant_number = context.tenant.as_deref().and_then(parse_number);
        context.user_uuid = match context.user_id.as_deref() {
            Some(id) => Some(parse_uuid(id)?),
            None => None,
        };
        Some(context)
    }
}

/// Hyphenated UUIDs only: the other spellings PostgreSQL accepts would make one tenant have
/// several names.
fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    (text.len() == 36)
        .then(|| uuid::Uuid::try_parse(text).ok())?
        .map(uuid::Uuid::into_bytes)
}

/// Canonical decimals only, so that `7` and `007` are not the same tenant by one column type and
/// two by another.
fn parse_number(text: &str) -> Option<i64> {
    text.parse::<i64>()
        .ok()
        .filter(|number| number.to_string() == text)
}

/// A tenant within bounds.
pub(super) fn tenant(value: Option<&str>) -> Result<String> {
    let Some(value) = value else {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "the tenant must not be NULL",
            "Call ward.clear_security_context() to end a context.",
        ));
    };
    if value.trim().is_empty() {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "the tenant must not be empty",
            "Call ward.clear_security_context() to end a context.",
        ));
    }
    bounded("tenant", value, NAME_LIMIT)
}

/// A session or service name within bounds. NULL stays NULL.
pub(super) fn name(argument: &str, value: Option<&str>) -> Result<Option<String>> {
    value
        .map(|value| bounded(argument, value, NAME_LIMIT))
        .transpose()
}

/// A user agent within bounds. NULL stays NULL.
pub(super) fn user_agent(value: Option<&str>) -> Result<Option<String>> {
    value
        .map(|value| bounded("user_agent", value, USER_AGENT_LIMIT))
        .transpose()
}

fn bounded(argument: &str, value: &str, limit: usize) -> Result<String> {
    if value.len() > limit {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_STRING_DATA_RIGHT_TRUNCATION,
            format!(
                "{argument} is {} bytes long, the limit is {limit}",
                value.len()
            ),
        ));
    }
    Ok(value.to_owned())
}
