//! The journal buffer of one transaction, tagged by subtransaction.
//!
//! Records are kept per subtransaction level because a heap tuple belongs to the subtransaction that
//! is current when it is inserted: a parent's record written while a child is current would vanish
//! with the child. So only the top level is ever written, a rolled-back level is dropped and the
//! running position and hash go back to where that level began.

use crate::error::{self, Result};
use ward_log::{Hash, TransactionChain, leaf_hash, push_record};

/// Bytes of records per journal tuple: one heap page less its header, the tuple's header and the
/// fixed columns. A larger record is cut into parts of this size.
pub const CHUNK: usize = 8000;

/// Unwritten bytes at one level above which it is written out.
pub const LEVEL_LIMIT: usize = 256 * 1024;

/// What a rollback to a savepoint restores.
#[derive(Clone)]
pub struct Mark {
    chain: TransactionChain,
    context: Option<ContextMark>,
    shapes: usize,
}

/// Which context leaf is in force, and what it was made from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ContextMark {
    /// Position of the context leaf within the transaction.
    pub position: u32,
    /// Identity of the situation the leaf describes.
    pub stamp: ContextStamp,
}

/// Cheap identity of "who and where": equal stamps mean an equal context leaf.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ContextStamp {
    /// Generation of the security context.
    pub generation: u64,
    /// Current role.
    pub current_role: u32,
    /// Session role.
    pub session_role: u32,
    /// Hash of the application name.
    pub application: u64,
}

/// Records with consecutive positions that go into one journal tuple (or its parts).
struct Chunk {
    /// Position of the first record.
    position: u32,
    /// Position after the last record: another level may have taken positions in between.
    next: u32,
    start: usize,
}

struct Level {
    subid: u32,
    began: Mark,
    bytes: Vec<u8>,
    chunks: Vec<Chunk>,
}

/// All that a transaction has captured and not yet written.
pub struct Buffer {
    levels: Vec<Level>,
    chain: TransactionChain,
    context: Option<ContextMark>,
    shapes: Vec<Hash>,
    /// Memory for the next level.
    spare: (Vec<u8>, Vec<Chunk>),
}

impl Buffer {
    /// An empty buffer.
    pub fn new() -> Self {
        Buffer {
            levels: Vec::new(),
            chain: TransactionChain::new(),
            context: None,
            shapes: Vec::new(),
            spare: Default::default(),
        }
    }

    /// Forgets everything; says whether the memory is worth keeping.
    pub fn empty(&mut self) -> bool {
        self.chain = TransactionChain::new();
        self.context = None;
        self.shapes.clear();
        self.levels.truncate(1);
        if let Some(Level {
            mut bytes,
            mut chunks,
            ..
        }) = self.levels.pop()
        {
            bytes.clear();
            chunks.clear();
            self.spare = (bytes, chunks);
        }
        self.spare.0.capacity() <= LEVEL_LIMIT
    }

    /// Position the next leaf gets.
    pub fn position(&self) -> u32 {
        self.chain.count()
    }

    /// The hash over all leaves so far.
    pub fn chain_digest(&self) -> Hash {
        self.chain.digest()
    }

    /// The context leaf in force.
    pub fn context(&self) -> Option<ContextMark> {
        self.context
    }

    /// Notes that the leaf at `mark.position` is the context from now on.
    pub fn set_context(&mut self, mark: ContextMark) {
        self.context = Some(mark);
    }

    /// Whether this transaction has already described `shape`.
    pub fn has_shape(&self, shape: &Hash) -> bool {
        self.shapes.contains(shape)
    }

    /// Notes that this transaction has described `shape`.
    pub fn add_shape(&mut self, shape: Hash) {
        self.shapes.push(shape);
    }

    /// Opens a level for `subid` unless it is the top one. Must precede anything that belongs to it.
    pub fn enter(&mut self, subid: u32) {
        if self.levels.last().is_none_or(|top| top.subid != subid) {
            let (bytes, chunks) = std::mem::take(&mut self.spare);
            self.levels.push(Level {
                subid,
                began: Mark {
                    chain: self.chain.clone(),
                    context: self.context,
                    shapes: self.shapes.len(),
                },
                bytes,
                chunks,
            });
        }
    }

    /// Appends a record to the top level; `enter` came before.
    pub fn push(&mut self, leaf: &[u8], image: Option<&[u8]>) -> Result<()> {
        let position = self.chain.count();
        if let Some(level) = self.levels.last_mut() {
            let start = level.bytes.len();
            push_record(&mut level.bytes, leaf, image).map_err(error::format)?;
            let end = level.bytes.len();
            match level.chunks.last_mut() {
                Some(chunk) if chunk.next == position && end - chunk.start <= CHUNK => {
                    chunk.next += 1;
                }
                _ => level.chunks.push(Chunk {
                    position,
                    next: position + 1,
                    start,
                }),
            }
            self.chain.push(&leaf_hash(leaf));
        }
        Ok(())
    }

    /// Unwritten bytes of the top level.
    pub fn top_len(&self) -> usize {
        self.levels.last().map_or(0, |level| level.bytes.len())
    }

    /// Unwritten bytes of all levels.
    pub fn total_len(&self) -> usize {
        self.levels.iter().map(|level| level.bytes.len()).sum()
    }

    /// Subtransaction of the top level.
    pub fn top_subid(&self) -> Option<u32> {
        self.levels.last().map(|level| level.subid)
    }

    /// Chunks of the top level in order: first position and bytes.
    pub fn top_chunks(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.levels.last().into_iter().flat_map(Level::pieces)
    }

    /// Chunks of every level, in order of position.
    pub fn all_chunks(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.levels.iter().flat_map(Level::pieces)
    }

    /// Forgets the bytes of the top level once they are written.
    pub fn top_written(&mut self) {
        if let Some(level) = self.levels.last_mut() {
            level.chunks.clear();
            // What one large row needed is not kept for the small ones.
            if level.bytes.capacity() > 4 * LEVEL_LIMIT {
                level.bytes = Vec::new();
            } else {
                level.bytes.clear();
            }
        }
    }

    /// Subtransaction `subid` was rolled back: drops it and all below it.
    pub fn roll_back(&mut self, subid: u32) {
        while let Some(level) = self.levels.pop_if(|top| top.subid >= subid) {
            self.chain = level.began.chain;
            self.context = level.began.context;
            self.shapes.truncate(level.began.shapes);
        }
    }

    /// Subtransaction `subid` was released into `parent`.
    pub fn release(&mut self, subid: u32, parent: u32) {
        let Some(child) = self.levels.pop_if(|top| top.subid == subid) else {
            return;
        };
        match self.levels.last_mut() {
            Some(level) if level.subid == parent => level.absorb(child),
            // The parent has captured nothing itself: what a rollback of it restores is what the
            // child would have restored.
            _ => self.levels.push(Level {
                subid: parent,
                ..child
            }),
        }
    }
}

impl Level {
    fn pieces(&self) -> impl Iterator<Item = (u32, &[u8])> {
        self.chunks.iter().enumerate().map(|(i, chunk)| {
            let end = self
                .chunks
                .get(i + 1)
                .map_or(self.bytes.len(), |next| next.start);
            (chunk.position, &self.bytes[chunk.start..end])
        })
    }

    fn absorb(&mut self, child: Level) {
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(&child.bytes);
        self.chunks
            .extend(child.chunks.into_iter().map(|chunk| Chunk {
                start: chunk.start + offset,
                ..chunk
            }));
    }
}
