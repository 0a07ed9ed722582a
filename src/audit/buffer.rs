//! The journal buffer of one transaction, tagged by subtransaction.
//!
//! Records are kept per subtransaction level because a heap tuple belongs to the subtransaction that
//! is current when it is inserted: a parent's record written while a child is current would vanish
//! with the child. So only the top level is ever written, a rolled-back level is dropped and the
//! running position and hash go back to where that level began.
//!
//! The last record is not written before the transaction ends: the trailer becomes part of it.

use crate::error::{self, Result};
use ward_log::{
    AuditMac, FormatError, Hash, Records, Trailer, TransactionChain, leaf_hash, push_record,
};

/// Bytes of records per journal tuple: one heap page less its header, the tuple's header and the
/// fixed columns. A larger record is cut into parts of this size.
pub const CHUNK: usize = 8000;

/// Unwritten bytes at one level above which it is written out.
pub const LEVEL_LIMIT: usize = 256 * 1024;

/// What a rollback to a savepoint restores.
#[derive(Clone)]
pub struct Mark {
    chain: TransactionChain,
    last: Last,
    context: Option<ContextMark>,
    shapes: usize,
}

/// Which entry holds the context in force, and what that was made from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ContextMark {
    /// Position of the entry within the transaction.
    pub position: u32,
    /// Identity of the situation the context describes.
    pub stamp: ContextStamp,
}

/// Cheap identity of "who and where": equal stamps mean an equal context.
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

/// What has become of the last leaf.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    /// There is none.
    None,
    /// It lies in the topmost level that has a last record: it may become the end of the transaction.
    Held,
    /// It ends the transaction, and may be written.
    Closed,
}

/// Memory for a leaf and its image, and for one record.
#[derive(Default)]
pub struct Scratch {
    /// The leaf.
    pub leaf: Vec<u8>,
    /// The image, or a record.
    pub image: Vec<u8>,
}

/// What of a level is not written yet.
#[derive(Clone, Copy)]
pub enum Hold {
    /// The last record, which may get the trailer.
    Last,
    /// Nothing: the transaction is closed.
    Nothing,
}

struct Level {
    subid: u32,
    began: Mark,
    bytes: Vec<u8>,
    chunks: Vec<Chunk>,
    /// Where the last record begins.
    last: Option<usize>,
}

/// All that a transaction has captured and not yet written.
pub struct Buffer {
    levels: Vec<Level>,
    /// Over the leaves before the last one.
    chain: TransactionChain,
    last: Last,
    /// The last leaf, when it is closed.
    closed: Vec<u8>,
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
            last: Last::None,
            closed: Vec::new(),
            context: None,
            shapes: Vec::new(),
            spare: Default::default(),
        }
    }

    /// Forgets everything; says whether the memory is worth keeping.
    pub fn empty(&mut self) -> bool {
        self.chain = TransactionChain::new();
        self.last = Last::None;
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
        self.chain.count() + u32::from(self.last != Last::None)
    }

    /// The context in force.
    pub fn context(&self) -> Option<ContextMark> {
        self.context
    }

    /// Notes that the entry at `mark.position` holds the context from now on.
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
            self.settle_closed();
            let (bytes, chunks) = std::mem::take(&mut self.spare);
            self.levels.push(Level {
                subid,
                began: Mark {
                    chain: self.chain.clone(),
                    last: self.last,
                    context: self.context,
                    shapes: self.shapes.len(),
                },
                bytes,
                chunks,
                last: None,
            });
        }
    }

    /// Appends a record to the top level; `enter` came before.
    pub fn push(&mut self, leaf: &[u8], image: Option<&[u8]>) -> Result<()> {
        self.settle()?;
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
            level.last = Some(start);
            self.last = Last::Held;
        }
        Ok(())
    }

    /// Makes the last leaf part of the chain, as another one follows.
    fn settle(&mut self) -> Result<()> {
        if self.last == Last::Held {
            let levels = self.levels.iter().rev();
            let mut held = levels.filter_map(|level| level.bytes.get(level.last?..));
            let record = held.next().and_then(|bytes| Records::new(bytes).next());
            let record = record.unwrap_or(Err(FormatError::Truncated));
            let record = record.map_err(error::format)?;
            self.chain.push(&leaf_hash(record.leaf));
            self.last = Last::None;
        }
        self.settle_closed();
        Ok(())
    }

    fn settle_closed(&mut self) {
        if self.last == Last::Closed {
            self.chain.push(&leaf_hash(&self.closed));
            self.last = Last::None;
        }
    }

    /// Makes a trailer part of the last entry, which lies in the top level.
    pub fn close(
        &mut self,
        incarnation: [u8; 16],
        key_id: [u8; 8],
        mac: &AuditMac,
        scratch: &mut Vec<u8>,
    ) -> Result<()> {
        let Some(level) = self.levels.last_mut() else {
            return Err(error::format(FormatError::Truncated));
        };
        let start = level.before_last();
        scratch.clear();
        scratch.extend_from_slice(&level.bytes[start..]);
        level.bytes.truncate(start);
        for record in Records::new(scratch) {
            let record = record.map_err(error::format)?;
            self.closed.clear();
            self.closed.extend_from_slice(record.leaf);
            Trailer::close(&mut self.closed, &self.chain, incarnation, key_id, mac)
                .map_err(error::format)?;
            push_record(&mut level.bytes, &self.closed, record.image).map_err(error::format)?;
            self.last = Last::Closed;
        }
        if self.last == Last::Closed {
            Ok(())
        } else {
            Err(error::format(FormatError::Truncated))
        }
    }

    /// Unwritten bytes of the top level before the last record.
    pub fn top_len(&self) -> usize {
        self.levels.last().map_or(0, Level::before_last)
    }

    /// Unwritten bytes of all levels.
    pub fn total_len(&self) -> usize {
        self.levels.iter().map(|level| level.bytes.len()).sum()
    }

    /// Subtransaction of the top level.
    pub fn top_subid(&self) -> Option<u32> {
        self.levels.last().map(|level| level.subid)
    }

    /// Chunks of the top level in order, with or without the last record: first position and bytes.
    pub fn top_chunks(&self, hold: Hold) -> impl Iterator<Item = (u32, &[u8])> {
        let level = self.levels.last().into_iter();
        level.flat_map(move |level| level.pieces(level.end(hold)))
    }

    /// Chunks of every level, in order of position.
    pub fn all_chunks(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let levels = self.levels.iter();
        levels.flat_map(|level| level.pieces(level.bytes.len()))
    }

    /// Forgets the bytes of the top level that were written.
    pub fn top_written(&mut self, hold: Hold) {
        let next = self.position();
        if let Some(level) = self.levels.last_mut() {
            level.bytes.drain(..level.end(hold));
            level.chunks.clear();
            level.last = None;
            if !level.bytes.is_empty() {
                level.chunks.push(Chunk {
                    position: next - 1,
                    next,
                    start: 0,
                });
                level.last = Some(0);
            }
            // What one large row needed is not kept for the small ones.
            if level.bytes.capacity() > 4 * LEVEL_LIMIT {
                level.bytes.shrink_to(LEVEL_LIMIT);
            }
        }
    }

    /// Subtransaction `subid` was rolled back: drops it and all below it.
    pub fn roll_back(&mut self, subid: u32) {
        while let Some(level) = self.levels.pop_if(|top| top.subid >= subid) {
            self.chain = level.began.chain;
            self.last = level.began.last;
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
    /// How many bytes lie before the last record.
    fn before_last(&self) -> usize {
        self.last.unwrap_or(self.bytes.len())
    }

    fn end(&self, hold: Hold) -> usize {
        match hold {
            Hold::Last => self.before_last(),
            Hold::Nothing => self.bytes.len(),
        }
    }

    /// The chunks up to the record that begins at `end`.
    fn pieces(&self, end: usize) -> impl Iterator<Item = (u32, &[u8])> {
        let chunks = self.chunks.iter().enumerate();
        chunks
            .take_while(move |(_, chunk)| chunk.start < end)
            .map(move |(i, chunk)| {
                let next = self.chunks.get(i + 1);
                let to = next.map_or(end, |next| next.start.min(end));
                (chunk.position, &self.bytes[chunk.start..to])
            })
    }

    fn absorb(&mut self, child: Level) {
        let offset = self.bytes.len();
        self.last = child.last.map(|last| last + offset).or(self.last);
        self.bytes.extend_from_slice(&child.bytes);
        self.chunks
            .extend(child.chunks.into_iter().map(|chunk| Chunk {
                start: chunk.start + offset,
                ..chunk
            }));
    }
}
