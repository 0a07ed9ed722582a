//! What every entry has around its body: its place in a transaction, who acted, and the transaction's end.

use crate::error::FormatError;
use crate::leaf::trailer::Trailer;
use crate::leaf::{Context, VERSION, is_entry_type};
use crate::wire::Reader;

/// The flag of an entry that holds its context.
const HOLDS_CONTEXT: u8 = 1;
/// The flag of an entry that ends its transaction.
const HAS_TRAILER: u8 = 2;
/// Where the flags lie in the encoding.
const FLAGS: usize = 2;
/// How long the frame's part before the body is.
pub(super) const HEAD_LEN: usize = 27;

/// What every entry has around its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryFrame<'a> {
    /// The top-level transaction's full id.
    pub xid: u64,
    /// Index of the leaf within its transaction.
    pub position: u32,
    /// When it happened, in microseconds since 1970-01-01 UTC.
    pub occurred_at: i64,
    /// Who acted, and from where.
    pub context: ContextPlace<'a>,
    /// The end of the transaction, in its last entry.
    pub trailer: Option<Trailer>,
}

/// Where the context of an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContextPlace<'a> {
    /// In the entry: its encoding, which [`Context::parse`] reads.
    Here(&'a [u8]),
    /// In the entry of the same transaction that lies this many leaves back; at least 1.
    Back(u32),
}

impl ContextPlace<'_> {
    /// How many leaves back the entry lies that holds the context.
    #[inline]
    pub fn back(&self) -> u32 {
        match self {
            Self::Here(_) => 0,
            Self::Back(back) => *back,
        }
    }
}

impl<'a> EntryFrame<'a> {
    /// The part before the body.
    #[inline]
    pub(super) fn head(&self, kind: u8) -> [u8; HEAD_LEN] {
        let mut flags = 0;
        if matches!(self.context, ContextPlace::Here(_)) {
            flags |= HOLDS_CONTEXT;
        }
        if self.trailer.is_some() {
            flags |= HAS_TRAILER;
        }
        let mut head = [0; HEAD_LEN];
        head[..3].copy_from_slice(&[kind, VERSION, flags]);
        head[3..11].copy_from_slice(&self.xid.to_be_bytes());
        head[11..15].copy_from_slice(&self.position.to_be_bytes());
        head[15..19].copy_from_slice(&self.context.back().to_be_bytes());
        head[19..].copy_from_slice(&self.occurred_at.to_be_bytes());
        head
    }

    /// Appends an entry.
    pub(super) fn encode(&self, kind: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(&self.head(kind));
        body(out);
        self.encode_tail(out);
    }

    /// Appends the part behind the body.
    #[inline]
    pub(super) fn encode_tail(&self, out: &mut Vec<u8>) {
        if let ContextPlace::Here(context) = self.context {
            out.extend_from_slice(context);
        }
        if let Some(trailer) = &self.trailer {
            trailer.encode(out);
        }
    }
}

/// A frame of which the part before the body was read.
pub(super) struct FrameHead {
    flags: u8,
    xid: u64,
    position: u32,
    context_back: u32,
    occurred_at: i64,
}

impl FrameHead {
    /// Reads the part before the body; type and version were read.
    #[inline]
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let head = Self {
            flags: reader.u8()?,
            xid: reader.u64()?,
            position: reader.u32()?,
            context_back: reader.u32()?,
            occurred_at: reader.i64()?,
        };
        if head.flags & !(HOLDS_CONTEXT | HAS_TRAILER) != 0 {
            return Err(FormatError::UndefinedValue("entry flags"));
        }
        if (head.flags & HOLDS_CONTEXT != 0) != (head.context_back == 0) {
            return Err(FormatError::NotCanonical("the place of the context"));
        }
        Ok(head)
    }

    /// Reads the part behind the body.
    #[inline]
    pub(super) fn finish<'a>(self, reader: &mut Reader<'a>) -> Result<EntryFrame<'a>, FormatError> {
        Ok(EntryFrame {
            xid: self.xid,
            position: self.position,
            occurred_at: self.occurred_at,
            context: match self.context_back {
                0 => ContextPlace::Here(Context::skip(reader)?),
                back => ContextPlace::Back(back),
            },
            trailer: match self.flags & HAS_TRAILER {
                0 => None,
                _ => Some(Trailer::parse(reader)?),
            },
        })
    }
}

/// Whether a leaf's bytes are those of an entry that holds its context. The rest of them need not parse.
#[inline]
pub fn holds_context(leaf: &[u8]) -> bool {
    has_flag(leaf, HOLDS_CONTEXT)
}

/// Whether a leaf's bytes are those of an entry that ends its transaction. The rest of them need not parse.
#[inline]
pub fn has_trailer(leaf: &[u8]) -> bool {
    has_flag(leaf, HAS_TRAILER)
}

fn has_flag(leaf: &[u8], flag: u8) -> bool {
    leaf.first().is_some_and(|kind| is_entry_type(*kind))
        && leaf.get(FLAGS).is_some_and(|flags| flags & flag != 0)
}

/// Notes in an entry's bytes that a trailer follows them.
pub(super) fn set_has_trailer(leaf: &mut [u8]) -> Result<(), FormatError> {
    let entry = leaf.first().is_some_and(|kind| is_entry_type(*kind));
    match leaf.get_mut(FLAGS) {
        Some(flags) if entry && *flags & HAS_TRAILER == 0 => *flags |= HAS_TRAILER,
        _ => {
            return Err(FormatError::UndefinedValue(
                "entry to end a transaction with",
            ));
        }
    }
    Ok(())
}
