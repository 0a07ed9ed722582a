//! Verification of an export, with the verifier that the database uses too.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::export::{ExportError, ExportHead, ExportHeader};
use crate::export_line::PreparedLine;
use crate::export_read::{ExportLine, ExportParser};
use crate::hash::{Hash, empty_root, leaf_hash};
use crate::proof::verify_inclusion;
use crate::verify::{
    AuditKeys, BlockInfo, LogSource, Options, Prepared, Summary, Verifier, Violation, ViolationType,
};

/// How many tiles an export may put ahead of the leaves they speak of. An honest one needs few; one with leaves
/// missing without a line that says so as many as belong to those.
const MAX_TILES: usize = 0x4_0000;
/// How many block rows likewise.
const MAX_BLOCKS: usize = 0x10_0000;
/// How many bytes their snapshots, or the lines ahead of the first leaf, may have together: lengths are limited one by one
/// only, and there may be many.
const MAX_BYTES: usize = 0x4000_0000;
/// Lines of one kind ahead of the first leaf: an archive may have as many erasures behind it.
const MAX_AHEAD: usize = 0x10_0000;

/// Incarnations that began before a partial export: a log that was restored every day for a century has fewer.
const MAX_INCARNATIONS: usize = 0x1_0000;

/// What was found out about an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportSummary {
    /// What the export says about itself.
    pub header: ExportHeader,
    /// What was verified.
    pub verified: Summary,
    /// The later size of the log that an export which ends early is connected with.
    pub head: Option<u64>,
    /// The incarnations that began before a partial export, in their order: its word, which nothing proves.
    pub earlier_incarnations: Vec<[u8; 16]>,
    /// Sizes of checkpoints that lie before the first exported leaf, or behind the last one of an export that ends
    /// early, so that they could not be compared.
    pub uncompared: Vec<u64>,
}

/// Takes an export line by line and verifies it as it comes.
pub struct ExportVerifier<'a> {
    parser: ExportParser,
    held: Rc<RefCell<Held>>,
    header: Option<ExportHeader>,
    incarnations: Vec<[u8; 16]>,
    shapes: Vec<Vec<u8>>,
    head: Option<ExportHead>,
    /// How long the shapes and orders are.
    bytes_ahead: usize,
    /// What the verifier is made of, until the first leaf.
    waiting: Option<(Options, &'a mut dyn FnMut(Violation))>,
    verifier: Option<Verifier<'a, Source>>,
    uncompared: Vec<u64>,
    /// Sizes and roots of checkpoints that contradict the start of the export.
    contradicted: Vec<(u64, Hash)>,
    group: u64,
    keys: AuditKeys,
    /// Kept for its memory.
    spare: PreparedLine,
}

impl<'a> ExportVerifier<'a> {
    /// A verifier of an export from its first line on.
    pub fn new(options: Options, report: &'a mut dyn FnMut(Violation)) -> Self {
        Self {
            parser: ExportParser::default(),
            held: Rc::default(),
            header: None,
            incarnations: Vec::new(),
            shapes: Vec::new(),
            head: None,
            bytes_ahead: 0,
            keys: AuditKeys::new(&options.audit_keys),
            spare: PreparedLine::default(),
            waiting: Some((options, report)),
            verifier: None,
            uncompared: Vec::new(),
            contradicted: Vec::new(),
            group: 0,
        }
    }

    /// Takes the next line, without its line end, and hands the leaves in it to `visit`, too: index, leaf, image.
    pub fn line(
        &mut self,
        line: &[u8],
        visit: &mut dyn FnMut(u64, &[u8], Option<&[u8]>),
    ) -> Result<(), ExportError> {
        let mut prepared = std::mem::take(&mut self.spare);
        prepared.text().clear();
        prepared.text().extend_from_slice(line);
        prepared.prepare(&self.keys);
        let taken = self.prepared(&mut prepared, visit);
        self.spare = prepared;
        taken
    }

    /// As [`line`](Self::line), with what was found out about the line ahead.
    pub fn prepared(
        &mut self,
        line: &mut PreparedLine,
        visit: &mut dyn FnMut(u64, &[u8], Option<&[u8]>),
    ) -> Result<(), ExportError> {
        match self.parser.line(line)? {
            ExportLine::Version => {}
            ExportLine::Log(header) => self.header = Some(header),
            ExportLine::Incarnation(incarnation) => self.add_incarnation(incarnation)?,
            ExportLine::Head(head) => self.set_head(head)?,
            ExportLine::Order(order) => match &mut self.head {
                Some(head) if self.waiting.is_some() => {
                    self.bytes_ahead += order.leaf.len() + order.inclusion.as_flattened().len();
                    head.orders.push(order);
                }
                _ => return Err(self.parser.bad("the line stands in the wrong place")),
            },
            ExportLine::Shape(content) => {
                self.bytes_ahead += content.len();
                self.shapes.push(content);
            }
            ExportLine::Gap(to) => self.gap(to)?,
            ExportLine::Block(row) => self.held.borrow_mut().add_block(row),
            ExportLine::Tile(tile) => {
                let mut held = self.held.borrow_mut();
                held.tiles.insert((tile.level, tile.index), tile.hashes);
            }
            ExportLine::Leaves => self.leaves(visit)?,
            ExportLine::End => self.begin()?,
        }
        let orders = self.head.as_ref().map_or(0, |head| head.orders.len());
        let ahead = [self.shapes.len(), orders];
        if self.held.borrow().is_too_much()
            || self.incarnations.len() > MAX_INCARNATIONS
            || ahead.iter().any(|lines| *lines > MAX_AHEAD)
            || self.bytes_ahead > MAX_BYTES
        {
            return Err(ExportError::Unbounded);
        }
        Ok(())
    }

    /// The later size of the log that the export is connected with, once a line has said that it ends early.
    pub fn head(&self) -> Option<u64> {
        self.head.as_ref().map(|head| head.size)
    }

    /// What the export says about itself, once that line was read.
    pub fn header(&self) -> Option<&ExportHeader> {
        self.header.as_ref()
    }

    /// Ends the verification.
    pub fn finish(self) -> Result<ExportSummary, ExportError> {
        let (true, Some(header), Some(mut verifier)) =
            (self.parser.ended(), self.header, self.verifier)
        else {
            return Err(ExportError::Incomplete);
        };
        if let Some(head) = &self.head {
            verifier.extended_by(head.size, &head.root, &head.consistency);
        }
        let mut verified = verifier.finish(header.size);
        verified.contradicted.extend(self.contradicted);
        Ok(ExportSummary {
            verified,
            head: self.head.map(|head| head.size),
            header,
            earlier_incarnations: self.incarnations,
            uncompared: self.uncompared,
        })
    }

    fn add_incarnation(&mut self, incarnation: [u8; 16]) -> Result<(), ExportError> {
        let first_block = self.header.as_ref().map_or(0, |header| header.first_block);
        if self.waiting.is_none() || first_block == 0 {
            return Err(self.parser.bad("the line stands in the wrong place"));
        }
        self.incarnations.push(incarnation);
        Ok(())
    }

    fn set_head(&mut self, head: ExportHead) -> Result<(), ExportError> {
        let size = self.header.as_ref().map_or(0, |header| header.size);
        if self.head.is_some() || self.waiting.is_none() || head.size < size {
            return Err(self
                .parser
                .bad("the line stands in the wrong place, or its size is too small"));
        }
        self.head = Some(head);
        Ok(())
    }

    fn gap(&mut self, to: u64) -> Result<(), ExportError> {
        self.begin()?;
        if self.header.as_ref().is_none_or(|header| to > header.size) {
            return Err(self.parser.bad("the gap ends behind the log"));
        }
        if let Some(verifier) = &mut self.verifier {
            verifier.skip_to(to);
        }
        // once for each group: a hostile export repeats the line
        if to >> 8 > self.group {
            self.group = to >> 8;
            self.held.borrow_mut().forget_below(self.group << 8);
        }
        Ok(())
    }

    fn leaves(
        &mut self,
        visit: &mut dyn FnMut(u64, &[u8], Option<&[u8]>),
    ) -> Result<(), ExportError> {
        self.begin()?;
        let size = self.header.as_ref().map_or(0, |header| header.size);
        while let Some((index, leaf, image, prepared)) = self.parser.record()? {
            if let Some(verifier) = &mut self.verifier {
                let prepared = prepared.unwrap_or_else(|| Prepared::new(leaf, image));
                verifier.prepared(index, leaf, image, &prepared);
            }
            visit(index, leaf, image);
            if index < size && index >> 8 != self.group {
                self.group = index >> 8;
                self.held.borrow_mut().forget_below(self.group << 8);
            }
        }
        Ok(())
    }

    /// Makes the verifier. What it needs to begin stands before the first leaf.
    fn begin(&mut self) -> Result<(), ExportError> {
        let (Some((mut options, report)), Some(header)) = (self.waiting.take(), &self.header)
        else {
            return Ok(());
        };
        let first = header.first_leaf;
        let before = header.first_block.checked_sub(1);
        let row = before.and_then(|before| self.held.borrow().blocks.get(&before).cloned());
        // no block is empty: a part of a log that says it is the whole would be verified with less
        let whole = header.first_block == 0;
        // beyond the numbers of any log there is none behind it
        let beyond = i64::try_from(header.first_block.max(first)).is_err();
        if beyond || whole != (first == 0) || row.as_ref().map_or(0, |row| row.tree_size) != first {
            return Err(ExportError::BadStart);
        }
        let root = row.map(|row| row.root);
        let head = self.head.as_ref().map(|head| (head.size, head.root));
        options.heads.retain(|(size, head_root)| match root {
            _ if *size == 0 && *head_root == empty_root() => false,
            Some(root) if *size == first => {
                if *head_root != root {
                    self.contradicted.push((*size, *head_root));
                    report(Violation {
                        kind: ViolationType::CheckpointMismatch,
                        block: before,
                        entry: None,
                        detail: format!("the root at size {size} is not the checkpoint's"),
                    });
                }
                false
            }
            _ if before.is_some() && *size <= first => {
                self.uncompared.push(*size);
                false
            }
            _ if head.is_some() && *size > header.size => {
                match head {
                    Some((later, root)) if later == *size && root == *head_root => {}
                    Some((later, _)) if later == *size => {
                        self.contradicted.push((*size, *head_root));
                        report(Violation {
                            kind: ViolationType::CheckpointMismatch,
                            block: None,
                            entry: None,
                            detail: format!("the root at size {size} is not the checkpoint's"),
                        });
                    }
                    _ => self.uncompared.push(*size),
                }
                false
            }
            _ => true,
        });
        let source = Source(Rc::clone(&self.held));
        let mut verifier = Verifier::new(source, options, report);
        for content in self.shapes.drain(..) {
            verifier.shape(&content);
        }
        verifier.start_at(header.first_block, [], self.incarnations.clone());
        if let Some(head) = &self.head {
            for order in &head.orders {
                let hash = leaf_hash(&order.leaf);
                let is_in = order.index >= header.size
                    && verify_inclusion(
                        &hash,
                        order.index,
                        head.size,
                        &order.inclusion,
                        &head.root,
                    );
                verifier.ordered_later(order.index, &order.leaf, is_in);
            }
        }
        self.verifier = Some(verifier);
        Ok(())
    }
}

/// Tiles and block rows that were read and may still be asked for.
#[derive(Default)]
struct Held {
    tiles: BTreeMap<(u8, u64), Vec<Hash>>,
    blocks: BTreeMap<u64, BlockInfo>,
    /// How long the snapshots of the blocks are.
    snapshots: usize,
    /// The last block asked for.
    asked: u64,
}

impl Held {
    fn add_block(&mut self, row: BlockInfo) {
        // the verifier looks one block back and one ahead
        let kept = self.blocks.split_off(&self.asked.saturating_sub(2));
        self.snapshots += row.snapshot.len();
        let gone = std::mem::replace(&mut self.blocks, kept).into_values();
        for gone in gone.chain(self.blocks.insert(row.block_no, row)) {
            self.snapshots -= gone.snapshot.len();
        }
    }

    /// Forgets the tiles that end well before a leaf. Looks at no others: a hostile export has many far ahead.
    fn forget_below(&mut self, leaf: u64) {
        let bound = leaf.saturating_sub(256);
        for level in 0..8u8 {
            let first = bound.checked_shr(8 * (u32::from(level) + 1)).unwrap_or(0);
            while let Some((&id, _)) = self.tiles.range((level, 0)..(level, first)).next() {
                self.tiles.remove(&id);
            }
        }
    }

    fn is_too_much(&self) -> bool {
        self.tiles.len() > MAX_TILES || self.blocks.len() > MAX_BLOCKS || self.snapshots > MAX_BYTES
    }
}

struct Source(Rc<RefCell<Held>>);

impl LogSource for Source {
    fn tile(&mut self, level: u8, index: u64) -> Option<Vec<Hash>> {
        self.0.borrow().tiles.get(&(level, index)).cloned()
    }

    fn block(&mut self, block_no: u64) -> Option<BlockInfo> {
        let mut held = self.0.borrow_mut();
        held.asked = block_no;
        held.blocks.get(&block_no).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(block_no: u64, snapshot: usize) -> BlockInfo {
        BlockInfo {
            block_no,
            first_leaf: 0,
            tree_size: 1,
            root: [0; 32],
            snapshot: vec![0; snapshot],
            sealed_at: 0,
        }
    }

    #[test]
    fn tiles_are_forgotten_well_behind_the_leaves_of_all_their_hashes() {
        let mut held = Held::default();
        for level in 0..8 {
            for index in [0, 1, 2, 3, 255, 256, u64::MAX - 1] {
                held.tiles.insert((level, index), Vec::new());
            }
        }
        let ends_behind = |level: u8, index: u64, leaf: u64| {
            (u128::from(index) + 1) << (8 * (u32::from(level) + 1)) > u128::from(leaf) - 256
        };
        for leaf in [
            256,
            511,
            512,
            768,
            1 << 16,
            (1 << 16) + 256,
            1 << 60,
            u64::MAX,
        ] {
            let mut kept: Vec<_> = held.tiles.keys().copied().collect();
            kept.retain(|(level, index)| ends_behind(*level, *index, leaf));
            held.forget_below(leaf);
            let left: Vec<_> = held.tiles.keys().copied().collect();
            assert_eq!(left, kept, "{leaf}");
        }
    }

    #[test]
    fn long_snapshots_of_blocks_are_too_much_although_the_blocks_are_few() {
        let mut held = Held::default();
        for _ in 0..2 {
            held.add_block(row(5, 100));
            held.add_block(row(6, 10));
        }
        assert_eq!(held.snapshots, 110);
        held.asked = 8;
        held.add_block(row(9, 1));
        assert_eq!(held.snapshots, 11);
        assert!(!held.is_too_much());
        held.snapshots = MAX_BYTES + 1;
        assert!(held.is_too_much());
    }
}
