//! Everything that keys and field encryption refuse: one table from the reason to its SQLSTATE.

use super::model::{Purpose, Usage};
use crate::error::{report, report_hint};
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use ward_crypto::{CryptoError, KeyId, UnwrapError};

/// Why a key cannot be used or changed. No text holds a secret or a value.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyError {
    /// No source of a master key is configured.
    #[error("no master key is configured")]
    NoMaster,
    /// No file of backup master keys is configured.
    #[error("no backup master key is configured")]
    NoBackupMaster,
    /// The file of backup master keys is unusable.
    #[error("the backup master key file \"{file}\" cannot be used: {reason}")]
    BackupMaster {
        /// The file.
        file: String,
        /// Why.
        reason: String,
    },
    /// The registry belongs to another master key.
    #[error(
        "wrong master key: encryption key \"{name}\" needs master key {needed}, configured: {configured}"
    )]
    WrongMaster {
        /// The key's name.
        name: String,
        /// The id it is wrapped under.
        needed: String,
        /// The ids there are.
        configured: String,
    },
    /// The master key is right, the wrapped material is not.
    #[error("the wrapped material of encryption key \"{name}\" version {version} is corrupt")]
    Corrupt {
        /// The key's name.
        name: String,
        /// Its version.
        version: i32,
    },
    /// A row was changed by something else than the registry's functions.
    #[error("the registry's {row} of encryption key \"{name}\" was altered outside pg_ward")]
    Tampered {
        /// The key's name.
        name: String,
        /// Which kind of row.
        row: &'static str,
    },
    /// A row of an issuer's key was changed by something else than its functions.
    #[error("key \"{kid}\" of issuer \"{issuer}\" was altered outside pg_ward")]
    IssuerKeyTampered {
        /// Of the key.
        issuer: String,
        /// Of the key.
        kid: String,
    },
    /// A row of an issuer's key belongs to another master key.
    #[error("key \"{kid}\" of issuer \"{issuer}\" was added under another master key")]
    IssuerKeyMaster {
        /// Of the key.
        issuer: String,
        /// Of the key.
        kid: String,
    },
    /// pg_ward is preloaded, but not installed in this database.
    #[error("pg_ward is not installed in this database")]
    NotInstalled,
    /// No key of this name.
    #[error("encryption key \"{0}\" does not exist")]
    UnknownName(String),
    /// No key of a name that no key can have.
    #[error("there is no encryption key of the name given")]
    UnknownUnnamed,
    /// No key of this id.
    #[error("the value was encrypted with key {0}, which is not in the registry")]
    UnknownId(KeyId),
    /// A column's type names a key that is not there.
    #[error("the key that the column's type names (#{0}) is not in the registry")]
    UnknownModifier(i32),
    /// A column's type names two keys.
    #[error("the column's type (#{0}) stands for two encryption keys")]
    AmbiguousModifier(i32),
    /// NULL was given for the key, and no key is the default.
    #[error("there is no default encryption key")]
    NoDefault,
    /// No key of this purpose.
    #[error("there is no key for purpose {}", .0.as_str())]
    NoInternal(Purpose),
    /// The key is switched off.
    #[error("encryption key \"{0}\" is disabled")]
    Disabled(String),
    /// The key is gone for good.
    #[error("encryption key \"{0}\" was destroyed")]
    Destroyed(String),
    /// The key is not disabled.
    #[error("encryption key \"{0}\" is not disabled")]
    NotDisabled(String),
    /// The role may not.
    #[error("permission denied for encryption key \"{name}\": role \"{role}\" has no usage {}", usage.as_str())]
    NoGrant {
        /// The key's name.
        name: String,
        /// The role that tried.
        role: String,
        /// What it tried.
        usage: Usage,
    },
    /// The role may not search.
    #[error(
        "permission denied to compute search tags: role \"{0}\" has no usage search of any encryption key"
    )]
    NoSearch(String),
    /// The key is for something else.
    #[error("encryption key \"{name}\" is for purpose {}: it cannot be {action}", purpose.as_str())]
    WrongPurpose {
        /// The key's name.
        name: String,
        /// What it is for.
        purpose: Purpose,
        /// What was tried.
        action: &'static str,
    },
    /// There may be one key of this purpose.
    #[error("there is already a key for purpose {}", .0.as_str())]
    PurposeTaken(Purpose),
    /// No such purpose.
    #[error("unknown key purpose")]
    UnknownPurpose,
    /// No such usage.
    #[error("unknown key usage")]
    UnknownUsage,
    /// No usage at all.
    #[error("no key usage was named")]
    NoUsage,
    /// A required argument is NULL.
    #[error("{0} must not be NULL")]
    Null(&'static str),
    /// Not acceptable as a name.
    #[error("invalid name for an encryption key")]
    BadName,
    /// The name is in use.
    #[error("encryption key \"{0}\" already exists")]
    NameTaken(String),
    /// Another name stands for the same type modifier.
    #[error("the name \"{0}\" cannot be told from an existing key's in a column's type")]
    NameClashes(String),
    /// No such role.
    #[error("role \"{0}\" does not exist")]
    UnknownRole(String),
    /// The confirmation of a destruction differs from the name.
    #[error("encryption key \"{0}\" was not destroyed: the confirmation is not its name")]
    NotConfirmed(String),
    /// A maximum age that makes no sense.
    #[error("invalid maximum age of an encryption key")]
    BadAge,
    /// Columns depend on the key.
    #[error("encryption key \"{name}\" was not destroyed: it is named by {users}")]
    InUse {
        /// The key's name.
        name: String,
        /// The columns, as a list.
        users: String,
    },
    /// The text is no export.
    #[error("the export of encryption keys is malformed: {0}")]
    MalformedExport(String),
    /// Made under another backup master key.
    #[error(
        "the export of encryption keys was made under backup master key {needed}, configured: {configured}"
    )]
    WrongBackupMaster {
        /// The id it was made under.
        needed: String,
        /// The ids there are.
        configured: String,
    },
    /// The export was changed.
    #[error("the export of encryption keys was altered")]
    TamperedExport,
    /// A key of the export would replace another one.
    #[error(
        "encryption key \"{0}\" was not imported: another key of this name, purpose or version is there already"
    )]
    OtherMaterial(String),
    /// Nothing can be written here.
    #[error("cannot change encryption keys on a standby")]
    Standby,
    /// Another transaction changed the registry after this one's snapshot.
    #[error("could not serialize access to the key registry due to concurrent change")]
    Concurrent,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandom,
    /// The registry's own statement failed.
    #[error("the key registry could not be changed: {0}")]
    Store(String),
    /// The envelope or its content.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
    /// The value would not fit into a field.
    #[error("the value is too long to encrypt: a field has at most 1 GB")]
    TooLong,
    /// There is no memory for a value.
    #[error("out of memory for an encrypted value")]
    OutOfMemory,
    /// Authentic, but not text of this database.
    #[error("the value is not valid in encoding {0}")]
    Encoding(String),
    /// Authentic, but not jsonb.
    #[error("the decrypted value is not valid jsonb")]
    NotJson,
}

impl KeyError {
    /// The error of a key whose material would not unwrap.
    pub fn unwrapping(error: UnwrapError, name: &str, version: i32, configured: String) -> Self {
        match error {
            UnwrapError::UnknownMaster { id } => Self::WrongMaster {
                name: name.to_owned(),
                needed: hex::encode(id),
                configured,
            },
            _ => Self::Corrupt {
                name: name.to_owned(),
                version,
            },
        }
    }

    /// The one table: docs/errors.md explains each.
    fn code(&self) -> PgSqlErrorCode {
        use PgSqlErrorCode::*;
        match self {
            Self::NoMaster
            | Self::NoBackupMaster
            | Self::BackupMaster { .. }
            | Self::IssuerKeyMaster { .. }
            | Self::WrongBackupMaster { .. }
            | Self::WrongMaster { .. }
            | Self::Corrupt { .. } => ERRCODE_CONFIG_FILE_ERROR,
            Self::TamperedExport => ERRCODE_DATA_CORRUPTED,
            Self::MalformedExport(_) => ERRCODE_INVALID_TEXT_REPRESENTATION,
            Self::InUse { .. } => ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST,
            Self::Tampered { .. } | Self::IssuerKeyTampered { .. } => {
                ERRCODE_INTEGRITY_CONSTRAINT_VIOLATION
            }
            Self::NotInstalled => ERRCODE_UNDEFINED_TABLE,
            Self::UnknownName(_)
            | Self::UnknownUnnamed
            | Self::UnknownId(_)
            | Self::UnknownModifier(_)
            | Self::NoDefault
            | Self::NoInternal(_)
            | Self::UnknownRole(_) => ERRCODE_UNDEFINED_OBJECT,
            Self::Disabled(_) | Self::NotDisabled(_) => ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Self::Destroyed(_) => ERRCODE_NO_DATA_FOUND,
            Self::NoGrant { .. } | Self::NoSearch(_) => ERRCODE_INSUFFICIENT_PRIVILEGE,
            Self::WrongPurpose { .. }
            | Self::UnknownPurpose
            | Self::UnknownUsage
            | Self::NoUsage
            | Self::BadAge
            | Self::NotConfirmed(_) => ERRCODE_INVALID_PARAMETER_VALUE,
            Self::AmbiguousModifier(_) => ERRCODE_AMBIGUOUS_ALIAS,
            Self::Null(_) => ERRCODE_NULL_VALUE_NOT_ALLOWED,
            Self::BadName => ERRCODE_INVALID_NAME,
            Self::NameTaken(_)
            | Self::NameClashes(_)
            | Self::OtherMaterial(_)
            | Self::PurposeTaken(_) => ERRCODE_DUPLICATE_OBJECT,
            Self::Concurrent => ERRCODE_T_R_SERIALIZATION_FAILURE,
            Self::Standby => ERRCODE_READ_ONLY_SQL_TRANSACTION,
            Self::NoRandom => ERRCODE_SYSTEM_ERROR,
            Self::Store(_) => ERRCODE_INTERNAL_ERROR,
            Self::TooLong => ERRCODE_PROGRAM_LIMIT_EXCEEDED,
            Self::OutOfMemory => ERRCODE_OUT_OF_MEMORY,
            Self::Encoding(_) => ERRCODE_CHARACTER_NOT_IN_REPERTOIRE,
            Self::NotJson => ERRCODE_INVALID_TEXT_REPRESENTATION,
            Self::Crypto(error) => match error {
                CryptoError::Truncated { .. } => ERRCODE_INVALID_BINARY_REPRESENTATION,
                CryptoError::UnknownFormat { .. } => ERRCODE_FEATURE_NOT_SUPPORTED,
                CryptoError::WrongType { .. }
                | CryptoError::NeedsPassword
                | CryptoError::NeedsKey => ERRCODE_DATATYPE_MISMATCH,
                CryptoError::WrongPassword => ERRCODE_INVALID_PASSWORD,
                CryptoError::OutOfMemory => ERRCODE_OUT_OF_MEMORY,
                CryptoError::Iterations => ERRCODE_INVALID_PARAMETER_VALUE,
                CryptoError::AuthenticationFailed => ERRCODE_DATA_CORRUPTED,
                CryptoError::TooLong => ERRCODE_PROGRAM_LIMIT_EXCEEDED,
                _ => ERRCODE_INTERNAL_ERROR,
            },
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoMaster => {
                "Set ward.master_key_file or ward.master_key_command in postgresql.conf and restart the server."
            }
            Self::NoBackupMaster | Self::BackupMaster { .. } => {
                "Set ward.backup_master_key_file in postgresql.conf to a file with 32 random bytes in hexadecimal or base64, readable by the server's user only, and restart the server."
            }
            Self::WrongBackupMaster { .. } => {
                "Add the backup master key it was made under to the file that ward.backup_master_key_file names, as a further line."
            }
            Self::TamperedExport => "Import the text as ward.export_encryption_keys returned it.",
            Self::MalformedExport(_) => "Import what ward.export_encryption_keys returned.",
            Self::OtherMaterial(_) => {
                "Nothing was imported. Export only the keys that are needed: ward.export_encryption_keys takes a list of names."
            }
            Self::InUse { .. } => {
                "Decrypt those columns or move them to another key first. With force => true their values are lost for good."
            }
            Self::BadAge => {
                "Give an interval of more than zero and at most 100 years, without negative parts."
            }
            Self::WrongMaster { .. } => {
                "Add the master key that was in use when this key was made to the configured source, as a further line."
            }
            Self::IssuerKeyMaster { .. } => {
                "Add the master key that was in use when the key was added to the configured source, as a further line."
            }
            Self::Corrupt { .. } | Self::Tampered { .. } | Self::IssuerKeyTampered { .. } => {
                "Restore the registry's row from a backup. Find out who changed it: only a superuser can."
            }
            Self::NotInstalled => "Run CREATE EXTENSION pg_ward.",
            Self::UnknownName(_) | Self::UnknownUnnamed => {
                "The view ward.encryption_keys lists the keys."
            }
            Self::UnknownId(_) => {
                "The value comes from another database, or the registry was restored from an older backup."
            }
            Self::UnknownModifier(_) => {
                "Make a key of the name in the column's type, restore the registry, or give the column a type that names another key."
            }
            Self::AmbiguousModifier(_) => "Give the column a type that names another key.",
            Self::NoDefault => {
                "Name a key, or make one with ward.generate_encryption_key or ward.set_default_encryption_key."
            }
            Self::Disabled(_) => "Enable it with ward.enable_encryption_key.",
            Self::Destroyed(_) => "Values encrypted with it cannot be read any more.",
            Self::NoGrant { .. } | Self::NoSearch(_) => {
                "Grant it with ward.grant_key. Superusers need a grant too."
            }
            Self::UnknownPurpose => {
                "Purposes are data_encryption, search, audit, checkpoint_signing and token."
            }
            Self::UnknownUsage | Self::NoUsage => "Usages are encrypt, decrypt, search and import.",
            Self::BadName => {
                "A name has 1 to 63 characters: letters, digits, and any of _ - . : /; it does not start with \"ward/\"."
            }
            Self::NameClashes(_) => "Choose another name.",
            Self::NotConfirmed(_) => {
                "Destroying cannot be undone. Give the key's name a second time as confirm."
            }
            Self::Standby => {
                "Change them on the primary; it counts here as soon as it is replayed."
            }
            Self::Concurrent => "Try the transaction again.",
            Self::Crypto(CryptoError::WrongType { .. }) => {
                "Use ward.decrypt for text, ward.decrypt_bytea for bytea, ward.decrypt_jsonb for jsonb."
            }
            Self::Crypto(CryptoError::AuthenticationFailed) => {
                "Give the same aad as when it was encrypted; otherwise the stored value was changed."
            }
            Self::Crypto(CryptoError::NeedsPassword) => "Use ward.decrypt_with_password.",
            Self::Crypto(CryptoError::NeedsKey) => "Use ward.decrypt.",
            Self::Crypto(CryptoError::WrongPassword) => {
                "Give the password it was encrypted with; otherwise the stored value was changed."
            }
            Self::Crypto(CryptoError::Truncated { .. } | CryptoError::UnknownFormat { .. }) => {
                "Only what ward.encrypt returned can be decrypted."
            }
            _ => return None,
        })
    }
}

impl From<KeyError> for ErrorReport {
    fn from(error: KeyError) -> Self {
        match error.hint() {
            Some(hint) => report_hint(error.code(), error.to_string(), hint),
            None => report(error.code(), error.to_string()),
        }
    }
}

impl From<pgrx::spi::SpiError> for KeyError {
    fn from(error: pgrx::spi::SpiError) -> Self {
        Self::Store(error.to_string())
    }
}
