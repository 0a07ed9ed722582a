//! Leaves the sealer adds about the history itself.

use crate::error::FormatError;
use crate::hash::Hash;
use crate::leaf::{INCARNATION, MAX_TEXT_LEN, VERSION, VIOLATION};
use crate::wire::{Reader, put_text};

/// Why a history begins, as the first word of an incarnation leaf's reason says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Beginning {
    /// The log was made.
    Created,
    /// The database was copied within its cluster.
    Copied,
    /// The server left recovery without a target: a standby was promoted, or a backup played forward to its end.
    Promoted,
    /// The server left recovery at a target that somebody had chosen.
    Recovered,
    /// The database was brought to another cluster, whose transaction ids are counted anew.
    Transferred,
    /// Somebody declared a restore.
    Declared,
}

impl Beginning {
    const ALL: [Self; 6] = [
        Self::Created,
        Self::Copied,
        Self::Promoted,
        Self::Recovered,
        Self::Transferred,
        Self::Declared,
    ];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Copied => "copied",
            Self::Promoted => "promoted",
            Self::Recovered => "recovered",
            Self::Transferred => "transferred",
            Self::Declared => "declared",
        }
    }

    /// The reason of an incarnation leaf: the word, and what more there is to say.
    pub fn reason(self, more: Option<&str>) -> String {
        match more {
            Some(more) => format!("{}: {more}", self.as_str()),
            None => self.as_str().to_owned(),
        }
    }
}

/// The start of a history, or a restore or fork in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncarnationLeaf<'a> {
    /// The random id of the history from here on.
    pub incarnation: [u8; 16],
    /// The cluster's system identifier.
    pub system_identifier: u64,
    /// The database's OID.
    pub database_oid: u32,
    /// The timeline.
    pub timeline: u32,
    /// The tree's size before this leaf.
    pub previous_size: u64,
    /// The tree's root before this leaf.
    pub previous_root: Hash,
    /// Why: a word (see [`Beginning`]), perhaps a colon, a space and text. "created" for leaf 0.
    pub reason: &'a str,
    /// When, in microseconds since 1970-01-01 UTC.
    pub at: i64,
}

impl<'a> IncarnationLeaf<'a> {
    /// Why it begins; none when the reason does not start with one of the words.
    pub fn beginning(&self) -> Option<Beginning> {
        let word = self.reason.split(": ").next();
        Beginning::ALL
            .into_iter()
            .find(|one| word == Some(one.as_str()))
    }

    /// Appends the leaf's encoding. A reason that is too long is clipped.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[INCARNATION, VERSION]);
        out.extend_from_slice(&self.incarnation);
        out.extend_from_slice(&self.system_identifier.to_be_bytes());
        out.extend_from_slice(&self.database_oid.to_be_bytes());
        out.extend_from_slice(&self.timeline.to_be_bytes());
        out.extend_from_slice(&self.previous_size.to_be_bytes());
        out.extend_from_slice(&self.previous_root);
        put_text(out, self.reason, MAX_TEXT_LEN);
        out.extend_from_slice(&self.at.to_be_bytes());
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        Ok(Self {
            incarnation: reader.array()?,
            system_identifier: reader.u64()?,
            database_oid: reader.u32()?,
            timeline: reader.u32()?,
            previous_size: reader.u64()?,
            previous_root: reader.array()?,
            reason: reader.text(usize::from(MAX_TEXT_LEN), "reason")?,
            at: reader.i64()?,
        })
    }
}

/// What the sealer can find wrong with a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ViolationKind {
    /// The transaction does not end with a trailer.
    TrailerMissing = 1,
    /// A trailer's MAC is wrong.
    TrailerMacWrong = 2,
    /// A trailer's chain or count is wrong.
    ChainWrong = 3,
    /// A journal record cannot be read.
    UnreadableRecord = 4,
    /// Positions are missing.
    PositionGap = 5,
    /// A trailer names an incarnation that is not this history's.
    ForeignIncarnation = 6,
    /// The transaction orders something that the log's rules forbid: it was not done.
    OrderRefused = 7,
}

impl ViolationKind {
    /// A name for reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TrailerMissing => "trailer missing",
            Self::TrailerMacWrong => "trailer MAC wrong",
            Self::ChainWrong => "chain or count wrong",
            Self::UnreadableRecord => "unreadable record",
            Self::PositionGap => "positions missing",
            Self::ForeignIncarnation => "foreign incarnation",
            Self::OrderRefused => "order refused",
        }
    }

    fn parse(byte: u8) -> Result<Self, FormatError> {
        match byte {
            1 => Ok(Self::TrailerMissing),
            2 => Ok(Self::TrailerMacWrong),
            3 => Ok(Self::ChainWrong),
            4 => Ok(Self::UnreadableRecord),
            5 => Ok(Self::PositionGap),
            6 => Ok(Self::ForeignIncarnation),
            7 => Ok(Self::OrderRefused),
            _ => Err(FormatError::UndefinedValue("violation kind")),
        }
    }
}

/// What the sealer found wrong with a transaction, right after the transaction's leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViolationLeaf<'a> {
    /// The transaction.
    pub xid: u64,
    /// What is wrong.
    pub kind: ViolationKind,
    /// More about it, for people; never a column value.
    pub detail: &'a str,
    /// When it was found, in microseconds since 1970-01-01 UTC.
    pub at: i64,
}

impl<'a> ViolationLeaf<'a> {
    /// Appends the leaf's encoding. A detail that is too long is clipped.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[VIOLATION, VERSION]);
        out.extend_from_slice(&self.xid.to_be_bytes());
        out.push(self.kind as u8);
        put_text(out, self.detail, MAX_TEXT_LEN);
        out.extend_from_slice(&self.at.to_be_bytes());
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        Ok(Self {
            xid: reader.u64()?,
            kind: ViolationKind::parse(reader.u8()?)?,
            detail: reader.text(usize::from(MAX_TEXT_LEN), "detail")?,
            at: reader.i64()?,
        })
    }
}
