//! Leaves that say what is removed from the log: pruned leaves and erased images.

use crate::error::FormatError;
use crate::hash::Hash;
use crate::leaf::frame::FrameHead;
use crate::leaf::{
    ERASE, EntryFrame, MAX_NAME_LEN, MAX_RECORD_ID_LEN, MAX_TEXT_LEN, PRUNE, record_id_text,
};
use crate::wire::{Reader, put_text};

/// Leaves are pruned in multiples of this many.
pub const PRUNE_UNIT: u64 = 1024;

/// Leaves that are taken out of the log, while their hashes stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneLeaf<'a> {
    /// Place, context and trailer.
    pub frame: EntryFrame<'a>,
    /// The first leaf that is pruned.
    pub from: u64,
    /// The leaf after the last one that is pruned.
    pub to: u64,
    /// The root of the tree of the first `to` leaves.
    pub root: Hash,
    /// The size of the published checkpoint that covers them.
    pub checkpoint_size: u64,
    /// The retention period that they have outlived, in microseconds.
    pub period: i64,
}

impl<'a> PruneLeaf<'a> {
    /// Appends the leaf's encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.frame.encode(PRUNE, out, |out| {
            out.extend_from_slice(&self.from.to_be_bytes());
            out.extend_from_slice(&self.to.to_be_bytes());
            out.extend_from_slice(&self.root);
            out.extend_from_slice(&self.checkpoint_size.to_be_bytes());
            out.extend_from_slice(&self.period.to_be_bytes());
        });
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let head = FrameHead::parse(reader)?;
        let leaf = Self {
            from: reader.u64()?,
            to: reader.u64()?,
            root: reader.array()?,
            checkpoint_size: reader.u64()?,
            period: reader.i64()?,
            frame: head.finish(reader)?,
        };
        let whole = [leaf.from, leaf.to]
            .iter()
            .all(|bound| bound.is_multiple_of(PRUNE_UNIT));
        if leaf.from >= leaf.to || !whole || leaf.checkpoint_size < leaf.to {
            return Err(FormatError::NotCanonical("the pruned range"));
        }
        if leaf.period <= 0 {
            return Err(FormatError::UndefinedValue("period"));
        }
        Ok(leaf)
    }
}

/// The images of one record are erased, up to the end of the block that holds the leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EraseLeaf<'a> {
    /// Place, context and trailer.
    pub frame: EntryFrame<'a>,
    /// The table, as the shapes of the rows name it: its OID,
    pub relation_oid: u32,
    /// its schema,
    pub schema: &'a str,
    /// and its name.
    pub table: &'a str,
    /// The record id, as row leaves store it.
    pub record_id: &'a str,
    /// Why; not empty.
    pub reason: &'a str,
}

impl<'a> EraseLeaf<'a> {
    /// Appends the leaf's encoding. A reason that is too long is clipped.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.frame.encode(ERASE, out, |out| {
            self.encode_table(out);
            let record_id = record_id_text(self.record_id);
            put_text(out, &record_id, MAX_RECORD_ID_LEN as u16);
            put_text(out, self.reason, MAX_TEXT_LEN);
        });
    }

    /// Appends the table as a shape's content begins with it.
    pub(crate) fn encode_table(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.relation_oid.to_be_bytes());
        put_text(out, self.schema, MAX_NAME_LEN);
        put_text(out, self.table, MAX_NAME_LEN);
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let head = FrameHead::parse(reader)?;
        let leaf = Self {
            relation_oid: reader.u32()?,
            schema: reader.text(usize::from(MAX_NAME_LEN), "schema")?,
            table: reader.text(usize::from(MAX_NAME_LEN), "table")?,
            record_id: reader.text(MAX_RECORD_ID_LEN, "record id")?,
            reason: reader.text(usize::from(MAX_TEXT_LEN), "reason")?,
            frame: head.finish(reader)?,
        };
        if leaf.reason.is_empty() {
            return Err(FormatError::UndefinedValue("reason"));
        }
        Ok(leaf)
    }
}
