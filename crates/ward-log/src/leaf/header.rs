//! What leaves that order something begin with: their place in a transaction, and when they were written.

use crate::error::FormatError;
use crate::leaf::VERSION;
use crate::wire::Reader;

/// Where in its transaction a leaf stands, and when it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafHeader {
    /// The top-level transaction's full id.
    pub xid: u64,
    /// Index of the leaf within its transaction.
    pub position: u32,
    /// How many leaves back the context leaf of this transaction lies; at least 1.
    pub context_back: u32,
    /// When it was written, in microseconds since 1970-01-01 UTC.
    pub occurred_at: i64,
}

impl LeafHeader {
    pub(super) fn encode(&self, kind: u8, out: &mut Vec<u8>) {
        out.extend_from_slice(&[kind, VERSION]);
        out.extend_from_slice(&self.xid.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
        out.extend_from_slice(&self.context_back.to_be_bytes());
        out.extend_from_slice(&self.occurred_at.to_be_bytes());
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        Ok(Self {
            xid: reader.u64()?,
            position: reader.u32()?,
            context_back: reader.u32()?,
            occurred_at: reader.i64()?,
        })
    }
}
