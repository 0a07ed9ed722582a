//! Reading the trail: sealed segments, then what is not sealed yet, then what this transaction
//! still holds in memory.

use super::find::{self, Finder};
use super::retention::shown;
use super::{capture, image, leaves, seal, store};
use crate::error::{self, Result};
use crate::pg::journal::{ChunkId, Journal, Mode};
use crate::pg::srf::{Cell, Rows};
use crate::pg::{owner, process, query};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use ward_log::{
    Context, ContextPlace, EntryFrame, EventLeaf, Hash, Image, Leaf, Operation, Records, RowLeaf,
    Shape, Snapshot, leaf_hash,
};

/// Type byte of a shape leaf (docs/log-format.md).
const SHAPE: u8 = 0x04;

/// Writes every entry to `rows`.
pub fn read(rows: &mut Rows) -> Result<()> {
    owner::run(|| {
        let mut reader = Reader::new(rows)?;
        store::blocks(0, u64::MAX, |block| {
            reader.know_block(&block);
        });
        reader.sealed()?;
        reader.unsealed()
    })
}

/// Renders entries, all of them or those about one record.
pub(super) struct Reader<'r> {
    rows: &'r mut Rows,
    shapes: HashMap<Hash, Shape>,
    /// The blocks known: first leaf, size of the tree after it, number; ascending.
    blocks: Vec<(u64, u64, u64)>,
    size: u64,
    snapshot: Snapshot,
    /// The context last seen: index or position of the entry that holds it, and its encoding.
    context: Option<(u64, Vec<u8>)>,
    /// The one record whose entries are wanted, if only they are.
    wanted: Option<Wanted>,
    finder: Finder,
}

/// A record, and what tells its table's shapes from others.
pub(super) struct Wanted {
    /// The record id, as a leaf has it.
    pub record: String,
    /// Whether a shape is one of the table's.
    pub of_table: Box<dyn Fn(&Shape) -> bool>,
}

impl Wanted {
    fn is(&self, row: &RowLeaf, shape: Option<&Shape>) -> bool {
        row.record_id == Some(&self.record) && shape.is_some_and(&self.of_table)
    }
}

impl<'r> Reader<'r> {
    /// A reader of the log as the active snapshot sees it, for all entries.
    pub(super) fn new(rows: &'r mut Rows) -> Result<Self> {
        let mut shapes = HashMap::new();
        query::read(
            c"SELECT shape_id, content FROM ward.audit_shape",
            &[],
            |row| {
                // The leaves name a shape by what it says: a description that somebody altered is none.
                let content = row.bytes(2);
                let id = Shape::shape_id(&content);
                if id[..] == row.bytes(1)
                    && let Ok(shape) = Shape::parse_content(&content)
                {
                    shapes.insert(id, shape);
                }
            },
        );
        let last = store::last_block();
        let snapshot = match &last {
            Some(block) => Snapshot::parse(&block.snapshot).map_err(error::format)?,
            None => Snapshot::default(),
        };
        Ok(Reader {
            rows,
            shapes,
            blocks: Vec::new(),
            size: last.map_or(0, |block| block.tree_size),
            snapshot,
            context: None,
            wanted: None,
            finder: Finder::new(),
        })
    }

    /// How many leaves are sealed.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// The shapes in the sealed log.
    pub(super) fn shapes(&self) -> &HashMap<Hash, Shape> {
        &self.shapes
    }

    /// Has only entries about one record rendered from now on.
    pub(super) fn want(&mut self, wanted: Wanted) {
        self.wanted = Some(wanted);
    }

    /// Forgets the rows written so far.
    pub(super) fn start_again(&mut self) {
        self.rows.clear();
    }

    /// Whether a leaf is an entry that is wanted.
    pub(super) fn wants(&self, leaf: &[u8]) -> bool {
        match (&self.wanted, Leaf::parse(leaf)) {
            (None, Ok(Leaf::Row(_) | Leaf::Event(_))) => true,
            (Some(wanted), Ok(Leaf::Row(row))) => wanted.is(&row, self.shapes.get(&row.shape)),
            _ => false,
        }
    }

    /// A sealed leaf, if it is stored.
    pub(super) fn find(&mut self, id: u64) -> Option<find::Stored> {
        self.finder.leaf(id)
    }

    /// Renders one sealed entry. Its context and its block are looked up.
    pub(super) fn single(&mut self, id: u64, leaf: &[u8], image: Option<&[u8]>) {
        let Ok(parsed) = Leaf::parse(leaf) else {
            return;
        };
        let Some(frame) = parsed.frame() else { return };
        let back = u64::from(frame.context.back());
        if let Some(at) = id.checked_sub(back).filter(|at| *at != id)
            && self.context.as_ref().is_none_or(|(known, _)| *known != at)
        {
            let found = self.finder.leaf(at);
            match found.as_ref().map(|(leaf, _)| Leaf::parse(leaf)) {
                Some(Ok(holder)) => self.note_context(Some(at), &holder),
                _ => self.all_retained(at..at + 1),
            }
        }
        if block_of(&self.blocks, id).is_none() {
            self.know_blocks(&[id]);
        }
        self.entry(Some(id), leaf, image);
    }

    /// Renders the entries of whole blocks.
    pub(super) fn range(&mut self, leaves: Range<u64>) {
        self.all_retained(leaves.clone());
        find::leaves(leaves, |id, leaf, image| self.entry(Some(id), leaf, image));
    }

    /// Takes note of what is left of pruned leaves.
    fn all_retained(&mut self, leaves: Range<u64>) {
        let mut found = BTreeMap::new();
        store::all_retained(|id, leaf| {
            if leaves.contains(&id) {
                found.insert(id, leaf.to_vec());
            }
        });
        for (id, leaf) in found {
            self.retained(id, &leaf);
        }
    }

    /// Takes note of a block; blocks are given in order.
    pub(super) fn know_block(&mut self, block: &store::Block) {
        let known = (block.first_leaf, block.tree_size, block.block_no);
        self.blocks.push(known);
    }

    /// Looks up the blocks of leaves that are going to be rendered.
    pub(super) fn know_blocks(&mut self, leaves: &[u64]) {
        store::blocks_of(leaves, |first, end, number| {
            self.blocks.push((first, end, number));
        });
        self.blocks.sort_unstable();
        self.blocks.dedup();
    }

    fn sealed(&mut self) -> Result<()> {
        let mut next = 0;
        for number in store::segment_numbers(self.size) {
            let Some(table) = store::segment_table(number) else {
                store::retained(number, |id, leaf| self.retained(id, leaf));
                continue;
            };
            store::leaves(table, number, &mut next, |id, leaf, image| {
                self.entry(Some(id), leaf, image);
            })?;
        }
        Ok(())
    }

    /// An entry of a pruned segment that holds the context of entries behind it, if it is what was sealed.
    fn retained(&mut self, id: u64, leaf: &[u8]) {
        let stored = store::tile(0, id >> 8);
        if stored.is_some_and(|tile| tile.get((id & 0xFF) as usize) == Some(&leaf_hash(leaf)))
            && let Ok(leaf) = Leaf::parse(leaf)
        {
            self.note_context(Some(id), &leaf);
        }
    }

    /// Chunks that the active snapshot sees and the last block's snapshot does not, and this
    /// transaction's own, by transaction and position.
    pub(super) fn unsealed(&mut self) -> Result<()> {
        let mut chunks = Chunks::new();
        let journals = seal::open_journals(Mode::Read)?;
        leaves::unsealed_chunks(&journals, &self.snapshot, |id| {
            chunks.insert((id.xid, id.position, id.part), Source::Journal(id));
        })?;
        capture::unwritten(|xid, position, bytes| {
            chunks.insert((xid, position, 0), Source::Memory(bytes.to_vec()));
        })?;
        // Shapes first: a row's may stand behind it, in another transaction.
        each_group(&chunks, &journals, |_, bytes| {
            for record in Records::new(bytes).map_while(std::result::Result::ok) {
                if record.leaf.first() == Some(&SHAPE) {
                    self.entry(None, record.leaf, None);
                }
            }
        });
        let mut last = 0;
        each_group(&chunks, &journals, |xid, bytes| {
            if xid != last {
                self.context = None;
                last = xid;
            }
            self.records(bytes);
        });
        Ok(())
    }

    fn records(&mut self, bytes: &[u8]) {
        for record in Records::new(bytes) {
            // What cannot be read is reported when it is sealed.
            let Ok(record) = record else { break };
            self.entry(None, record.leaf, record.image);
        }
    }

    fn entry(&mut self, id: Option<u64>, leaf: &[u8], image: Option<&[u8]>) {
        let leaf = Leaf::parse(leaf);
        if let Ok(leaf) = &leaf {
            self.note_context(id, leaf);
        }
        match leaf {
            Ok(Leaf::Shape(shape)) => {
                if let Ok(described) = shape.shape() {
                    self.shapes.insert(shape.shape_id(), described);
                }
            }
            Ok(Leaf::Row(row)) => self.row(id, &row, image),
            Ok(Leaf::Event(event)) => self.event(id, &event),
            Ok(Leaf::Prune(leaf)) => {
                self.order(id, &leaf.frame, "PRUNE", None, shown::prune(&leaf))
            }
            Ok(Leaf::Erase(leaf)) => {
                let record = [leaf.schema, leaf.table, leaf.record_id];
                self.order(id, &leaf.frame, "ERASE", Some(record), shown::erase(&leaf));
            }
            Ok(Leaf::Restore(leaf)) => {
                self.order(id, &leaf.frame, "RESTORE", None, shown::restore(&leaf));
            }
            Ok(Leaf::KeyChange(leaf)) => {
                self.order(
                    id,
                    &leaf.frame,
                    "KEY CHANGE",
                    None,
                    shown::key_change(&leaf),
                );
            }
            Ok(Leaf::Retention(leaf)) => {
                self.order(id, &leaf.frame, "RETENTION", None, shown::retention(&leaf));
            }
            // Other leaves carry no change; unreadable ones are for the verifier to report.
            _ => {}
        }
    }

    /// Keeps the context that an entry holds, for those that follow.
    fn note_context(&mut self, id: Option<u64>, leaf: &Leaf) {
        if let Some(frame) = leaf.frame()
            && let ContextPlace::Here(encoded) = frame.context
        {
            let (at, kept) = self.context.get_or_insert_default();
            *at = id.unwrap_or(u64::from(frame.position));
            kept.clear();
            kept.extend_from_slice(encoded);
        }
    }

    fn row(&mut self, id: Option<u64>, row: &RowLeaf, image: Option<&[u8]>) {
        let shape = self.shapes.get(&row.shape);
        if self
            .wanted
            .as_ref()
            .is_some_and(|wanted| !wanted.is(row, shape))
        {
            return;
        }
        let image = image.and_then(|bytes| Image::parse(bytes).ok());
        let (old, new, changed) = match (&image, shape) {
            (Some(image), Some(shape)) => (
                image.old.as_ref().map(|old| image::json(old, shape)),
                image.new.as_ref().map(|new| image::json(new, shape)),
                image
                    .old
                    .as_ref()
                    .filter(|_| row.operation == Operation::Update)
                    .map(|old| image::changed(old, shape)),
            ),
            _ => (None, None, None),
        };
        let what = [
            shape.map(|s| s.schema.as_str()).into(),
            shape.map(|s| s.table.as_str()).into(),
            row.record_id.into(),
            Cell::Text(row.operation.as_str()),
            old.map_or(Cell::Null, Cell::Jsonb),
            new.map_or(Cell::Null, Cell::Jsonb),
            changed.map_or(Cell::Null, Cell::TextArray),
        ];
        put(self.rows, &self.blocks, &self.context, id, &row.frame, what);
    }

    fn order(
        &mut self,
        id: Option<u64>,
        frame: &EntryFrame,
        operation: &'static str,
        record: Option<[&str; 3]>,
        values: String,
    ) {
        if self.wanted.is_some() {
            return;
        }
        let name = |at: usize| record.map(|names| names[at]).into();
        let what = [
            name(0),
            name(1),
            name(2),
            Cell::Text(operation),
            Cell::Null,
            Cell::Jsonb(values),
            Cell::Null,
        ];
        put(self.rows, &self.blocks, &self.context, id, frame, what);
    }

    fn event(&mut self, id: Option<u64>, event: &EventLeaf) {
        if self.wanted.is_some() {
            return;
        }
        let what = [
            Cell::Null,
            Cell::Null,
            Cell::Null,
            Cell::Text("EVENT"),
            Cell::Null,
            Cell::Jsonb(image::event(event)),
            Cell::Null,
        ];
        put(
            self.rows,
            &self.blocks,
            &self.context,
            id,
            &event.frame,
            what,
        );
    }
}

/// Writes one entry: when and where, who, and `what` happened.
fn put(
    rows: &mut Rows,
    blocks: &[(u64, u64, u64)],
    context: &Option<(u64, Vec<u8>)>,
    id: Option<u64>,
    frame: &EntryFrame,
    what: [Cell; 7],
) {
    let encoded = match (frame.context, context) {
        (ContextPlace::Here(encoded), _) => Some(encoded),
        (ContextPlace::Back(back), Some((holder, encoded))) => {
            let at = id.unwrap_or(u64::from(frame.position));
            (at.checked_sub(u64::from(back)) == Some(*holder)).then_some(&encoded[..])
        }
        (ContextPlace::Back(_), None) => None,
    };
    let context = encoded.and_then(|encoded| Context::parse(encoded).ok());
    let context = context.as_ref();
    let block = id.and_then(|id| block_of(blocks, id));
    let [schema, table, record, operation, old, new, changed] = what;
    rows.put(&[
        id.map_or(Cell::Null, |id| Cell::Int8(id as i64)),
        Cell::Int8(frame.occurred_at - process::EPOCH_SHIFT),
        context.and_then(|c| c.tenant_id).into(),
        context.and_then(|c| c.user_id).into(),
        context.and_then(|c| c.session_id).into(),
        context.and_then(|c| c.service_name).into(),
        context.and_then(|c| c.client_ip).into(),
        context.and_then(|c| c.user_agent).into(),
        context.map(|c| c.source.as_str()).into(),
        context.and_then(|c| c.authenticated_role).into(),
        context.and_then(|c| c.session_role).into(),
        context.and_then(|c| c.current_role).into(),
        context.and_then(|c| c.application_name).into(),
        schema,
        table,
        record,
        operation,
        old,
        new,
        changed,
        Cell::Int8(frame.xid as i64),
        block.map_or(Cell::Null, |block| Cell::Int8(block as i64)),
    ]);
}

/// The number of the block that holds a leaf, if it is among those known.
fn block_of(blocks: &[(u64, u64, u64)], leaf: u64) -> Option<u64> {
    let after = blocks.partition_point(|(first, _, _)| *first <= leaf);
    let (_, end, number) = blocks.get(after.checked_sub(1)?)?;
    (leaf < *end).then_some(*number)
}

/// By transaction, position and part.
type Chunks = BTreeMap<(u64, u32, u32), Source>;

/// Calls `visit` with the transaction and the bytes of each row of a journal, parts joined.
fn each_group(chunks: &Chunks, journals: &[Journal; 2], mut visit: impl FnMut(u64, &[u8])) {
    let mut bytes = Vec::new();
    let mut transaction = 0;
    for ((xid, _, part), source) in chunks {
        if *part == 0 {
            visit(transaction, &bytes);
            bytes.clear();
        }
        transaction = *xid;
        source.append_to(&mut bytes, journals);
    }
    visit(transaction, &bytes);
}

enum Source {
    Journal(ChunkId),
    Memory(Vec<u8>),
}

impl Source {
    fn append_to(&self, bytes: &mut Vec<u8>, journals: &[Journal; 2]) {
        match self {
            Source::Journal(id) => {
                journals[id.journal as usize].fetch(id, bytes);
            }
            Source::Memory(held) => bytes.extend_from_slice(held),
        }
    }
}
