//! Sealing: from the journals to a block of the log. Runs in the worker only.
//!
//! Block n holds what is visible in snapshot S_n and was not visible in S_{n-1}, ordered by
//! top-level transaction id and position. That needs no ordering among writers and loses nothing of
//! a transaction that stays open across many blocks.

use super::check::TransactionCheck;
use super::history;
use super::identity::{self, Succession};
use super::index::IndexWriter;
use super::progress::{self, Progress};
use super::retention::Orders;
use super::store::{self, Block, Identity};
use crate::error::{self, Result};
use crate::keys::{self, Purpose};
use crate::pg::journal::{ChunkId, Journal, Mode};
use crate::pg::segment::Appender;
use crate::pg::{owner, process, snapshot};
use pgrx::prelude::*;
use std::collections::BTreeMap;
use ward_log::{
    AuditMac, Hash, IncarnationLeaf, SealLeaf, Snapshot, Tree, ViolationKind, ViolationLeaf,
    empty_root, leaf_hash,
};

mod elsewhere;

/// Bytes of a transaction's memory that serve the next one.
const MOST_KEPT: usize = 1 << 20;

/// What a round did.
pub enum Round {
    /// The extension or the log is not there.
    NoLog,
    /// Nothing to seal.
    Empty,
    /// A block was made.
    Sealed,
}

/// What the worker keeps in memory between rounds; rebuilt from the tables when lost.
pub struct Sealer {
    /// Every incarnation of the log; the last is the current one.
    incarnations: Vec<Identity>,
    tree: Tree,
    next_block: u64,
    snapshot: Snapshot,
    /// When the last block was sealed, as it says.
    sealed_at: i64,
    progress: Progress,
    index: IndexWriter,
}

/// A block to make.
struct Draft {
    before: Snapshot,
    after: Snapshot,
    /// The incarnation that begins with it.
    begins: Option<Identity>,
    /// Make it although there may be nothing to seal.
    anyway: bool,
}

impl Sealer {
    /// Loads the state after the last block; None when there is no log to seal.
    pub fn load() -> Result<Option<Sealer>> {
        if owner::table(c"audit_log").is_none() {
            return Ok(None);
        }
        let incarnations = store::incarnations();
        if incarnations.is_empty() {
            return Ok(None);
        }
        let last = store::last_block();
        let size = last.as_ref().map_or(0, |block| block.tree_size);
        let mut edge = Vec::new();
        for (level, index) in Tree::right_edge_ids(size) {
            let hashes = store::tile(level, index).ok_or_else(torn)?;
            edge.push(ward_log::Tile {
                level,
                index,
                hashes,
            });
        }
        let tree = Tree::resume(size, edge).map_err(|_| torn())?;
        if last.as_ref().is_some_and(|block| block.root != tree.root()) {
            return Err(torn());
        }
        let snapshot = match &last {
            Some(block) => Snapshot::parse(&block.snapshot).map_err(|_| torn())?,
            None => Snapshot {
                xmin: 0,
                xmax: 0,
                xip: Vec::new(),
            },
        };
        Ok(Some(Sealer {
            incarnations,
            tree,
            next_block: last.as_ref().map_or(0, |block| block.block_no + 1),
            sealed_at: last.map_or(i64::MIN, |block| block.sealed_at),
            snapshot,
            progress: Progress::load()?,
            index: IndexWriter::default(),
        }))
    }

    /// Whether the log is still as this sealer left it.
    pub fn is_current(&self) -> bool {
        let head =
            store::last_block().map_or((0, empty_root()), |block| (block.block_no + 1, block.root));
        let incarnation = |identity: &Identity| identity.incarnation;
        store::identity().as_ref().map(incarnation) == self.incarnations.last().map(incarnation)
            && head == (self.next_block, self.tree.root())
    }

    /// Whether entries of unfinished transactions were seen.
    pub fn waits(&self) -> bool {
        self.progress.waits()
    }

    /// Seals what can be sealed, inside the caller's transaction, whose active snapshot is S_n. On
    /// an error the sealer must be dropped and loaded again.
    pub fn round(&mut self) -> Result<Round> {
        let after = snapshot::active();
        let size = self.tree.size();
        let begins = match self.current()?.succession(&self.snapshot) {
            Some(Succession::NewXids(reason)) => return self.change_xids(after, reason),
            // A log copied before its first block begins where it was created: its entries say so. The
            // copy's own incarnation begins with the block after.
            Some(Succession::Fork(reason)) if self.next_block > 0 => {
                Some(Identity::beginning(reason, size)?)
            }
            _ => None,
        };
        let journals = open_journals(Mode::Read)?;
        let ready = self.progress.finished(&journals, &self.snapshot, &after);
        let draft = Draft {
            before: self.snapshot.clone(),
            after,
            begins,
            anyway: false,
        };
        self.block(draft, &journals, &ready)
    }

    /// Makes a block of the transactions that `ready` belongs to, and does what they order.
    fn block(&mut self, draft: Draft, journals: &[Journal; 2], ready: &[ChunkId]) -> Result<Round> {
        let block = Block {
            block_no: self.next_block,
            first_leaf: self.tree.size(),
            tree_size: 0,
            root: self.tree.root(),
            snapshot: encoded(&draft.after),
            // a clock that was set back must not make later blocks look older
            sealed_at: process::now_micros().max(self.sealed_at),
        };
        let begins = self.begins(draft.begins)?;
        let mut writer = BlockWriter::new(&mut self.tree, &mut self.index);
        if let Some(identity) = &begins {
            writer.incarnation(identity, &block)?;
        }
        let keys = audit_macs()?;
        let known: Vec<[u8; 16]> = identity::of_this_xid_space(&self.incarnations)
            .iter()
            .map(|i| i.incarnation)
            .collect();
        let mut orders = Orders::new(block.first_leaf, block.sealed_at);
        let mut about_history = Vec::new();
        let mut chunks = ready.iter().peekable();
        while let Some(first) = chunks.peek() {
            let xid = first.xid;
            let own = std::iter::from_fn(|| chunks.next_if(|chunk| chunk.xid == xid));
            let mut check = TransactionCheck::new(xid, &known, &keys);
            seal_transaction(own, journals, &mut check, &mut writer)?;
            let given = writer.take_orders();
            let mut problem = check.finish();
            if problem.is_none() && !given.is_empty() {
                // all that a transaction orders is done, or nothing
                let breach = match history::refusal(&given, block.first_leaf) {
                    Some(breach) => Some(breach),
                    None => orders.accept(&given)?.map(str::to_owned),
                };
                match breach {
                    Some(breach) => problem = Some((ViolationKind::OrderRefused, breach)),
                    None => about_history.extend(given),
                }
            }
            if let Some((kind, detail)) = problem {
                writer.violation(&ViolationLeaf {
                    xid,
                    kind,
                    detail: &detail,
                    at: block.sealed_at,
                })?;
            }
        }
        if writer.is_empty() && !draft.anyway {
            self.progress.save()?;
            return Ok(Round::Empty);
        }
        self.sealed_at = block.sealed_at;
        writer.finish(block, &draft.before, &draft.after)?;
        self.progress.save()?;
        self.snapshot = draft.after;
        self.next_block += 1;
        self.perform(about_history)?;
        Ok(Round::Sealed)
    }

    /// The incarnation that begins with the next block: the first one of a new log, or a new one.
    fn begins(&mut self, new: Option<Identity>) -> Result<Option<Identity>> {
        let current = self.current()?;
        let Some(new) = new else {
            return Ok((self.next_block == 0).then(|| current.clone()));
        };
        identity::put_incarnation(&new, Some(current.incarnation))?;
        self.incarnations.push(new.clone());
        Ok(Some(new))
    }

    fn current(&self) -> Result<&Identity> {
        self.incarnations.last().ok_or_else(torn)
    }

    /// The index by record of what this sealer seals.
    pub fn index(&mut self) -> &mut IndexWriter {
        &mut self.index
    }

    /// Whether all that `journal` holds is sealed or void.
    pub fn drained(&self, journal: &Journal) -> bool {
        progress::drained(journal, &self.snapshot)
    }
}

/// Both journals, opened.
pub fn open_journals(mode: Mode) -> Result<[Journal; 2]> {
    let open = |name, number| {
        owner::table(name)
            .map(|oid| Journal::open(oid, number, mode))
            .ok_or_else(torn)
    };
    Ok([open(c"audit_journal_0", 0)?, open(c"audit_journal_1", 1)?])
}

/// Every version of the audit key, prepared.
fn audit_macs() -> Result<Vec<([u8; 8], AuditMac)>> {
    Ok(keys::all_versions(Purpose::Audit)?
        .into_iter()
        .map(|key| (key.id.0, AuditMac::new(key.material.expose())))
        .collect())
}

fn seal_transaction<'c>(
    chunks: impl Iterator<Item = &'c ChunkId>,
    journals: &[Journal; 2],
    check: &mut TransactionCheck,
    writer: &mut BlockWriter,
) -> Result<()> {
    let mut bytes = std::mem::take(&mut writer.read);
    let mut last: Option<ChunkId> = None;
    for chunk in chunks {
        pgrx::check_for_interrupts!();
        let before = bytes.len();
        // A chunk that the snapshot does not see belongs to a rolled-back subtransaction.
        if !journals[chunk.journal as usize].fetch(chunk, &mut bytes) {
            continue;
        }
        let follows =
            last.is_some_and(|last| last.position == chunk.position && last.part + 1 == chunk.part);
        if chunk.part == 0 {
            check.records(&bytes[..before], |sealable| writer.sealable(&sealable))?;
            bytes.drain(..before);
        } else if !follows {
            check.note(ViolationKind::PositionGap, "a part of a record is missing");
            bytes.clear();
        }
        last = Some(*chunk);
    }
    check.records(&bytes, |sealable| writer.sealable(&sealable))?;
    if bytes.capacity() <= MOST_KEPT {
        bytes.clear();
        writer.read = bytes;
    }
    Ok(())
}

/// Writes leaves of one block into segments and the tree.
struct BlockWriter<'t> {
    tree: &'t mut Tree,
    index: &'t mut IndexWriter,
    first: u64,
    appender: Option<(u64, Appender)>,
    /// What this block describes first: by shape id, the describing leaf and the content.
    shapes: BTreeMap<Hash, (u64, Vec<u8>)>,
    /// What the transaction in hand orders: entries and leaves.
    orders: Vec<(u64, Vec<u8>)>,
    /// Leaves per segment, as a power of two.
    bits: u32,
    scratch: Vec<u8>,
    /// What was read of the transaction in hand.
    read: Vec<u8>,
}

impl<'t> BlockWriter<'t> {
    fn new(tree: &'t mut Tree, index: &'t mut IndexWriter) -> Self {
        let first = tree.size();
        BlockWriter {
            tree,
            index,
            first,
            appender: None,
            shapes: BTreeMap::new(),
            orders: Vec::new(),
            bits: store::segment_bits(),
            scratch: Vec::new(),
            read: Vec::new(),
        }
    }

    fn sealable(&mut self, sealable: &super::check::Sealable) -> Result<()> {
        if let Some((id, content)) = sealable.shape {
            let index = self.tree.size();
            self.shapes
                .entry(id)
                .or_insert_with(|| (index, content.to_vec()));
        }
        if sealable.order {
            self.orders.push((self.tree.size(), sealable.leaf.to_vec()));
        }
        self.put(sealable.leaf, sealable.hash, sealable.image)
    }

    fn take_orders(&mut self) -> Vec<(u64, Vec<u8>)> {
        std::mem::take(&mut self.orders)
    }

    fn put(&mut self, leaf: &[u8], hash: Hash, image: Option<&[u8]>) -> Result<()> {
        let index = self.tree.size();
        let segment = index >> self.bits;
        if self
            .appender
            .as_ref()
            .is_none_or(|(open, _)| *open != segment)
        {
            if let Some((_, full)) = self.appender.take() {
                full.finish();
            }
            let table = if store::is_registered(segment) {
                store::segment_table(segment).ok_or_else(torn)?
            } else {
                store::create_segment(segment)?
            };
            self.appender = Some((segment, Appender::open(table)));
        }
        if let Some((_, appender)) = &mut self.appender {
            appender.push(index, leaf, image)?;
        }
        self.tree.append(hash);
        self.index.push(index, leaf)
    }

    fn control(&mut self, encode: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        let mut leaf = std::mem::take(&mut self.scratch);
        leaf.clear();
        encode(&mut leaf);
        self.put(&leaf, leaf_hash(&leaf), None)?;
        self.scratch = leaf;
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.tree.size() == self.first
    }

    fn incarnation(&mut self, identity: &Identity, block: &Block) -> Result<()> {
        let leaf = IncarnationLeaf {
            incarnation: identity.incarnation,
            system_identifier: identity.system_identifier,
            database_oid: identity.database_oid,
            timeline: identity.timeline,
            previous_size: block.first_leaf,
            previous_root: block.root,
            reason: &identity.reason,
            at: block.sealed_at,
        };
        self.control(|out| leaf.encode(out))
    }

    fn violation(&mut self, leaf: &ViolationLeaf) -> Result<()> {
        self.control(|out| leaf.encode(out))
    }

    fn finish(mut self, mut block: Block, before: &Snapshot, after: &Snapshot) -> Result<()> {
        let seal = SealLeaf {
            block_no: block.block_no,
            first_leaf: block.first_leaf,
            previous_size: block.first_leaf,
            previous_root: block.root,
            snapshot_before: before.clone(),
            snapshot_after: after.clone(),
            sealed_at: block.sealed_at,
        };
        self.control(|out| seal.encode(out))?;
        if let Some((_, appender)) = self.appender.take() {
            appender.finish();
        }
        for (shape, (index, content)) in &self.shapes {
            store::put_shape(shape, *index, content)?;
        }
        self.index.finish()?;
        store::put_tiles(&self.tree.take_dirty())?;
        block.tree_size = self.tree.size();
        block.root = self.tree.root();
        store::put_block(&block)
    }
}

fn encoded(snapshot: &Snapshot) -> Vec<u8> {
    let mut bytes = Vec::new();
    snapshot.encode(&mut bytes);
    bytes
}

fn torn() -> pgrx::pg_sys::panic::ErrorReport {
    error::report_hint(
        PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
        "the audit log cannot be continued: its tree does not match its last block",
        "Somebody changed the log's tables. SELECT * FROM ward.audit_violations() says where.",
    )
}
