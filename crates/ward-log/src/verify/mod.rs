//! Verification of a whole log, or of its blocks from some point on, leaf by leaf in one pass.
//!
//! The verifier recomputes everything a log claims: leaf hashes, image commitments, the chain and trailer of each
//! transaction, the order inside a block, the seal leaves, the tree with its tiles and the root of every block.
//! It keeps the right edge of two trees, the ids of known shapes and one block's transaction ids, nothing else.
//! One alteration is reported once, at its place, and verification goes on behind it.

mod block;
mod end;
mod flow;
mod gaps;
mod incarnations;
mod prepared;
mod removal;
mod report;
mod transaction;
mod trees;

pub use prepared::{AuditKeys, Prepared};
pub use report::{Erased, Pruned, Summary, Violation, ViolationType};

use zeroize::Zeroizing;

use crate::hash::Hash;
use crate::leaf::{Shape, Snapshot};
use crate::tree::{Tile, Tree};
use block::{Block, Unresolved};
use removal::Removals;
use report::Reporter;
use transaction::{Known, Taint, Transaction};
use trees::Trees;

/// What is stored about a block beside its leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockInfo {
    /// The block's number, from 0.
    pub block_no: u64,
    /// The index of its first leaf.
    pub first_leaf: u64,
    /// The tree's size after the block.
    pub tree_size: u64,
    /// The root after the block.
    pub root: Hash,
    /// The snapshot the block was made with, encoded.
    pub snapshot: Vec<u8>,
    /// When it was sealed, in microseconds since 1970-01-01 UTC.
    pub sealed_at: i64,
}

/// Where the verifier finds tiles and blocks. Leaves are handed to it, see [`Verifier::leaf`].
pub trait LogSource {
    /// The hashes of a tile, full or partial.
    fn tile(&mut self, level: u8, index: u64) -> Option<Vec<Hash>>;
    /// A block by its number; asked for in ascending order, a block now and then more than once.
    fn block(&mut self, block_no: u64) -> Option<BlockInfo>;
}

impl<S: LogSource + ?Sized> LogSource for &mut S {
    fn tile(&mut self, level: u8, index: u64) -> Option<Vec<Hash>> {
        (**self).tile(level, index)
    }

    fn block(&mut self, block_no: u64) -> Option<BlockInfo> {
        (**self).block(block_no)
    }
}

/// What the verifier may rely on.
#[derive(Clone, Default)]
pub struct Options {
    /// The audit keys. When there are none, trailers' MACs are not checked; when there are, a trailer that names
    /// another key is forged, unless that key is retired.
    pub audit_keys: Vec<([u8; 8], Zeroizing<[u8; 32]>)>,
    /// Ids of audit keys that the log has used but whose material is gone.
    pub retired_key_ids: Vec<[u8; 8]>,
    /// Sizes and roots from checkpoints, in any order: the log must have had these heads.
    pub heads: Vec<(u64, Hash)>,
}

/// Verifies a log while its leaves are handed to it in ascending order.
pub struct Verifier<'a, S> {
    source: S,
    report: Reporter<'a>,
    known: Known,
    removals: Removals,
    heads: Vec<(u64, Hash)>,
    trees: Trees,
    /// The index of the next leaf.
    next: u64,
    block_no: u64,
    block: Option<Block>,
    transaction: Option<Transaction>,
    /// The last leaf could not be read: the next transaction may have begun with it.
    taint_next: Option<Taint>,
    /// A leaf that differs from its stored hash, held back until it is known not to be a mere duplicate.
    suspect: Option<(u64, Hash)>,
    /// The highest transaction id of the block so far.
    last_xid: Option<u64>,
    /// The transactions of the block, with their first leaves.
    xids: Vec<(u64, u64)>,
    /// The incarnation that the block begins with, if any; the inner one is none when its leaf could not be read.
    begun: Option<Option<[u8; 16]>>,
    /// Sizes and roots that were given and are not the log's.
    contradicted: Vec<(u64, Hash)>,
    /// The snapshot of the block before.
    snapshot_before: Option<Snapshot>,
    /// The root after the block before, where it is certain.
    head: Option<Hash>,
    unresolved: Option<Unresolved>,
    /// The true hash of an altered leaf is nowhere to be found: roots cannot be recomputed any more.
    lost: bool,
    /// Leaves that differ from their stored hashes, with their blocks.
    differences: Vec<(u64, u64)>,
    /// The last tile of leaf hashes that was reported as missing.
    missing_tile: Option<u64>,
    /// A later size and root, and the proof that this log is the beginning of that one.
    extension: Option<(u64, Hash, Vec<Hash>)>,
    entries: u64,
    leaves: u64,
    blocks: u64,
}

impl<'a, S: LogSource> Verifier<'a, S> {
    /// A verifier of a log from its first leaf on.
    pub fn new(source: S, options: Options, report: &'a mut dyn FnMut(Violation)) -> Self {
        Self {
            source,
            report: Reporter::new(report),
            known: Known {
                audit_keys: AuditKeys::new(&options.audit_keys),
                retired_key_ids: options.retired_key_ids,
                ..Known::default()
            },
            removals: Removals::new(),
            heads: options.heads,
            trees: Trees::default(),
            next: 0,
            block_no: 0,
            block: None,
            transaction: None,
            taint_next: None,
            suspect: None,
            last_xid: None,
            xids: Vec::new(),
            begun: None,
            contradicted: Vec::new(),
            snapshot_before: Some(Snapshot::default()),
            head: Some(crate::hash::empty_root()),
            unresolved: None,
            lost: false,
            differences: Vec::new(),
            missing_tile: None,
            extension: None,
            entries: 0,
            leaves: 0,
            blocks: 0,
        }
    }

    /// Makes known what a table looked like, by the content of a shape leaf that lies before the first leaf handed
    /// in, or was pruned. Call it before the first leaf.
    pub fn shape(&mut self, content: &[u8]) {
        let id = Shape::shape_id(content);
        self.known.shapes.insert(id);
        self.removals.add_shape(id, content);
    }

    /// Starts at a later block: the tree before it is taken from the stored tiles and must have the root of the
    /// block before. Returns the index of the first leaf to hand in.
    ///
    /// What earlier blocks introduced is handed in: the ids of their shapes, and their incarnations. Call it
    /// before the first leaf.
    pub fn start_at(
        &mut self,
        block_no: u64,
        shapes: impl IntoIterator<Item = Hash>,
        incarnations: Vec<[u8; 16]>,
    ) -> u64 {
        let Some(before) = block_no.checked_sub(1) else {
            return 0;
        };
        self.known.shapes.extend(shapes);
        self.removals.forget_policy();
        for incarnation in incarnations {
            self.known.incarnations.add(incarnation);
        }
        self.block_no = block_no;
        self.head = None;
        self.snapshot_before = None;
        let Some(row) = self.source.block(before) else {
            self.lost = true;
            self.report.add(
                ViolationType::BlockMissing,
                Some(before),
                None,
                "the row of the block before the first one to verify is missing",
            );
            self.next = self.source.block(block_no).map_or(0, |row| row.first_leaf);
            return self.next;
        };
        self.next = row.tree_size;
        self.removals.enter(row.sealed_at);
        self.snapshot_before = Snapshot::parse(&row.snapshot).ok();
        self.head = Some(row.root);
        let edge = Tree::right_edge_ids(row.tree_size)
            .into_iter()
            .filter_map(|(level, index)| {
                let mut hashes = self.source.tile(level, index)?;
                // the tile may have grown since
                hashes.truncate(((row.tree_size >> (8 * u32::from(level))) & 0xFF) as usize);
                Some(Tile {
                    level,
                    index,
                    hashes,
                })
            })
            .collect();
        match Tree::resume(row.tree_size, edge) {
            Ok(tree) if tree.root() == row.root => self.trees = Trees::resume(tree),
            Ok(_) => {
                self.lost = true;
                self.report.add(
                    ViolationType::TileAltered,
                    Some(before),
                    None,
                    "the stored hashes do not give the block's root; verify from the log's start to find the place",
                );
            }
            Err(error) => {
                self.lost = true;
                self.report.add(
                    ViolationType::TileAltered,
                    Some(before),
                    None,
                    error.to_string(),
                );
            }
        }
        self.next
    }
}
