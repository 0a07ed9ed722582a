//! Leaves that say how the history goes on: a new signing key, and a restore that was meant.

use crate::error::FormatError;
use crate::leaf::frame::FrameHead;
use crate::leaf::{EntryFrame, KEY_CHANGE, MAX_TEXT_LEN, RESTORE};
use crate::wire::{Reader, put_text};

/// The key that signs checkpoints was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyChangeLeaf<'a> {
    /// Place, context and trailer.
    pub frame: EntryFrame<'a>,
    /// The Ed25519 public key that signed until now.
    pub old_key: [u8; 32],
    /// The one that signs the checkpoints that cover this leaf.
    pub new_key: [u8; 32],
}

impl<'a> KeyChangeLeaf<'a> {
    /// Appends the leaf's encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.frame.encode(KEY_CHANGE, out, |out| {
            out.extend_from_slice(&self.old_key);
            out.extend_from_slice(&self.new_key);
        });
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let head = FrameHead::parse(reader)?;
        let leaf = Self {
            old_key: reader.array()?,
            new_key: reader.array()?,
            frame: head.finish(reader)?,
        };
        if leaf.old_key == leaf.new_key {
            return Err(FormatError::NotCanonical("the keys of a key change"));
        }
        Ok(leaf)
    }
}

/// Somebody says that the log was meant to go on from an earlier state of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreLeaf<'a> {
    /// Place, context and trailer.
    pub frame: EntryFrame<'a>,
    /// How many leaves of the former history are in this one; at least 1.
    pub restored_size: u64,
    /// Why; not empty.
    pub reason: &'a str,
}

impl<'a> RestoreLeaf<'a> {
    /// Appends the leaf's encoding. A reason that is too long is clipped.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.frame.encode(RESTORE, out, |out| {
            out.extend_from_slice(&self.restored_size.to_be_bytes());
            put_text(out, self.reason, MAX_TEXT_LEN);
        });
    }

    pub(super) fn parse(reader: &mut Reader<'a>) -> Result<Self, FormatError> {
        let head = FrameHead::parse(reader)?;
        let leaf = Self {
            restored_size: reader.u64()?,
            reason: reader.text(usize::from(MAX_TEXT_LEN), "reason")?,
            frame: head.finish(reader)?,
        };
        if leaf.restored_size == 0 {
            return Err(FormatError::UndefinedValue("restored size"));
        }
        if leaf.reason.is_empty() {
            return Err(FormatError::UndefinedValue("reason"));
        }
        Ok(leaf)
    }
}
