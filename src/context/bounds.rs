//! What a part of the context may be, wherever it comes from.

use crate::error::{self, Result};
use crate::pg::encoding;
use crate::pg::values::Text;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::PgSqlErrorCode;

/// Longest tenant, user, session, service, role and permission, in bytes.
pub(super) const NAME_LIMIT: usize = 255;
/// Longest user agent, in bytes.
const USER_AGENT_LIMIT: usize = 512;
/// Most roles, and most permissions, of one context.
pub(super) const LIST_LIMIT: usize = 256;

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

/// An argument in UTF-8, whatever the database's encoding.
pub(super) fn utf8(argument: &str, value: Option<Text>) -> Result<Option<String>> {
    let Some(value) = value else {
        return Ok(None);
    };
    String::from_utf8(value.utf8()?.into_owned())
        .map(Some)
        .map_err(|_| not_utf8(argument))
}

/// Roles or permissions within bounds. NULL is the empty list.
pub(super) fn list(argument: &str, value: Option<pgrx::Array<&[u8]>>) -> Result<Vec<String>> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    if value.len() > LIST_LIMIT {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            format!(
                "{argument} has {} elements, the limit is {LIST_LIMIT}",
                value.len()
            ),
        ));
    }
    value
        .iter()
        .map(|element| {
            let Some(element) = element else {
                return Err(error::report(
                    PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
                    format!("{argument} contains a NULL"),
                ));
            };
            match std::str::from_utf8(&encoding::bytes_to_utf8(element)) {
                Ok(element) => bounded(argument, element, NAME_LIMIT),
                Err(_) => Err(not_utf8(argument)),
            }
        })
        .collect()
}

// Only SQL_ASCII lets other bytes through.
fn not_utf8(argument: &str) -> ErrorReport {
    error::report(
        PgSqlErrorCode::ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
        format!("{argument} is not valid UTF-8"),
    )
}

/// The scope of a context: whether it ends with the transaction.
pub(super) fn scope(is_local: Option<bool>) -> Result<bool> {
    is_local.ok_or_else(|| {
        error::report(
            PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
            "is_local must not be NULL",
        )
    })
}

/// A text of at most `limit` bytes.
pub(super) fn bounded(argument: &str, value: &str, limit: usize) -> Result<String> {
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
