//! Row leaves: one change of one row.

use std::borrow::Cow;

use crate::error::FormatError;
use crate::hash::Hash;
use crate::leaf::frame::{FrameHead, HEAD_LEN};
use crate::leaf::{EntryFrame, ROW};
use crate::wire::Reader;
use sha2::{Digest, Sha256};

/// The longest record id; a longer one is stored as its digest, see [`record_id_text`].
pub const MAX_RECORD_ID_LEN: usize = 1024;

/// Where the shape and the image commitment lie in the encoding, and the record id behind its flag and length.
const SHAPE: std::ops::Range<usize> = 27..59;
const RECORD_ID: usize = 95;
const IMAGE_COMMIT: std::ops::Range<usize> = 59..91;

/// What was done to the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Operation {
    /// A row was inserted.
    Insert = 1,
    /// A row was updated.
    Update = 2,
    /// A row was deleted.
    Delete = 3,
    /// The table was truncated.
    Truncate = 4,
    /// The row as it was when the audit of its table began.
    Snapshot = 5,
}

impl Operation {
    /// The SQL command's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Truncate => "TRUNCATE",
            Self::Snapshot => "SNAPSHOT",
        }
    }

    fn parse(byte: u8) -> Result<Self, FormatError> {
        match byte {
            1 => Ok(Self::Insert),
            2 => Ok(Self::Update),
            3 => Ok(Self::Delete),
            4 => Ok(Self::Truncate),
            5 => Ok(Self::Snapshot),
            _ => Err(FormatError::UndefinedValue("operation")),
        }
    }
}

/// A change of one row, or a truncation of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowLeaf<'a> {
    /// Place, context and trailer.
    pub frame: EntryFrame<'a>,
    /// What was done.
    pub operation: Operation,
    /// The id of the table's shape.
    pub shape: Hash,
    /// The commitment to the image; all zero for a truncation, which has none.
    pub image_commit: Hash,
    /// The primary key as text; absent where the table has none.
    pub record_id: Option<&'a str>,
}

/// The text a row leaf stores for a record id: the id itself, or `sha256:` and the hexadecimal digest of an id
/// longer than 1,024 bytes. A search by record id looks for this text.
pub fn record_id_text(id: &str) -> Cow<'_, str> {
    if id.len() <= MAX_RECORD_ID_LEN {
        return Cow::Borrowed(id);
    }
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(id) {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(digit), 16).unwrap_or_default());
        }
    }
    Cow::Owned(text)
}

/// The shape id and the record id in the bytes of a leaf, without reading the rest of it; None where the leaf is no
/// row leaf or names no record. For bytes that need not parse.
pub fn record_of(leaf: &[u8]) -> Option<(&Hash, &[u8])> {
    if leaf.first() != Some(&ROW) || leaf.get(RECORD_ID - 3) != Some(&1) {
        return None;
    }
    let shape = leaf.get(SHAPE)?.try_into().ok()?;
    let len = leaf.get(RECORD_ID - 2..RECORD_ID)?.try_into().ok()?;
    let id = leaf.get(RECORD_ID..)?;
    Some((shape, id.get(..usize::from(u16::from_be_bytes(len)))?))
}

impl<'a> RowLeaf<'a> {
    /// Appends the leaf's encoding. A record id that is too long is stored as its digest.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut head = [0u8; 93];
        head[..HEAD_LEN].copy_from_slice(&self.frame.head(ROW));
        head[SHAPE].copy_from_slice(&self.shape);
        head[IMAGE_COMMIT].copy_from_slice(&self.image_commit);
        head[91] = self.operation as u8;
        head[92] = u8::from(self.record_id.is_some());
        out.extend_from_slice(&head);
        if let Some(id) = self.record_id {
            let id = record_id_text(id);
            // record_id_text has bounded the length
            out.extend_from_slice(&(id.len() as u16).to_be_bytes());
            out.extend_from_slice(id.as_bytes());
        }
        self.frame.encode_tail(out);
    }

    /// Puts a commitment into an already encoded row leaf.
    pub(crate) fn set_image_commit(leaf: &mut [u8], commit: &Hash) -> Result<(), FormatError> {
        if leaf.first() != Some(&ROW) {
            return Err(FormatError::UndefinedValue("leaf with an image"));
        }
        leaf.get_mut(IMAGE_COMMIT)
            .ok_or(FormatError::Truncated)?
            .copy_from_slice(commit);
        Ok(())
    }

    /// Whether the bytes of a leaf are those of a row leaf with this commitment.
    #[inline]
    pub(crate) fn commits_to(leaf: &[u8], commit: &Hash) -> bool {
        leaf.first() == Some(&ROW) && leaf.get(IMAGE_COMMIT).is_some_and(|bytes| bytes == commit)
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let head = FrameHead::parse(reader)?;
        let leaf = Self {
            shape: reader.array()?,
            image_commit: reader.array()?,
            operation: Operation::parse(reader.u8()?)?,
            record_id: reader.optional_text(MAX_RECORD_ID_LEN, "record id")?,
            frame: head.finish(reader)?,
        };
        if (leaf.operation == Operation::Truncate) != (leaf.image_commit == [0; 32]) {
            return Err(FormatError::UndefinedValue("image commitment"));
        }
        Ok(leaf)
    }
}
