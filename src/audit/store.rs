//! Reads and writes of the log's own tables, through SPI as their owner.

mod segments;

pub use super::identity::{Identity, identity, incarnations, incarnations_at, put_incarnation};
pub use segments::{
    all_retained, create_replacement, create_segment, drop_segment, forget_retained, is_registered,
    leaves, leaves_from, pruned_by, removed, replace_segment, retained, segment_bits,
    segment_numbers, segment_table, vouched,
};

use super::progress::Mark;
use crate::error::{self, Result};
use crate::pg::query::{self, Arg};
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use std::ffi::CStr;
use ward_log::{Hash, Tile, Tree, inclusion_proof, leaf_hash, verify_inclusion};

/// A row of audit_block.
#[derive(Clone)]
pub struct Block {
    /// Number, from 0.
    pub block_no: u64,
    /// Index of its first leaf.
    pub first_leaf: u64,
    /// Leaves in the tree after it.
    pub tree_size: u64,
    /// Root of the tree after it.
    pub root: Hash,
    /// The encoded snapshot it was made with.
    pub snapshot: Vec<u8>,
    /// When, in microseconds since 1970.
    pub sealed_at: i64,
}

macro_rules! select_blocks {
    ($tail:literal) => {{
        const QUERY: &CStr = match CStr::from_bytes_with_nul(
            concat!(
                "SELECT block_no, first_leaf, tree_size, root, snapshot, ",
                // What no worker writes is read as 1970, which no seal leaf says, instead of as an error.
                "CASE WHEN sealed_at BETWEEN '1970-01-01' AND '9999-12-31' ",
                "THEN (extract(epoch FROM sealed_at) * 1000000)::bigint ELSE 0 END FROM ward.audit_block ",
                $tail,
                "\0"
            )
            .as_bytes(),
        ) {
            Ok(query) => query,
            Err(_) => c"",
        };
        QUERY
    }};
}

/// Calls `visit` for the blocks from number `first` on, at most `count`, in order.
pub fn blocks(first: u64, count: u64, mut visit: impl FnMut(Block)) {
    let range = [
        Arg::Int8(first as i64),
        Arg::Int8(count.min(i64::MAX as u64) as i64),
    ];
    let query = select_blocks!("WHERE block_no >= $1 ORDER BY block_no LIMIT $2");
    select_blocks(query, &range, &mut visit);
}

/// The last block.
pub fn last_block() -> Option<Block> {
    let mut last = None;
    let query = select_blocks!("ORDER BY block_no DESC LIMIT 1");
    select_blocks(query, &[], &mut |block| last = Some(block));
    last
}

/// How many rows of blocks there are, whatever their numbers.
pub fn block_count() -> u64 {
    let mut count = 0;
    let query = c"SELECT count(*) FROM ward.audit_block";
    query::read(query, &[], |row| count = row.int8(1) as u64);
    count
}

fn select_blocks(query: &CStr, args: &[Arg], visit: &mut dyn FnMut(Block)) {
    query::read(query, args, |row| {
        visit(Block {
            block_no: row.int8(1) as u64,
            first_leaf: row.int8(2) as u64,
            tree_size: row.int8(3) as u64,
            root: hash(&row.bytes(4)),
            snapshot: row.bytes(5),
            sealed_at: row.int8(6),
        });
    });
}

/// Calls `visit` with the blocks that hold these leaves, in order: first leaf, size of the tree after it,
/// and number.
pub fn blocks_of(leaves: &[u64], mut visit: impl FnMut(u64, u64, u64)) {
    query::read(
        c"SELECT DISTINCT b.first_leaf, b.tree_size, b.block_no FROM unnest($1) AS l (leaf), \
          LATERAL (SELECT first_leaf, tree_size, block_no FROM ward.audit_block \
                   WHERE first_leaf <= leaf ORDER BY first_leaf DESC LIMIT 1) b ORDER BY 1",
        &[Arg::Int8s(leaves)],
        |row| visit(row.int8(1) as u64, row.int8(2) as u64, row.int8(3) as u64),
    );
}

/// 32 bytes as a hash; bytes of another length, which only tampering can store, match no hash.
fn hash(bytes: &[u8]) -> Hash {
    bytes.try_into().unwrap_or([0; 32])
}

/// Calls `visit` with index and hashes of the tiles of `level` from `first` on, at most `count`; None
/// for hashes that are not a whole number of 32 bytes.
pub fn tiles(level: u8, first: u64, count: u64, mut visit: impl FnMut(u64, Option<Vec<Hash>>)) {
    query::read(
        c"SELECT index, hashes FROM ward.audit_tile \
          WHERE level = $1 AND index >= $2 AND index < $2 + $3 ORDER BY index",
        &[
            Arg::Int2(level.into()),
            Arg::Int8(first as i64),
            Arg::Int8(count as i64),
        ],
        |row| {
            let bytes = row.bytes(2);
            let (hashes, rest) = bytes.as_chunks::<32>();
            visit(row.int8(1) as u64, rest.is_empty().then(|| hashes.to_vec()));
        },
    );
}

/// One tile.
pub fn tile(level: u8, index: u64) -> Option<Vec<Hash>> {
    let mut found = None;
    tiles(level, index, 1, |_, hashes| found = hashes);
    found
}

/// The root over the first `size` leaves, as the stored tiles give it.
pub fn root_at(size: u64) -> Option<Hash> {
    let mut edge = Vec::new();
    for (level, index) in Tree::right_edge_ids(size) {
        let mut hashes = tile(level, index)?;
        // the tile may have grown since
        hashes.truncate(((size >> (8 * u32::from(level))) & 0xFF) as usize);
        edge.push(Tile {
            level,
            index,
            hashes,
        });
    }
    Tree::resume(size, edge).ok().map(|tree| tree.root())
}

/// Whether the log that had this root at `size` has this leaf at `index`. That the stored hashes have it proves nothing: they
/// can be written with it.
pub fn has_leaf((size, root): (u64, &Hash), index: u64, leaf: &[u8]) -> bool {
    inclusion_proof(index, size, tile)
        .is_ok_and(|proof| verify_inclusion(&leaf_hash(leaf), index, size, &proof, root))
}

/// Stores tiles, replacing shorter ones.
pub fn put_tiles(tiles: &[Tile]) -> Result<()> {
    Spi::connect_mut(|client| -> std::result::Result<(), pgrx::spi::Error> {
        let insert = client.prepare_mut(
            "INSERT INTO ward.audit_tile (level, index, hashes) VALUES ($1, $2, $3) \
             ON CONFLICT (level, index) DO UPDATE SET hashes = excluded.hashes",
            &[
                PgBuiltInOids::INT2OID.oid(),
                PgBuiltInOids::INT8OID.oid(),
                PgBuiltInOids::BYTEAOID.oid(),
            ],
        )?;
        for tile in tiles {
            let args: [DatumWithOid; 3] = [
                i16::from(tile.level).into(),
                (tile.index as i64).into(),
                tile.hashes.as_flattened().into(),
            ];
            client.update(&insert, None, &args)?;
        }
        Ok(())
    })
    .map_err(error::spi)
}

/// Appends a block row.
pub fn put_block(block: &Block) -> Result<()> {
    Spi::run_with_args(
        "INSERT INTO ward.audit_block (block_no, first_leaf, tree_size, root, snapshot, sealed_at) \
         VALUES ($1, $2, $3, $4, $5, 'epoch'::timestamptz + $6 * interval '1 microsecond')",
        &[
            (block.block_no as i64).into(),
            (block.first_leaf as i64).into(),
            (block.tree_size as i64).into(),
            block.root.as_slice().into(),
            block.snapshot.as_slice().into(),
            block.sealed_at.into(),
        ],
    )
    .map_err(error::spi)
}

/// Registers a shape whose leaf was sealed as `entry_id`.
pub fn put_shape(shape: &Hash, entry_id: u64, content: &[u8]) -> Result<()> {
    Spi::run_with_args(
        "INSERT INTO ward.audit_shape (shape_id, entry_id, content) VALUES ($1, $2, $3) \
         ON CONFLICT (shape_id) DO NOTHING",
        &[
            shape.as_slice().into(),
            (entry_id as i64).into(),
            content.into(),
        ],
    )
    .map_err(error::spi)
}

/// Where to begin reading each journal.
pub fn marks() -> Result<[Mark; 2]> {
    let mut marks = [Mark { page: 0, file: 0 }; 2];
    query::read(
        c"SELECT journal::bigint, low_water, file FROM ward.audit_journal_state",
        &[],
        |row| {
            if let Some(mark) = marks.get_mut(row.int8(1) as usize) {
                *mark = Mark {
                    page: row.int8(2) as u32,
                    file: row.int8(3) as u32,
                };
            }
        },
    );
    Ok(marks)
}

/// Stores where to begin reading `journal`.
pub fn put_mark(journal: u8, mark: Mark) -> Result<()> {
    Spi::run_with_args(
        "UPDATE ward.audit_journal_state SET low_water = $2, file = $3 \
         WHERE journal = $1 AND (low_water, file) <> ($2, $3)",
        &[
            i16::from(journal).into(),
            i64::from(mark.page).into(),
            i64::from(mark.file).into(),
        ],
    )
    .map_err(error::spi)
}

/// Prune and erase leaves from leaf `from` on, that may account for what is missing before: index and leaf, and
/// whether that is the leaf whose hash the tree has.
pub fn orders_from(from: u64, mut visit: impl FnMut(u64, &[u8], bool)) {
    query::read(
        c"SELECT r.entry_id, r.leaf, substr(t.hashes, ((r.entry_id & 255) * 32 + 1)::int, 32) \
          FROM ward.audit_removal r LEFT JOIN ward.audit_tile t ON t.level = 0 AND t.index = r.entry_id >> 8 \
          WHERE r.entry_id >= $1 AND (r.kind = 'prune' OR r.removed > 0 OR r.performed_at IS NULL) \
          ORDER BY r.entry_id",
        &[Arg::Int8(from as i64)],
        |row| {
            let leaf = row.bytes(2);
            visit(row.int8(1) as u64, &leaf, row.bytes(3) == leaf_hash(&leaf));
        },
    );
}

/// Contents of the shapes whose leaves lie before leaf `before`, or may be pruned.
pub fn lost_shapes(before: u64, mut visit: impl FnMut(&[u8])) {
    query::read(
        c"SELECT content FROM ward.audit_shape WHERE entry_id < greatest($1, \
          (SELECT max(to_entry) FROM ward.audit_removal WHERE kind = 'prune')) ORDER BY entry_id",
        &[Arg::Int8(before as i64)],
        |row| row.with_bytes(1, |content| visit(content.unwrap_or_default())),
    );
}
