//! The leaves of the log. Every encoding is canonical: what parses encodes to the same bytes.

mod context;
mod control;
mod event;
mod frame;
mod history;
mod removal;
mod retention;
mod row;
mod seal;
mod shape;
mod snapshot;
mod trailer;

pub use context::{Context, ContextSource, MAX_CONTEXT_TEXT_LEN};
pub use control::{Beginning, IncarnationLeaf, ViolationKind, ViolationLeaf};
pub use event::{Details, EventLeaf, MAX_DETAILS_LEN, MAX_EVENT_TYPE_LEN, Severity};
pub use frame::{ContextPlace, EntryFrame, has_trailer, holds_context};
pub use history::{KeyChangeLeaf, RestoreLeaf};
pub use removal::{EraseLeaf, PRUNE_UNIT, PruneLeaf};
pub use retention::{RetentionLeaf, RetentionPolicy};
pub use row::{MAX_RECORD_ID_LEN, Operation, RowLeaf, record_id_text, record_of};
pub use seal::SealLeaf;
pub use shape::{Column, ColumnKind, MAX_NAME_LEN, Shape, ShapeLeaf};
pub use snapshot::Snapshot;
pub use trailer::{AuditMac, MacCheck, Trailer};

use crate::error::FormatError;
use crate::wire::Reader;

/// The format version every leaf carries.
const VERSION: u8 = 1;

/// The longest leaf, except for shape and seal leaves (so that it fits a C2SP tlog-tiles entry bundle).
pub const MAX_LEAF_LEN: usize = 0xFFFF;

/// The longest shape or seal leaf: these grow with the columns of a table and the open transactions of a server.
pub const MAX_CONTROL_LEAF_LEN: usize = 0x10_0000;

/// The longest reason or detail; a writer clips longer ones at the last whole character.
pub const MAX_TEXT_LEN: u16 = 4096;

const ROW: u8 = 0x01;
const SHAPE: u8 = 0x04;
const EVENT: u8 = 0x06;
const SEAL: u8 = 0x10;
const INCARNATION: u8 = 0x11;
const VIOLATION: u8 = 0x12;
const PRUNE: u8 = 0x13;
const ERASE: u8 = 0x14;
const RETENTION: u8 = 0x15;
const KEY_CHANGE: u8 = 0x16;
const RESTORE: u8 = 0x17;

/// One leaf of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Leaf<'a> {
    /// A change of one row, or a truncation.
    Row(RowLeaf<'a>),
    /// What a table looks like.
    Shape(ShapeLeaf<'a>),
    /// Something that happened other than a change of a row.
    Event(EventLeaf<'a>),
    /// The end of a block.
    Seal(SealLeaf),
    /// The start of a history, or a break in it.
    Incarnation(IncarnationLeaf<'a>),
    /// What the sealer found wrong with a transaction.
    Violation(ViolationLeaf<'a>),
    /// Leaves are taken out of the log.
    Prune(PruneLeaf<'a>),
    /// Images of a record are erased.
    Erase(EraseLeaf<'a>),
    /// A new retention period.
    Retention(RetentionLeaf<'a>),
    /// Another key signs checkpoints from here on.
    KeyChange(KeyChangeLeaf<'a>),
    /// A restore that was meant.
    Restore(RestoreLeaf<'a>),
}

impl<'a> Leaf<'a> {
    /// Reads a leaf.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let max = match kind {
            SHAPE | SEAL => MAX_CONTROL_LEAF_LEN,
            INCARNATION | VIOLATION => MAX_LEAF_LEN,
            _ if is_entry_type(kind) => MAX_LEAF_LEN,
            _ => return Err(FormatError::UnknownType(kind)),
        };
        let version = reader.u8()?;
        if version != VERSION {
            return Err(FormatError::UnknownVersion(version));
        }
        if bytes.len() > max {
            return Err(FormatError::TooLong("the leaf"));
        }
        let leaf = match kind {
            ROW => Self::Row(RowLeaf::parse(&mut reader)?),
            SHAPE => Self::Shape(ShapeLeaf::parse(&mut reader)?),
            EVENT => Self::Event(EventLeaf::parse(&mut reader)?),
            SEAL => Self::Seal(SealLeaf::parse(&mut reader)?),
            INCARNATION => Self::Incarnation(IncarnationLeaf::parse(&mut reader)?),
            PRUNE => Self::Prune(PruneLeaf::parse(&mut reader)?),
            ERASE => Self::Erase(EraseLeaf::parse(&mut reader)?),
            RETENTION => Self::Retention(RetentionLeaf::parse(&mut reader)?),
            KEY_CHANGE => Self::KeyChange(KeyChangeLeaf::parse(&mut reader)?),
            RESTORE => Self::Restore(RestoreLeaf::parse(&mut reader)?),
            _ => Self::Violation(ViolationLeaf::parse(&mut reader)?),
        };
        reader.finish()?;
        Ok(leaf)
    }

    /// Appends the leaf's encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Row(leaf) => leaf.encode(out),
            Self::Shape(leaf) => leaf.encode(out),
            Self::Event(leaf) => leaf.encode(out),
            Self::Seal(leaf) => leaf.encode(out),
            Self::Incarnation(leaf) => leaf.encode(out),
            Self::Violation(leaf) => leaf.encode(out),
            Self::Prune(leaf) => leaf.encode(out),
            Self::Erase(leaf) => leaf.encode(out),
            Self::Retention(leaf) => leaf.encode(out),
            Self::KeyChange(leaf) => leaf.encode(out),
            Self::Restore(leaf) => leaf.encode(out),
        }
    }

    /// The frame of an entry; the other leaves say more about entries, or hold the log together.
    #[inline]
    pub fn frame(&self) -> Option<&EntryFrame<'a>> {
        match self {
            Self::Row(leaf) => Some(&leaf.frame),
            Self::Event(leaf) => Some(&leaf.frame),
            Self::Prune(leaf) => Some(&leaf.frame),
            Self::Erase(leaf) => Some(&leaf.frame),
            Self::Retention(leaf) => Some(&leaf.frame),
            Self::KeyChange(leaf) => Some(&leaf.frame),
            Self::Restore(leaf) => Some(&leaf.frame),
            Self::Shape(_) | Self::Seal(_) | Self::Incarnation(_) | Self::Violation(_) => None,
        }
    }

    /// The context that the leaf holds.
    pub fn context(&self) -> Option<Context<'a>> {
        match self.frame()?.context {
            ContextPlace::Here(context) => Context::parse(context).ok(),
            ContextPlace::Back(_) => None,
        }
    }

    /// The transaction the leaf belongs to, and its position in it; none for the sealer's own leaves.
    #[inline]
    pub fn place(&self) -> Option<(u64, u32)> {
        match self {
            Self::Shape(leaf) => Some((leaf.xid, leaf.position)),
            _ => self.frame().map(|frame| (frame.xid, frame.position)),
        }
    }
}

/// Whether leaves of this type are entries.
#[inline]
fn is_entry_type(kind: u8) -> bool {
    matches!(
        kind,
        ROW | EVENT | PRUNE | ERASE | RETENTION | KEY_CHANGE | RESTORE
    )
}
