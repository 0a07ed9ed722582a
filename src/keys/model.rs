//! The registry's vocabulary. Text from tables and callers is parsed into these types once.

use super::error::KeyError;

/// What a key is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Encrypts fields.
    DataEncryption,
    /// Computes search tags.
    Search,
    /// Authenticates the audit trail's entries.
    Audit,
    /// Signs the audit trail's checkpoints.
    CheckpointSigning,
    /// Signs tokens.
    Token,
}

impl Purpose {
    const ALL: [Self; 5] = [
        Self::DataEncryption,
        Self::Search,
        Self::Audit,
        Self::CheckpointSigning,
        Self::Token,
    ];

    /// The name used in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::DataEncryption => "data_encryption",
            Self::Search => "search",
            Self::Audit => "audit",
            Self::CheckpointSigning => "checkpoint_signing",
            Self::Token => "token",
        }
    }

    /// The purpose of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

/// What may be done with a version of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Encrypts and decrypts.
    Active,
    /// Only decrypts.
    DecryptOnly,
    /// Nothing, until enabled.
    Disabled,
    /// Nothing ever: the material is gone.
    Destroyed,
}

impl State {
    const ALL: [Self; 4] = [
        Self::Active,
        Self::DecryptOnly,
        Self::Disabled,
        Self::Destroyed,
    ];

    /// The name used in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::DecryptOnly => "decrypt_only",
            Self::Disabled => "disabled",
            Self::Destroyed => "destroyed",
        }
    }

    /// The state of this name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

/// One thing a grant allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Usage {
    /// Encrypt values.
    Encrypt = 1,
    /// Decrypt values.
    Decrypt = 2,
    /// Compute search tags.
    Search = 4,
    /// Store ciphertext as such.
    Import = 8,
}

impl Usage {
    const ALL: [Self; 4] = [Self::Encrypt, Self::Decrypt, Self::Search, Self::Import];

    /// The name used in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Encrypt => "encrypt",
            Self::Decrypt => "decrypt",
            Self::Search => "search",
            Self::Import => "import",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == text)
    }
}

/// A set of usages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usages(u8);

impl Usages {
    /// No usage.
    pub const NONE: Self = Self(0);

    /// What the creator of a key gets.
    pub const CREATOR: Self =
        Self(Usage::Encrypt as u8 | Usage::Decrypt as u8 | Usage::Search as u8);

    /// The set of these names; `None` when one of them is not a usage.
    pub fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        names.into_iter().try_fold(Self::NONE, |set, name| {
            Some(Self(set.0 | Usage::parse(name)? as u8))
        })
    }

    /// The names, in one fixed order.
    pub fn names(self) -> Vec<String> {
        Usage::ALL
            .into_iter()
            .filter(|usage| self.has(*usage))
            .map(|usage| usage.as_str().to_owned())
            .collect()
    }

    /// Whether the set has this usage.
    pub const fn has(self, usage: Usage) -> bool {
        self.0 & usage as u8 != 0
    }

    /// What either set has.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What only this set has.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether the set has nothing.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// One byte that stands for the set.
    pub const fn bits(self) -> u8 {
        self.0
    }
}

/// Names the registry takes for the keys it makes itself.
pub const RESERVED_PREFIX: &str = "ward/";

/// A key's name as a user may choose it. Names appear in messages and logs, so they are plain.
pub fn parse_name(name: Option<&str>) -> Result<&str, KeyError> {
    let name = name.ok_or(KeyError::Null("name"))?;
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/');
    let length = name.chars().count();
    if !(1..=63).contains(&length)
        || !name.chars().all(allowed)
        || name.starts_with(RESERVED_PREFIX)
    {
        return Err(KeyError::BadName);
    }
    Ok(name)
}
