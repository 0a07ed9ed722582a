//! What the encrypted column types refuse.

use crate::error::{report, report_hint};
use crate::keys::{KeyError, Usage};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use ward_crypto::{ColumnType, CryptoError};

/// Why a value cannot be made or read. No text holds a value.
#[derive(Debug)]
pub enum Error {
    /// The key, its state, its grants, or the envelope.
    Key(KeyError),
    /// The role may use no key at all in this way, and which one is meant is not known yet.
    NoGrantAtAll {
        /// The role that tried.
        role: String,
        /// What it tried.
        usage: Usage,
    },
    /// A literal has no key yet.
    Literal(ColumnType),
    /// The ciphertext is of another key than the column's.
    OtherKey {
        /// The ciphertext's.
        found: String,
        /// The column's.
        expected: String,
    },
    /// Ciphertext of somebody who may not bring any.
    Import(ColumnType),
    /// It begins as the text form does, but is none.
    Malformed(ColumnType),
    /// Its text form would be longer than PostgreSQL's texts can be.
    TooLong,
    /// What was sent is not text.
    NotText,
    /// Not what a type modifier can be.
    BadModifier(ColumnType),
    /// Reported as it is.
    Report(Box<ErrorReport>),
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        Self::Key(error)
    }
}

impl From<CryptoError> for Error {
    fn from(error: CryptoError) -> Self {
        Self::Key(error.into())
    }
}

impl From<ErrorReport> for Error {
    fn from(error: ErrorReport) -> Self {
        Self::Report(Box::new(error))
    }
}

impl From<Error> for ErrorReport {
    fn from(error: Error) -> Self {
        use PgSqlErrorCode::*;
        match error {
            Error::Report(error) => *error,
            Error::Key(
                ref key @ KeyError::NoGrant {
                    ref name,
                    ref role,
                    usage,
                },
            ) => report_hint(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                key.to_string(),
                format!(
                    "Who may manage keys can run: {}",
                    grant_call(name, role, usage)
                ),
            ),
            Error::Key(KeyError::Crypto(CryptoError::AuthenticationFailed)) => report_hint(
                ERRCODE_DATA_CORRUPTED,
                "authentication failed: the stored value differs from what was encrypted",
                "The stored bytes were changed, or put there as ciphertext of another type.",
            ),
            Error::Key(KeyError::Crypto(
                error @ (CryptoError::Truncated { .. } | CryptoError::UnknownFormat { .. }),
            )) => report(ERRCODE_DATA_CORRUPTED, error.to_string()),
            Error::Key(error) => error.into(),
            Error::NoGrantAtAll { role, usage } => report_hint(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!(
                    "permission denied: role \"{role}\" has usage {} of no encryption key",
                    usage.as_str()
                ),
                format!(
                    "Who may manage keys can run: {}",
                    grant_call("name of the key", &role, usage)
                ),
            ),
            Error::Literal(column) => report_hint(
                ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                format!(
                    "this ward.{} is not under an encryption key yet",
                    column.name()
                ),
                format!(
                    "Name the key in the type, as in ward.{}('name of the key'), or store the value in a column.",
                    column.name()
                ),
            ),
            Error::OtherKey { found, expected } => report_hint(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!(
                    "the ciphertext is under encryption key \"{found}\", the column is for \"{expected}\""
                ),
                "Load it into a column of its own key first; INSERT ... SELECT then encrypts it anew.",
            ),
            Error::Import(column) => report_hint(
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                format!(
                    "permission denied to store ciphertext of type ward.{}",
                    column.name()
                ),
                "Send the text itself. To bring in ciphertext, usage import of its key is needed.",
            ),
            Error::Malformed(column) => report_hint(
                ERRCODE_INVALID_TEXT_REPRESENTATION,
                format!("malformed ciphertext of type ward.{}", column.name()),
                format!(
                    "A text that begins with \"{}\" is ciphertext when a superuser writes it. As another role it is text like any other.",
                    column.prefix()
                ),
            ),
            Error::TooLong => report(
                ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                "the value is too long to encrypt: its ciphertext as text must stay below 1 GB, so it has at most 768 MB",
            ),
            Error::NotText => report_hint(
                ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
                "the value is not text in the client's encoding",
                "Send the text itself, in binary format as well as in text format.",
            ),
            Error::BadModifier(column) => report_hint(
                ERRCODE_INVALID_PARAMETER_VALUE,
                format!("invalid type modifier for ward.{}", column.name()),
                format!(
                    "The modifier is the name of one encryption key: ward.{}('name').",
                    column.name()
                ),
            ),
        }
    }
}

/// The call that would allow it. A role's name may hold any character.
fn grant_call(key: &str, role: &str, usage: Usage) -> String {
    format!(
        "SELECT ward.grant_key('{key}', '{}', '{{{}}}')",
        role.replace('\'', "''"),
        usage.as_str()
    )
}
