//! Reading the trail: sealed segments, then what is not sealed yet, then what this transaction
//! still holds in memory.

use super::retention::shown;
use super::{capture, image, seal, store};
use crate::error::{self, Result};
use crate::pg::journal::{ChunkId, Journal, Mode};
use crate::pg::srf::{Cell, Rows};
use crate::pg::{owner, process, query};
use std::collections::{BTreeMap, HashMap};
use ward_log::{
    EventLeaf, Hash, Image, Leaf, LeafHeader, Operation, Records, RowLeaf, Shape, Snapshot,
    leaf_hash,
};

/// Writes every entry to `rows`.
pub fn read(rows: &mut Rows) -> Result<()> {
    if owner::table(c"audit_log").is_none() {
        return Ok(());
    }
    owner::run(|| {
        let mut reader = Reader::new(rows)?;
        reader.sealed()?;
        reader.unsealed()
    })
}

struct Reader<'r> {
    rows: &'r mut Rows,
    shapes: HashMap<Hash, Shape>,
    /// (first leaf, block number), ascending.
    blocks: Vec<(u64, u64)>,
    size: u64,
    snapshot: Snapshot,
    /// The context leaf last seen: its index or position, and its bytes.
    context: Option<(u64, Vec<u8>)>,
}

impl<'r> Reader<'r> {
    fn new(rows: &'r mut Rows) -> Result<Self> {
        let mut shapes = HashMap::new();
        query::read(
            c"SELECT shape_id, content FROM ward.audit_shape",
            &[],
            |row| {
                if let (Ok(id), Ok(shape)) = (
                    Hash::try_from(row.bytes(1)),
                    Shape::parse_content(&row.bytes(2)),
                ) {
                    shapes.insert(id, shape);
                }
            },
        );
        let mut reader = Reader {
            rows,
            shapes,
            blocks: Vec::new(),
            size: 0,
            snapshot: Snapshot::default(),
            context: None,
        };
        let mut last = Vec::new();
        store::blocks(0, u64::MAX, |block| {
            reader.blocks.push((block.first_leaf, block.block_no));
            reader.size = block.tree_size;
            last = block.snapshot;
        });
        if !last.is_empty() {
            reader.snapshot = Snapshot::parse(&last).map_err(error::format)?;
        }
        Ok(reader)
    }

    fn sealed(&mut self) -> Result<()> {
        let segments = self.size.div_ceil(1 << store::segment_bits());
        let mut next = 0;
        for number in 0..segments {
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

    /// A leaf of a pruned segment that still describes entries behind it, if it is what was sealed.
    fn retained(&mut self, id: u64, leaf: &[u8]) {
        let stored = store::tile(0, id >> 8);
        if stored.is_some_and(|tile| tile.get((id & 0xFF) as usize) == Some(&leaf_hash(leaf))) {
            self.entry(Some(id), leaf, None);
        }
    }

    /// Chunks that the active snapshot sees and the last block's snapshot does not, and this
    /// transaction's own, by transaction and position.
    fn unsealed(&mut self) -> Result<()> {
        let mut chunks: BTreeMap<(u64, u32, u32), Source> = BTreeMap::new();
        let journals = seal::open_journals(Mode::Read)?;
        for journal in &journals {
            journal.scan_visible(|id| {
                if !self.snapshot.visible(id.xid) {
                    chunks.insert((id.xid, id.position, id.part), Source::Journal(id));
                }
            });
        }
        capture::unwritten(|xid, position, bytes| {
            chunks.insert((xid, position, 0), Source::Memory(bytes.to_vec()));
        })?;
        let mut bytes = Vec::new();
        let mut xid = 0;
        for ((next_xid, _, part), source) in chunks {
            if part == 0 {
                self.records(&bytes);
                bytes.clear();
            }
            if next_xid != xid {
                self.context = None;
                xid = next_xid;
            }
            source.append_to(&mut bytes, &journals);
        }
        self.records(&bytes);
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
        match Leaf::parse(leaf) {
            Ok(Leaf::Context(context)) => {
                let place = id.unwrap_or(u64::from(context.position));
                self.context = Some((place, leaf.to_vec()));
            }
            Ok(Leaf::Shape(shape)) => {
                if let Ok(described) = shape.shape() {
                    self.shapes.insert(shape.shape_id(), described);
                }
            }
            Ok(Leaf::Row(row)) => self.row(id, &row, image),
            Ok(Leaf::Event(event)) => self.event(id, &event),
            Ok(Leaf::Prune(leaf)) => {
                self.order(id, &leaf.header, "PRUNE", None, shown::prune(&leaf))
            }
            Ok(Leaf::Erase(leaf)) => {
                let record = [leaf.schema, leaf.table, leaf.record_id];
                self.order(id, &leaf.header, "ERASE", Some(record), shown::erase(&leaf));
            }
            Ok(Leaf::Restore(leaf)) => {
                self.order(id, &leaf.header, "RESTORE", None, shown::restore(&leaf));
            }
            Ok(Leaf::KeyChange(leaf)) => {
                self.order(
                    id,
                    &leaf.header,
                    "KEY CHANGE",
                    None,
                    shown::key_change(&leaf),
                );
            }
            Ok(Leaf::Retention(leaf)) => {
                self.order(id, &leaf.header, "RETENTION", None, shown::retention(&leaf));
            }
            // Other leaves carry no change; unreadable ones are for the verifier to report.
            _ => {}
        }
    }

    fn row(&mut self, id: Option<u64>, row: &RowLeaf, image: Option<&[u8]>) {
        let shape = self.shapes.get(&row.shape);
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
        let place = Place {
            id,
            xid: row.xid,
            position: row.position,
            context_back: row.context_back,
            occurred_at: row.occurred_at,
        };
        put(self.rows, &self.blocks, &self.context, &place, what);
    }

    fn order(
        &mut self,
        id: Option<u64>,
        header: &LeafHeader,
        operation: &'static str,
        record: Option<[&str; 3]>,
        values: String,
    ) {
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
        let place = Place {
            id,
            xid: header.xid,
            position: header.position,
            context_back: header.context_back,
            occurred_at: header.occurred_at,
        };
        put(self.rows, &self.blocks, &self.context, &place, what);
    }

    fn event(&mut self, id: Option<u64>, event: &EventLeaf) {
        let what = [
            Cell::Null,
            Cell::Null,
            Cell::Null,
            Cell::Text("EVENT"),
            Cell::Null,
            Cell::Jsonb(image::event(event)),
            Cell::Null,
        ];
        let place = Place {
            id,
            xid: event.xid,
            position: event.position,
            context_back: event.context_back,
            occurred_at: event.occurred_at,
        };
        put(self.rows, &self.blocks, &self.context, &place, what);
    }
}

/// Where in the log an entry stands.
struct Place {
    id: Option<u64>,
    xid: u64,
    position: u32,
    context_back: u32,
    occurred_at: i64,
}

/// Writes one entry: when and where, who, and `what` happened.
fn put(
    rows: &mut Rows,
    blocks: &[(u64, u64)],
    context: &Option<(u64, Vec<u8>)>,
    place: &Place,
    what: [Cell; 7],
) {
    let at = place.id.unwrap_or(u64::from(place.position));
    let context = context
        .as_ref()
        .filter(|(leaf, _)| *leaf == at.wrapping_sub(u64::from(place.context_back)))
        .and_then(|(_, bytes)| Leaf::parse(bytes).ok());
    let context = match &context {
        Some(Leaf::Context(context)) => Some(context),
        _ => None,
    };
    let block = place.id.and_then(|id| {
        let after = blocks.partition_point(|(first, _)| *first <= id);
        after.checked_sub(1).map(|at| blocks[at].1)
    });
    let [schema, table, record, operation, old, new, changed] = what;
    rows.put(&[
        place.id.map_or(Cell::Null, |id| Cell::Int8(id as i64)),
        Cell::Int8(place.occurred_at - process::EPOCH_SHIFT),
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
        Cell::Int8(place.xid as i64),
        block.map_or(Cell::Null, |block| Cell::Int8(block as i64)),
    ]);
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
