//! An honest log in memory, and the means to tamper with it.
#![allow(dead_code)]

mod builder;
mod writer;

pub use builder::Builder;
pub use writer::{LeafAndImage, Writer};

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ward_log::{
    AuditMac, BlockInfo, Column, ColumnKind, Context, ContextPlace, ContextSource, Details,
    EntryFrame, EventLeaf, Hash, ImageWriter, IncarnationLeaf, Leaf, LogSource, Operation, Options,
    RowLeaf, SealLeaf, Severity, Shape, ShapeLeaf, Snapshot, Summary, Trailer, TransactionChain,
    Tree, Verifier, Violation, ViolationKind, ViolationLeaf, empty_root, image_commitment,
    leaf_hash,
};

pub const KEY_ID: [u8; 8] = *b"auditkey";
pub const KEY: [u8; 32] = [7; 32];
pub const INCARNATION: [u8; 16] = [9; 16];

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub index: u64,
    pub leaf: Vec<u8>,
    pub image: Option<Vec<u8>>,
}

/// A log as it is stored.
#[derive(Debug, Clone, Default)]
pub struct Log {
    pub entries: Vec<Entry>,
    pub tiles: BTreeMap<(u8, u64), Vec<Hash>>,
    pub blocks: BTreeMap<u64, BlockInfo>,
}

pub struct Stored<'a>(pub &'a Log);

impl LogSource for Stored<'_> {
    fn tile(&mut self, level: u8, index: u64) -> Option<Vec<Hash>> {
        self.0.tiles.get(&(level, index)).cloned()
    }
    fn block(&mut self, block_no: u64) -> Option<BlockInfo> {
        self.0.blocks.get(&block_no).cloned()
    }
}

pub fn options() -> Options {
    Options {
        audit_keys: vec![(KEY_ID, KEY.into())],
        ..Options::default()
    }
}

impl Log {
    pub fn verify_with(&self, options: Options) -> (Summary, Vec<Violation>) {
        let mut found = Vec::new();
        let mut report = |violation| found.push(violation);
        let mut verifier = Verifier::new(Stored(self), options, &mut report);
        for entry in &self.entries {
            verifier.leaf(entry.index, &entry.leaf, entry.image.as_deref());
        }
        let size = self.blocks.values().next_back().map_or(0, |b| b.tree_size);
        let summary = verifier.finish(size);
        (summary, found)
    }

    /// What verification finds: kind, block, entry.
    pub fn found(&self) -> Vec<(&'static str, Option<u64>, Option<u64>)> {
        self.verify_with(options())
            .1
            .iter()
            .map(|v| (v.kind.as_str(), v.block, v.entry))
            .collect()
    }

    pub fn leaf(&self, index: u64) -> Leaf<'_> {
        Leaf::parse(&self.entries[index as usize].leaf).unwrap()
    }

    pub fn size(&self) -> u64 {
        self.entries.len() as u64
    }

    /// What a superuser without the audit key can do: number the entries anew, and make seal leaves, tiles and
    /// block rows that fit them.
    pub fn rebuild(&mut self) {
        let mut tree = Tree::new();
        let old_blocks = std::mem::take(&mut self.blocks);
        self.tiles.clear();
        let mut first_leaf = 0;
        let mut root = empty_root();
        for (at, entry) in self.entries.iter_mut().enumerate() {
            entry.index = at as u64;
            let seal = match Leaf::parse(&entry.leaf) {
                Ok(Leaf::Seal(seal)) => Some(seal),
                _ => None,
            };
            if let Some(mut seal) = seal.clone() {
                seal.first_leaf = first_leaf;
                seal.previous_size = first_leaf;
                seal.previous_root = root;
                entry.leaf.clear();
                seal.encode(&mut entry.leaf);
            }
            tree.append(leaf_hash(&entry.leaf));
            if let Some(seal) = seal {
                root = tree.root();
                let block = BlockInfo {
                    first_leaf,
                    tree_size: tree.size(),
                    root,
                    ..old_blocks[&seal.block_no].clone()
                };
                self.blocks.insert(seal.block_no, block);
                first_leaf = tree.size();
            }
        }
        for tile in tree.take_dirty() {
            self.tiles.insert((tile.level, tile.index), tile.hashes);
        }
    }

    pub fn position_of(&self, wanted: impl Fn(&Leaf<'_>) -> bool) -> u64 {
        let at = self
            .entries
            .iter()
            .position(|e| wanted(&Leaf::parse(&e.leaf).unwrap()));
        at.unwrap() as u64
    }
}

/// Rewrites row leaf `at`.
pub fn edit_row(log: &mut Log, at: u64, edit: impl FnOnce(&mut ward_log::RowLeaf<'_>)) {
    let bytes = log.entries[at as usize].leaf.clone();
    let Leaf::Row(mut row) = Leaf::parse(&bytes).unwrap() else {
        panic!("leaf {at} is not a row")
    };
    edit(&mut row);
    log.entries[at as usize].leaf.clear();
    row.encode(&mut log.entries[at as usize].leaf);
}

/// The one thing that is found.
pub fn one(kind: &'static str, block: u64, entry: u64) -> Found {
    vec![(kind, Some(block), Some(entry))]
}

/// Kind, block and entry of what is found.
pub type Found = Vec<(&'static str, Option<u64>, Option<u64>)>;

/// One row to write: operation, record id, old and new value.
pub type RowSpec = (Operation, String, Option<String>, Option<String>);

pub fn shape() -> Shape {
    Shape {
        relation_oid: 16_400,
        schema: "public".into(),
        table: "accounts".into(),
        columns: vec![
            Column {
                attnum: 1,
                name: "id".into(),
                type_name: "integer".into(),
                kind: ColumnKind::Number,
                record_id: true,
                redacted: false,
                excluded: false,
            },
            Column {
                attnum: 2,
                name: "note".into(),
                type_name: "text".into(),
                kind: ColumnKind::Text,
                record_id: false,
                redacted: false,
                excluded: false,
            },
        ],
    }
}

pub fn seen(below: u64) -> Snapshot {
    Snapshot {
        xmin: below,
        xmax: below,
        xip: Vec::new(),
    }
}

pub fn insert(id: u64) -> RowSpec {
    let text = format!("note {id}");
    (Operation::Insert, id.to_string(), None, Some(text))
}

/// Three blocks of three transactions of five rows. Block 0 has leaves 0 to 17, block 1 has 18 to 33, block 2 34
/// to 49; the first row of a transaction holds the context, and the last one has the trailer; leaf 0 is the
/// incarnation, leaf 1 the shape.
pub fn small_log() -> Log {
    let mut builder = Builder::new();
    for block in 0..3 {
        for transaction in 0..3 {
            let xid = 100 + block * 10 + transaction;
            let rows: Vec<_> = (0..5).map(|row| insert(xid * 10 + row)).collect();
            builder.transaction(xid, &rows);
        }
        builder.seal(seen(110 + block * 10));
    }
    builder.log
}

/// A leaf's bytes.
pub fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

/// The frame of the only entry of a transaction, which is not ended yet.
pub fn frame(xid: u64) -> EntryFrame<'static> {
    EntryFrame {
        xid,
        position: 0,
        occurred_at: 2,
        context: ContextPlace::Here(context()),
        trailer: None,
    }
}

/// The context of the builder's transactions, encoded.
pub fn context() -> &'static [u8] {
    static CONTEXT: LazyLock<Vec<u8>> = LazyLock::new(|| context_of("t1"));
    &CONTEXT
}

/// Another context, encoded.
pub fn other_context() -> &'static [u8] {
    static CONTEXT: LazyLock<Vec<u8>> = LazyLock::new(|| context_of("t2"));
    &CONTEXT
}

fn context_of(tenant: &str) -> Vec<u8> {
    encoded(|out| {
        Context {
            source: ContextSource::Trusted,
            tenant_id: Some(tenant),
            user_id: None,
            session_id: None,
            service_name: Some(""),
            client_ip: Some("192.0.2.1"),
            user_agent: None,
            authenticated_role: Some("app"),
            session_role: Some("app"),
            current_role: Some("app"),
            application_name: Some("psql"),
        }
        .encode(out);
    })
}

pub fn event(frame: EntryFrame<'_>) -> EventLeaf<'_> {
    EventLeaf {
        frame,
        severity: Severity::High,
        event_type: "probe",
        details: Details::new("{\"count\":3}").unwrap(),
    }
}

/// The chain over leaves.
pub fn chain<'a>(leaves: impl IntoIterator<Item = &'a [u8]>) -> TransactionChain {
    let mut chain = TransactionChain::new();
    for leaf in leaves {
        chain.push(&leaf_hash(leaf));
    }
    chain
}

/// How long a trailer is.
pub const TRAILER_LEN: usize = 16 + 32 + 8 + 32;

/// Takes the trailer off an entry.
pub fn remove_trailer(leaf: &mut Vec<u8>) {
    assert!(ward_log::has_trailer(leaf));
    leaf[2] &= !2;
    leaf.truncate(leaf.len() - TRAILER_LEN);
}

/// Has the entry at `at` end the transaction that begins at `first`, with this key and under this incarnation. It may
/// have a trailer, which is replaced.
pub fn resign(
    log: &mut Log,
    first: u64,
    at: u64,
    incarnation: [u8; 16],
    (key_id, key): ([u8; 8], &[u8; 32]),
) {
    let (before, last) = log.entries.split_at_mut(at as usize);
    let leaf = &mut last[0].leaf;
    if ward_log::has_trailer(leaf) {
        remove_trailer(leaf);
    }
    let chain = chain(before[first as usize..].iter().map(|entry| &entry.leaf[..]));
    Trailer::close(leaf, &chain, incarnation, key_id, &AuditMac::new(key)).unwrap();
}
