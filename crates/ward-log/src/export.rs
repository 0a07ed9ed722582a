//! Exports: a log as lines of text, to be verified elsewhere. `docs/log-format.md` section 12 is the specification.
//!
//! Hashes and block rows stand a little ahead of the leaves they speak of, so that one pass with little memory
//! verifies an export of any size.

use std::collections::VecDeque;

use base64::{Engine, engine::general_purpose::STANDARD};
use thiserror::Error;

use crate::error::FormatError;
use crate::hash::Hash;
use crate::leaf::MAX_CONTROL_LEAF_LEN;
use crate::tree::{TILE_WIDTH, Tree};
use crate::verify::{BlockInfo, LogSource};
use crate::wire::put_text;

/// The first line of an export.
pub const EXPORT_VERSION: &str = "ward-export/v1";
/// The longest line of an export, its end not counted.
pub const MAX_EXPORT_LINE: usize = 0x20_0000;
/// How many bytes of leaves one line holds at most.
const PIECE: usize = 0x8_0000;
/// When so many tiles or blocks are missing one after the other, the rest of the hole is passed over: a forged size
/// must not send the writer through numbers without end.
const TILE_HOLE: u32 = 1 << 12;
const BLOCK_HOLE: u32 = 1 << 20;
/// The longest origin.
pub(crate) const MAX_ORIGIN_LEN: u16 = 4096;

/// Why an export cannot be read. It says nothing about the log.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ExportError {
    /// The first line is something else.
    #[error(
        "the file is not an export of an audit trail: its first line is not \"ward-export/v1\""
    )]
    NotAnExport,
    /// A line is not what the format allows there.
    #[error("line {line}: {what}")]
    BadLine {
        /// The line's number, from 1.
        line: u64,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A line's fields are not encoded as they should be.
    #[error("line {line}: {error}")]
    BadField {
        /// The line's number, from 1.
        line: u64,
        /// What is wrong with it.
        error: FormatError,
    },
    /// The file ends before its last line.
    #[error("the export is cut short: its last line is missing")]
    Incomplete,
    /// The header names a first leaf that the block row before it does not.
    #[error("the export does not begin where its header says")]
    BadStart,
    /// Honest exports never do this; a forged one could fill the memory.
    #[error("the export puts more hashes or block rows ahead of its leaves than a verifier keeps")]
    Unbounded,
    /// The bytes are not those that were written.
    #[error("the export was damaged on its way: its checksum is wrong")]
    Damaged,
}

/// What an export says about itself. Only a checkpoint shows that it is so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportHeader {
    /// The log's origin, as its checkpoints name it.
    pub origin: String,
    /// The first block that is exported.
    pub first_block: u64,
    /// The first leaf that is exported: that of the first block.
    pub first_leaf: u64,
    /// How many blocks the log has.
    pub blocks: u64,
    /// How many leaves the log has.
    pub size: u64,
    /// When the export was made, in microseconds since 1970-01-01 UTC.
    pub taken_at: i64,
}

/// What an export that ends before the log does says of the log behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportHead {
    /// A later size of the log,
    pub size: u64,
    /// the root of the tree then,
    pub root: Hash,
    /// and the proof that the exported log is the beginning of it.
    pub consistency: Vec<Hash>,
    /// Prune and erase leaves behind the exported ones, that account for what is missing in the export.
    pub orders: Vec<ExportOrder>,
}

/// A leaf behind the exported ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportOrder {
    /// Its index.
    pub index: u64,
    /// The leaf.
    pub leaf: Vec<u8>,
    /// The proof that it is in the tree of the later size.
    pub inclusion: Vec<Hash>,
}

/// Writes an export.
pub struct ExportWriter {
    header: ExportHeader,
    checksum: crc32fast::Hasher,
    lines: VecDeque<String>,
    /// Records that are not in a line yet, from `taken` on.
    records: Vec<u8>,
    taken: usize,
    group: Option<u64>,
    next_tile: u64,
    next_block: u64,
    /// The first leaf of the block row written last.
    reached: u64,
    leaves: u64,
    ends_early: bool,
}

impl ExportWriter {
    /// Begins an export, with what the log says behind its end if it ends early. `incarnations` are those of the
    /// blocks before the first one, `shapes` the contents of the shape leaves there and of those that were pruned.
    pub fn new(
        header: ExportHeader,
        head: Option<&ExportHead>,
        incarnations: &[[u8; 16]],
        shapes: &[Vec<u8>],
        source: &mut impl LogSource,
    ) -> Self {
        let mut writer = Self {
            checksum: crc32fast::Hasher::new(),
            lines: VecDeque::new(),
            records: Vec::new(),
            taken: 0,
            group: None,
            next_tile: header.first_leaf >> 8,
            next_block: header.first_block,
            reached: header.first_leaf,
            leaves: 0,
            ends_early: head.is_some(),
            header,
        };
        writer.put(EXPORT_VERSION.to_owned());
        let ExportHeader {
            origin,
            first_block,
            first_leaf,
            blocks,
            size,
            taken_at,
        } = &writer.header;
        let mut fields = Vec::new();
        put_text(&mut fields, origin, MAX_ORIGIN_LEN);
        for number in [first_block, first_leaf, blocks, size] {
            fields.extend_from_slice(&number.to_be_bytes());
        }
        fields.extend_from_slice(&taken_at.to_be_bytes());
        writer.line("log", &fields);
        if let Some(head) = head {
            writer.head(head);
        }
        for incarnation in incarnations {
            writer.line("incarnation", incarnation);
        }
        for content in shapes {
            writer.line("shape", content);
        }
        if let Some(before) = writer.header.first_block.checked_sub(1) {
            for (level, index) in Tree::right_edge_ids(writer.header.first_leaf) {
                writer.tile(source, level, index);
            }
            if let Some(row) = source.block(before) {
                writer.block(&row);
            }
        }
        writer
    }

    /// Adds a leaf and its image. Leaves come by ascending index, as far as the log has not been tampered with.
    pub fn leaf(
        &mut self,
        index: u64,
        leaf: &[u8],
        image: Option<&[u8]>,
        source: &mut impl LogSource,
    ) {
        if index < self.header.size && self.group.is_none_or(|group| group < index >> 8) {
            self.flush();
            self.group = Some(index >> 8);
            self.ahead((index >> 8) + 1, source);
        }
        self.leaves += 1;
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX - 1);
        self.records.extend_from_slice(&index.to_be_bytes());
        self.records.extend_from_slice(&len(leaf).to_be_bytes());
        self.records.extend_from_slice(leaf);
        let mark = image.map_or(0, |image| len(image) + 1);
        self.records.extend_from_slice(&mark.to_be_bytes());
        self.records.extend_from_slice(image.unwrap_or_default());
        if self.records.len() >= PIECE {
            self.flush();
        }
    }

    /// Says that no leaf before `to` follows. Where many are missing, call it for a few thousand at a time: a
    /// reader needs their hashes, and can then be done with them.
    pub fn gap(&mut self, to: u64, source: &mut impl LogSource) {
        let Some(last) = to.min(self.header.size).checked_sub(1) else {
            return;
        };
        self.flush();
        self.group = Some(last >> 8);
        self.ahead((last >> 8) + 1, source);
        self.line("gap", &(last + 1).to_be_bytes());
    }

    /// Ends the export.
    pub fn finish(&mut self, source: &mut impl LogSource) {
        self.flush();
        self.ahead(self.header.size >> 8, source);
        for (level, index) in Tree::right_edge_ids(self.header.size) {
            if level > 0 {
                self.tile(source, level, index);
            }
        }
        self.blocks_below(u64::MAX, source);
        let mut fields = self.leaves.to_be_bytes().to_vec();
        fields.extend_from_slice(&self.checksum.clone().finalize().to_be_bytes());
        self.line("end", &fields);
    }

    /// The next line that is ready, without a line end.
    pub fn next_line(&mut self) -> Option<String> {
        self.lines.pop_front()
    }

    /// Whether lines are ready.
    pub fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Writes what a verifier wants to know before it reads the leaves of the group before this one: the tiles up to
    /// this group, and the rows of the blocks that begin there, and one more.
    fn ahead(&mut self, group: u64, source: &mut impl LogSource) {
        let end = group.min(self.header.size >> 8);
        let mut missing = 0;
        while self.next_tile <= end {
            let index = self.next_tile;
            let found = self.tile(source, 0, index);
            self.next_tile += 1;
            missing = if found { 0 } else { missing + 1 };
            if missing == TILE_HOLE {
                self.next_tile = self.next_tile.max(end.saturating_sub(1));
                missing = 0;
            }
            // the tiles above that its last leaf fills
            let mut filled = self.next_tile;
            for level in 1..8 {
                if !filled.is_multiple_of(TILE_WIDTH as u64) {
                    break;
                }
                filled /= TILE_WIDTH as u64;
                self.tile(source, level, filled - 1);
            }
        }
        self.blocks_below((group + 1) << 8, source);
    }

    fn blocks_below(&mut self, limit: u64, source: &mut impl LogSource) {
        let mut missing = 0;
        while self.next_block < self.header.blocks {
            missing += 1;
            if let Some(row) = source.block(self.next_block) {
                missing = 0;
                // both: one row may be altered
                if self.reached >= limit && row.first_leaf >= limit {
                    return;
                }
                self.reached = row.first_leaf;
                self.block(&row);
            }
            self.next_block += 1;
            if missing == BLOCK_HOLE {
                self.next_block = self.next_block.max(self.header.blocks - 1);
                missing = 0;
            }
        }
    }

    /// Whether the tile is there.
    fn tile(&mut self, source: &mut impl LogSource, level: u8, index: u64) -> bool {
        let Some(hashes) = source.tile(level, index) else {
            return false;
        };
        let mut fields = vec![level];
        fields.extend_from_slice(&index.to_be_bytes());
        let mut count = hashes.len().min(TILE_WIDTH);
        if self.ends_early {
            // the tile has grown since
            let nodes = self.header.size >> (8 * u32::from(level));
            let of_tile = nodes.saturating_sub(index * TILE_WIDTH as u64);
            count = count.min(of_tile.min(TILE_WIDTH as u64) as usize);
        }
        if count == 0 {
            return false;
        }
        fields.extend_from_slice(hashes[..count].as_flattened());
        self.line("tile", &fields);
        true
    }

    fn head(&mut self, head: &ExportHead) {
        let mut fields = head.size.to_be_bytes().to_vec();
        fields.extend_from_slice(&head.root);
        fields.extend_from_slice(head.consistency.as_flattened());
        self.line("head", &fields);
        for order in &head.orders {
            let mut fields = order.index.to_be_bytes().to_vec();
            let len = u32::try_from(order.leaf.len()).unwrap_or(u32::MAX);
            fields.extend_from_slice(&len.to_be_bytes());
            fields.extend_from_slice(&order.leaf);
            fields.extend_from_slice(order.inclusion.as_flattened());
            self.line("order", &fields);
        }
    }

    fn block(&mut self, row: &BlockInfo) {
        let mut fields = Vec::new();
        for number in [row.block_no, row.first_leaf, row.tree_size] {
            fields.extend_from_slice(&number.to_be_bytes());
        }
        fields.extend_from_slice(&row.root);
        fields.extend_from_slice(&row.sealed_at.to_be_bytes());
        // a longer one is no snapshot; without one the row is reported as altered
        if row.snapshot.len() <= MAX_CONTROL_LEAF_LEN {
            fields.extend_from_slice(&row.snapshot);
        }
        self.line("block", &fields);
    }

    fn flush(&mut self) {
        while self.taken < self.records.len() {
            let end = self.records.len().min(self.taken + PIECE);
            let records = std::mem::take(&mut self.records);
            self.line("leaves", &records[self.taken..end]);
            self.records = records;
            self.taken = end;
        }
        self.records.clear();
        self.taken = 0;
    }

    fn line(&mut self, word: &str, fields: &[u8]) {
        let mut line = String::with_capacity(word.len() + 1 + fields.len().div_ceil(3) * 4);
        line.push_str(word);
        line.push(' ');
        STANDARD.encode_string(fields, &mut line);
        self.put(line);
    }

    fn put(&mut self, line: String) {
        self.checksum.update(line.as_bytes());
        self.checksum.update(b"\n");
        self.lines.push_back(line);
    }
}
