//! Reads and writes of the log's own tables, through SPI as their owner.

pub use super::identity::{Identity, identity, incarnations, incarnations_at, put_incarnation};
use super::progress::Mark;
use crate::error::{self, Result};
use crate::pg::owner;
use crate::pg::query::{self, Arg};
use crate::pg::segment;
use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use std::ffi::CStr;
use ward_log::{Hash, Tile, Tree, leaf_hash};

/// Leaves per segment, as a power of two, where the log does not say otherwise.
const SEGMENT_BITS: u32 = 20;

/// Leaves per segment, as a power of two. Fixed before the first block.
pub fn segment_bits() -> u32 {
    let mut bits = SEGMENT_BITS;
    query::read(
        c"SELECT segment_bits::bigint FROM ward.audit_layout",
        &[],
        |row| {
            bits = u32::try_from(row.int8(1))
                .unwrap_or(bits)
                .clamp(10, SEGMENT_BITS)
        },
    );
    bits
}

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

/// Whether segment `number` was made by the sealer of this log.
pub fn is_registered(number: u64) -> bool {
    let mut found = false;
    query::read(
        c"SELECT 1::bigint FROM ward.audit_segment WHERE segment_no = $1",
        &[Arg::Int8(number as i64)],
        |_| found = true,
    );
    found
}

/// How many leaves a log can have whose last block row says `size`: no more than tiles were stored for. A forged size
/// must not send a reader through numbers without end.
pub fn vouched(size: u64) -> u64 {
    let mut tiles = 0;
    let query = c"SELECT count(*) FROM ward.audit_tile WHERE level = 0";
    query::read(query, &[], |row| tiles = row.int8(1) as u64);
    size.min(tiles << 8)
}

/// Numbers of the segments that a log of `size` leaves has or had, and of those that are there beyond, ascending.
pub fn segment_numbers(size: u64) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..vouched(size).div_ceil(1 << segment_bits())).collect();
    query::read(
        c"SELECT DISTINCT substr(relname::text, 15)::bigint FROM pg_class \
          WHERE relnamespace = to_regnamespace('ward') AND relkind = 'r' \
          AND relname::text ~ '^audit_segment_[0-9]{6,12}$' ORDER BY 1",
        &[],
        |row| {
            let number = row.int8(1) as u64;
            if numbers.last().is_none_or(|last| *last < number) {
                numbers.push(number);
            }
        },
    );
    numbers
}

/// The table of segment `number`, or None when there is none.
pub fn segment_table(number: u64) -> Option<pg_sys::Oid> {
    let name = std::ffi::CString::new(segment_name(number)).ok()?;
    owner::segment(&name)
}

/// Makes the table of segment `number`. It is no member of the extension, so that a dump holds it,
/// but goes when the log goes.
pub fn create_segment(number: u64) -> Result<pg_sys::Oid> {
    let name = segment_name(number);
    create_segment_table(number, &name)?;
    Spi::run_with_args(
        "INSERT INTO ward.audit_segment (segment_no, relation) VALUES ($1, $2::text::name)",
        &[(number as i64).into(), name.as_str().into()],
    )
    .map_err(error::spi)?;
    let table = segment_table(number).ok_or_else(missing_segment)?;
    owner::bind_to_log(table);
    Ok(table)
}

fn create_segment_table(number: u64, name: &str) -> Result<()> {
    Spi::run(&format!(
        "CREATE TABLE ward.{name} (entry_id bigint NOT NULL, records bytea NOT NULL) \
         USING heap WITH (autovacuum_enabled = false, toast_tuple_target = 8160); \
         ALTER TABLE ward.{name} ALTER records SET STORAGE EXTERNAL; \
         COMMENT ON TABLE ward.{name} IS 'Sealed leaves of the audit trail, segment {number}.'"
    ))
    .map_err(error::spi)
}

/// Makes an empty table that is to take the place of a segment's.
pub fn create_replacement(number: u64) -> Result<pg_sys::Oid> {
    let name = format!("{}_new", segment_name(number));
    create_segment_table(number, &name)?;
    let name = std::ffi::CString::new(name).map_err(|_| missing_segment())?;
    owner::segment(&name).ok_or_else(missing_segment)
}

/// Puts the replacement in the place of a segment's table, which is dropped.
pub fn replace_segment(number: u64) -> Result<()> {
    let name = segment_name(number);
    Spi::run(&format!(
        "DROP TABLE ward.{name}; ALTER TABLE ward.{name}_new RENAME TO {name}"
    ))
    .map_err(error::spi)?;
    owner::bind_to_log(segment_table(number).ok_or_else(missing_segment)?);
    Ok(())
}

/// Drops the table of a segment that was pruned by the leaf `pruned_by`, and keeps a context leaf of it.
pub fn drop_segment(number: u64, pruned_by: u64, context: Option<(u64, Vec<u8>)>) -> Result<()> {
    Spi::run(&format!("DROP TABLE ward.{}", segment_name(number))).map_err(error::spi)?;
    let (entry, context) = context.unzip();
    Spi::run_with_args(
        "WITH gone AS (DELETE FROM ward.audit_segment WHERE segment_no = $1) \
         INSERT INTO ward.audit_pruned_segment (segment_no, pruned_by, context_entry, context) VALUES ($1, $2, $3, $4)",
        &[
            (number as i64).into(),
            (pruned_by as i64).into(),
            entry.map(|entry| entry as i64).into(),
            context.into(),
        ],
    )
    .map_err(error::spi)
}

/// Forgets the context leaves that were kept of pruned segments.
pub fn forget_retained() -> Result<()> {
    Spi::run(
        "UPDATE ward.audit_pruned_segment SET context_entry = NULL, context = NULL WHERE context IS NOT NULL",
    )
    .map_err(error::spi)
}

/// The leaf by which a segment was pruned, if it was.
pub fn pruned_by(number: u64) -> Option<u64> {
    let mut found = None;
    query::read(
        c"SELECT pruned_by FROM ward.audit_pruned_segment WHERE segment_no = $1",
        &[Arg::Int8(number as i64)],
        |row| found = Some(row.int8(1) as u64),
    );
    found
}

/// The leaves that are still there of segments that were pruned up to this one.
pub fn retained(number: u64, visit: impl FnMut(u64, &[u8])) {
    retained_where(
        c"SELECT context_entry, context FROM ward.audit_pruned_segment WHERE segment_no = $1 AND context IS NOT NULL",
        &[Arg::Int8(number as i64)],
        visit,
    );
}

/// The leaves that are still there of all pruned segments.
pub fn all_retained(visit: impl FnMut(u64, &[u8])) {
    retained_where(
        c"SELECT context_entry, context FROM ward.audit_pruned_segment WHERE context IS NOT NULL",
        &[],
        visit,
    );
}

fn retained_where(query: &CStr, args: &[Arg], mut visit: impl FnMut(u64, &[u8])) {
    query::read(query, args, |row| {
        let entry = row.int8(1) as u64;
        row.with_bytes(2, |leaf| visit(entry, leaf.unwrap_or_default()));
    });
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

fn missing_segment() -> pgrx::pg_sys::panic::ErrorReport {
    error::report(
        PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
        "a segment table cannot be found",
    )
}

fn segment_name(number: u64) -> String {
    format!("audit_segment_{number:06}")
}

/// Calls `visit` with number, leaf and image of the leaves of a segment in order of their numbers, the
/// first of which should be `next`. Rows are stored in that order, so the table is scanned; where a
/// number is out of order, the rest of the table is sorted.
pub fn leaves(
    table: pg_sys::Oid,
    segment_no: u64,
    next: &mut u64,
    mut visit: impl FnMut(u64, &[u8], Option<&[u8]>),
) -> Result<()> {
    leaves_from(table, segment_no, 0, next, |_, id, leaf, image| {
        visit(id, leaf, image);
        true
    })
    .map(|_| ())
}

/// As [`leaves`], from page `page` on, with the leaf's page as long as the rows are in order. Ends after the row
/// with whose leaves `visit` answers false, and says whether it did not.
pub fn leaves_from(
    table: pg_sys::Oid,
    segment_no: u64,
    page: u32,
    next: &mut u64,
    mut visit: impl FnMut(Option<u32>, u64, &[u8], Option<&[u8]>) -> bool,
) -> Result<bool> {
    let mut disorder = None;
    let mut go_on = true;
    segment::scan_from(table, (page, 0), |stored| {
        let id = stored.entry_id as u64;
        if id != *next {
            disorder = Some(stored.place);
            return false;
        }
        *next = segment::each_leaf(id, stored.records, |id, leaf, image| {
            go_on &= visit(Some(stored.place.0), id, leaf, image);
        });
        go_on
    });
    if let Some(place) = disorder {
        sorted_rows(segment_no, place, |id, records| {
            let end = segment::each_leaf(id, records, |id, leaf, image| {
                go_on &= visit(None, id, leaf, image);
            });
            *next = (*next).max(end);
            go_on
        })?;
    }
    Ok(go_on)
}

/// The rows of a segment from place `from` (block, offset) on, sorted by number. A row that does not
/// belong into the segment comes last, as the highest number there is.
fn sorted_rows(
    segment_no: u64,
    from: (u32, u16),
    mut visit: impl FnMut(u64, &[u8]) -> bool,
) -> Result<()> {
    let bits = segment_bits();
    let query = format!(
        "SELECT CASE WHEN entry_id >> {bits} = {segment_no} THEN entry_id ELSE {} END, records \
         FROM ward.{} WHERE ctid >= '({},{})'::tid ORDER BY 1",
        i64::MAX,
        segment_name(segment_no),
        from.0,
        from.1
    );
    let query = std::ffi::CString::new(query).map_err(|_| missing_segment())?;
    query::read_while(&query, &[], |row| {
        let id = row.int8(1) as u64;
        row.with_bytes(2, |records| visit(id, records.unwrap_or_default()))
    });
    Ok(())
}
