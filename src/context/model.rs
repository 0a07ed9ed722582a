//! The context as a value: its parts and the text the setting stores.

use crate::error::{self, Result};
use pgrx::prelude::PgSqlErrorCode;
use serde::{Deserialize, Serialize};

/// Where a context came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Set by the application, which is trusted to have authenticated the user.
    Trusted,
    /// Taken from a verified token.
    Token,
    /// Set by a role that may act for any tenant.
    Override,
}

/// The context in force. Built by the setters only; everything else reads it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecurityContext {
    /// Where the context came from.
    pub source: Source,
    /// The tenant, as the caller gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The user; a UUID unless a token says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The application's session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The service that acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// The address of the application's client, which PostgreSQL itself never sees.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
    /// The user agent of the application's client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// What the user is.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) roles: Vec<String>,
    /// What the user may do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) permissions: Vec<String>,
    /// The claims of the verified token, as JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) claims: Option<String>,
    /// When the token runs out, leeway included, in microseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<i64>,
    /// Whether it ends with the transaction.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) transaction_local: bool,
    /// `tenant` as a UUID, when it is one.
    #[serde(skip)]
    pub(super) tenant_uuid: Option<[u8; 16]>,
    /// `tenant` as a number, when it is one.
    #[serde(skip)]
    pub(super) tenant_number: Option<i64>,
    /// `user_id` as a UUID, when it is one.
    #[serde(skip)]
    pub(super) user_uuid: Option<[u8; 16]>,
    /// `user_id` as a number, when it is one.
    #[serde(skip)]
    pub(super) user_number: Option<i64>,
}

impl SecurityContext {
    /// A context that names nobody yet.
    pub(super) fn empty(source: Source) -> Self {
        SecurityContext {
            source,
            tenant: None,
            user_id: None,
            session_id: None,
            service_name: None,
            client_ip: None,
            user_agent: None,
            roles: Vec::new(),
            permissions: Vec::new(),
            claims: None,
            expires_at: None,
            transaction_local: false,
            tenant_uuid: None,
            tenant_number: None,
            user_uuid: None,
            user_number: None,
        }
    }

    /// Derives the binary forms once, so that the accessors, which run for every row, only copy.
    pub(super) fn complete(mut self) -> Self {
        self.tenant_uuid = self.tenant.as_deref().and_then(parse_uuid);
        self.tenant_number = self.tenant.as_deref().and_then(parse_number);
        self.user_uuid = self.user_id.as_deref().and_then(parse_uuid);
        self.user_number = self.user_id.as_deref().and_then(parse_number);
        self
    }

    /// The text the setting stores.
    pub(crate) fn encode(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|_| {
            error::report(
                PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
                "the security context could not be encoded",
            )
        })
    }

    /// Parses the text of the setting.
    pub(crate) fn decode(text: &str) -> Option<Self> {
        serde_json::from_str::<SecurityContext>(text)
            .ok()
            .map(Self::complete)
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
        .filter(|number| itoa::Buffer::new().format(*number) == text)
}
