//! The costly part of reading a line of an export: it needs no other line, so it can be done ahead and elsewhere.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::export_read::frame;
use crate::verify::{AuditKeys, Prepared};

/// The word of the lines that hold leaves.
pub(crate) const LEAVES: &[u8] = b"leaves ";

/// A line of an export, without its line end, and what was found out about it alone.
///
/// Fill [`text`](Self::text), call [`prepare`](Self::prepare), and give it to
/// [`ExportVerifier::prepared`](crate::ExportVerifier::prepared). It can be filled again, which saves memory.
#[derive(Default)]
pub struct PreparedLine {
    text: Vec<u8>,
    pub(crate) checksum: crc32fast::Hasher,
    /// What a line of leaves holds; empty for other lines.
    pub(crate) records: Vec<u8>,
    pub(crate) is_base64: bool,
    /// What was found out about the records, if the first begins with the line.
    pub(crate) leaves: Vec<Prepared>,
}

impl PreparedLine {
    /// The line, to be written.
    pub fn text(&mut self) -> &mut Vec<u8> {
        // what was found out is about another text from now on
        self.checksum.reset();
        self.is_base64 = false;
        &mut self.text
    }

    pub(crate) fn line(&self) -> &[u8] {
        &self.text
    }

    /// Does what can be done. Without keys the MACs of trailers are left alone.
    pub fn prepare(&mut self, keys: &AuditKeys) {
        self.checksum.reset();
        self.checksum.update(&self.text);
        self.records.clear();
        self.leaves.clear();
        self.is_base64 = false;
        let Some(text) = self.text.strip_prefix(LEAVES) else {
            return;
        };
        self.is_base64 = STANDARD.decode_vec(text, &mut self.records).is_ok();
        let mut rest = self.records.as_slice();
        while let Ok(Some(frame)) = frame(rest) {
            let (leaf, image) = frame.parts(rest);
            self.leaves.push(Prepared::with_mac(leaf, image, keys));
            rest = &rest[frame.len..];
        }
    }
}
