//! Event leaves: something that happened other than a change of a row.

use crate::error::FormatError;
use crate::leaf::frame::FrameHead;
use crate::leaf::{EVENT, EntryFrame};
use crate::wire::{Reader, put_text};

/// The longest event type; a writer clips longer ones at the last whole character.
pub const MAX_EVENT_TYPE_LEN: u16 = 255;

/// The longest details; a writer refuses longer ones.
pub const MAX_DETAILS_LEN: u16 = 48 * 1024;

/// How bad an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Severity {
    /// Nothing bad at all.
    Info = 1,
    /// Worth a look some day.
    Low = 2,
    /// Worth a look.
    Medium = 3,
    /// Worth a look now.
    High = 4,
    /// Somebody has to act now.
    Critical = 5,
}

impl Severity {
    const ALL: [Self; 5] = [
        Self::Info,
        Self::Low,
        Self::Medium,
        Self::High,
        Self::Critical,
    ];

    /// The name the audit trail shows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// The severity of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str() == name)
    }

    fn parse(byte: u8) -> Result<Self, FormatError> {
        Self::ALL
            .into_iter()
            .find(|one| *one as u8 == byte)
            .ok_or(FormatError::UndefinedValue("severity"))
    }
}

/// What is known about an event: a JSON object that is not too long to be stored whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Details<'a>(&'a str);

impl<'a> Details<'a> {
    /// Refuses what is too long.
    pub fn new(json: &'a str) -> Result<Self, FormatError> {
        if json.len() > usize::from(MAX_DETAILS_LEN) {
            return Err(FormatError::TooLong("details"));
        }
        Ok(Self(json))
    }

    /// The text, which need not be JSON when somebody else wrote it.
    pub fn as_str(&self) -> &'a str {
        self.0
    }
}

/// Something that happened other than a change of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLeaf<'a> {
    /// Place, context and trailer.
    pub frame: EntryFrame<'a>,
    /// How bad it is.
    pub severity: Severity,
    /// What happened, for programs; not empty.
    pub event_type: &'a str,
    /// What is known about it.
    pub details: Details<'a>,
}

impl<'a> EventLeaf<'a> {
    /// Appends the leaf's encoding. An event type that is too long is clipped.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.frame.encode(EVENT, out, |out| {
            out.push(self.severity as u8);
            put_text(out, self.event_type, MAX_EVENT_TYPE_LEN);
            put_text(out, self.details.0, MAX_DETAILS_LEN);
        });
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let head = FrameHead::parse(reader)?;
        let leaf = Self {
            severity: Severity::parse(reader.u8()?)?,
            event_type: reader.text(usize::from(MAX_EVENT_TYPE_LEN), "event type")?,
            details: Details(reader.text(usize::from(MAX_DETAILS_LEN), "details")?),
            frame: head.finish(reader)?,
        };
        if leaf.event_type.is_empty() {
            return Err(FormatError::UndefinedValue("event type"));
        }
        Ok(leaf)
    }
}
