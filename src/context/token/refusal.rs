//! Why a token is refused: one table from the reason to its SQLSTATE. No text holds anything that the
//! token says.

use super::algorithm;
use crate::error::{report, report_hint};
use crate::keys::KeyError;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

/// Why a token is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// NULL.
    #[error("the token must not be NULL")]
    Null,
    /// Nothing.
    #[error("token refused: it is empty")]
    Empty,
    /// More than anybody needs.
    #[error("token refused: it is {0} bytes long, the limit is {limit}", limit = super::SIZE_LIMIT)]
    TooLong(usize),
    /// Not three parts of base64url with JSON objects in them.
    #[error("token refused: it is not a signed JSON Web Token")]
    Malformed,
    /// What a name means is not clear.
    #[error("token refused: an object in it has a name twice")]
    Duplicate,
    /// An algorithm that is not accepted from anybody.
    #[error("token refused: its algorithm is not accepted")]
    Algorithm,
    /// The header has no usable kid.
    #[error("token refused: it does not name its key (kid)")]
    NoKid,
    /// Not a token for this purpose.
    #[error("token refused: its type (typ) is not JWT or at+jwt")]
    Type,
    /// The header asks for something that is never done.
    #[error("token refused: its header has the parameter {0}")]
    Parameter(&'static str),
    /// A claim that must be there.
    #[error("token refused: it has no claim {0}")]
    Missing(&'static str),
    /// A claim that is not what it must be.
    #[error("token refused: claim {0} is not {1}")]
    Claim(String, &'static str),
    /// No such key.
    #[error("token refused: no key of its issuer has its key id")]
    UnknownKey,
    /// The key is no longer in use.
    #[error("token refused: key \"{kid}\" of issuer \"{issuer}\" was retired")]
    Retired {
        /// Of the key.
        issuer: String,
        /// Of the key.
        kid: String,
    },
    /// The key is for other algorithms.
    #[error("token refused: key \"{kid}\" of issuer \"{issuer}\" is not for its algorithm")]
    KeyAlgorithm {
        /// Of the key.
        issuer: String,
        /// Of the key.
        kid: String,
    },
    /// The key did not make the signature.
    #[error("token refused: its signature is wrong")]
    Signature,
    /// For somebody else.
    #[error("token refused: it is for another audience")]
    Audience,
    /// Too late.
    #[error("token refused: it has expired")]
    Expired,
    /// Too early.
    #[error("token refused: it is not valid yet")]
    NotYet,
    /// Issued in the future.
    #[error("token refused: it was issued in the future")]
    IssuedLater,
    /// Ends before it begins.
    #[error("token refused: it expires before it was issued")]
    NoLifetime,
    /// Valid for too long.
    #[error("token refused: it is valid for {0} seconds, the limit is {1}")]
    Lifetime(i64, i64),
    /// Used before.
    #[error("token refused: it was used before")]
    Used,
    /// Nothing can be written, so nobody would know that it was used.
    #[error("one-time tokens cannot be accepted {0}")]
    ReadOnly(&'static str),
    /// The key's row was changed by something else than its functions.
    #[error("key \"{kid}\" of issuer \"{issuer}\" was altered outside pg_ward")]
    Altered {
        /// Of the key.
        issuer: String,
        /// Of the key.
        kid: String,
    },
    /// The key's row was made under another master key.
    #[error("key \"{kid}\" of issuer \"{issuer}\" was added under another master key")]
    WrongMaster {
        /// Of the key.
        issuer: String,
        /// Of the key.
        kid: String,
    },
    /// The registry cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Refusal {
    fn code(&self) -> PgSqlErrorCode {
        use PgSqlErrorCode::*;
        match self {
            Self::Null => ERRCODE_NULL_VALUE_NOT_ALLOWED,
            Self::ReadOnly(_) => ERRCODE_READ_ONLY_SQL_TRANSACTION,
            Self::Altered { .. } => ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION,
            Self::WrongMaster { .. } => ERRCODE_CONFIG_FILE_ERROR,
            _ => ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Algorithm => format!("Accepted are {}.", algorithm::names()),
            Self::UnknownKey => {
                "The view ward.jwt_keys lists the keys; ward.add_jwt_key() adds one.".to_owned()
            }
            Self::Retired { .. } => "Get a token that a current key of the issuer signed.".to_owned(),
            Self::Expired => "Get a new token from its issuer.".to_owned(),
            Self::NotYet | Self::IssuedLater => {
                "Compare the clocks of issuer and server; ward.token_leeway allows a difference.".to_owned()
            }
            Self::Lifetime(..) => {
                "Let the issuer make shorter tokens; ward.token_max_lifetime is the limit.".to_owned()
            }
            Self::Claim(..) => {
                "The settings ward.token_..._claim say which claim is what.".to_owned()
            }
            Self::Used => "With ward.token_single_use each token counts once: get a new one.".to_owned(),
            Self::ReadOnly(_) => {
                "Authenticate where the use can be recorded, or set ward.token_single_use off for this role.".to_owned()
            }
            Self::Altered { .. } => {
                "Restore the row of ward.jwt_key from a backup. Find out who changed it.".to_owned()
            }
            Self::WrongMaster { .. } => {
                "Add the master key that was in use when the key was added to the configured source, as a further line.".to_owned()
            }
            _ => return None,
        })
    }
}

impl From<Refusal> for ErrorReport {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Key(error) => error.into(),
            _ => match refusal.hint() {
                Some(hint) => report_hint(refusal.code(), refusal.to_string(), hint),
                None => report(refusal.code(), refusal.to_string()),
            },
        }
    }
}
