//! What the functions of field encryption refuse beyond what keys and envelopes do.

use crate::error::{report, report_hint};
use crate::keys::KeyError;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use ward_crypto::{CryptoError, FieldTextError, IndexBitsError, PathError};

/// Why a value was not encrypted or decrypted. No text holds a secret or a value; paths are the
/// caller's own.
#[derive(Debug, thiserror::Error)]
pub enum CryptoRefusal {
    /// The key or the envelope.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Not long enough, or longer than a password is.
    #[error("a password has 1 to {MAX_PASSWORD_LEN} bytes")]
    PasswordLength,
    /// A transaction has stretched passwords enough.
    #[error(
        "decrypting this value would exceed the {limit} iterations that one transaction may spend on passwords"
    )]
    WorkLimit {
        /// The setting.
        limit: i32,
    },
    /// One of the fields is not a path.
    #[error("field {place} of the list is not a path: {reason}")]
    Path {
        /// Counts from 1.
        place: usize,
        /// Why.
        reason: PathError,
    },
    /// One of the fields is NULL.
    #[error("field {0} of the list is NULL")]
    NullPath(usize),
    /// A field is inside another one, or is named twice.
    #[error("field {0} of the list is another one of the list, or lies in it, or contains it")]
    Overlap(usize),
    /// The document has another form than the path says.
    #[error("the document does not have the form that a field's path says")]
    Mismatch,
    /// What jsonb can hold as a string is less than what a column can.
    #[error(
        "the value of field {0} of the list is too long to encrypt: in a document it has at most 192 MB"
    )]
    FieldTooLong(usize),
    /// There is a plain value where an encrypted one is expected.
    #[error("field {0} of the list is not encrypted")]
    NotEncrypted(usize),
    /// The value to encrypt looks encrypted, and the role may not store ciphertext as such.
    #[error("field {0} of the list holds ciphertext already")]
    AlreadyEncrypted(usize),
    /// The value only looks like an encrypted one.
    #[error("field {place} of the list looks encrypted, but {reason}")]
    LookAlike {
        /// Counts from 1.
        place: usize,
        /// Why not.
        reason: FieldTextError,
    },
    /// The number of bits of a blind index.
    #[error(transparent)]
    IndexBits(#[from] IndexBitsError),
}

/// The longest password, in UTF-8. It bounds what is kept in memory.
pub const MAX_PASSWORD_LEN: usize = 1024;

impl From<CryptoError> for CryptoRefusal {
    fn from(error: CryptoError) -> Self {
        Self::Key(error.into())
    }
}

impl From<CryptoRefusal> for ErrorReport {
    fn from(refusal: CryptoRefusal) -> Self {
        use CryptoRefusal::*;
        use PgSqlErrorCode::*;
        let message = refusal.to_string();
        let (code, hint) = match refusal {
            Key(error) => return error.into(),
            PasswordLength => return report(ERRCODE_INVALID_PARAMETER_VALUE, message),
            NullPath(_) => return report(ERRCODE_NULL_VALUE_NOT_ALLOWED, message),
            FieldTooLong(_) => return report(ERRCODE_PROGRAM_LIMIT_EXCEEDED, message),
            IndexBits(_) => (
                ERRCODE_INVALID_PARAMETER_VALUE,
                "128 bits have no false hits in practice; fewer hide more and hit more.",
            ),
            WorkLimit { .. } => (
                ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                "Raise ward.max_password_iterations, or decrypt fewer values in a transaction. Somebody who can store values can make this work expensive.",
            ),
            Path { .. } => (
                ERRCODE_INVALID_PARAMETER_VALUE,
                "A path is names and asterisks (all elements of an array) with dots between; a backslash stands before a dot, an asterisk or a backslash of a name.",
            ),
            Overlap(_) => (
                ERRCODE_INVALID_PARAMETER_VALUE,
                "Name the outermost field only.",
            ),
            Mismatch => (
                ERRCODE_INVALID_PARAMETER_VALUE,
                "A name leads into an object, an asterisk into an array. What is missing or null is left alone; anything else is not, because it may be what was to be encrypted.",
            ),
            NotEncrypted(_) => (
                ERRCODE_INVALID_PARAMETER_VALUE,
                "Decrypt only what ward.encrypt_fields encrypted under the same path.",
            ),
            AlreadyEncrypted(_) => (
                ERRCODE_INSUFFICIENT_PRIVILEGE,
                "Decrypt the document first, or name only the fields that are not encrypted. To leave ciphertext as it is needs usage import of its key.",
            ),
            LookAlike { .. } => (
                ERRCODE_INVALID_TEXT_REPRESENTATION,
                "A text that begins as an encrypted field does is never taken for a plain value.",
            ),
        };
        report_hint(code, message, hint)
    }
}
