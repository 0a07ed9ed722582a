//! Carrying out what was ordered: the worker drops pruned segments and rewrites those with erased images.
//!
//! Each segment is a transaction of its own. Nothing is waited for: a segment that somebody reads is tried again later.

use crate::audit::find::Finder;
use crate::audit::{seal, store};
use crate::error::{self, Result};
use crate::pg::journal::Mode;
use crate::pg::segment::{self, Appender};
use crate::pg::{owner, query, snapshot, worker};
use pgrx::prelude::*;
use std::collections::{BTreeSet, HashMap};
use ward_log::{Hash, Leaf, Shape, push_record};

/// What is left to do.
#[derive(Default)]
pub struct Left {
    /// Anything.
    pub any: bool,
    /// Journals still hold copies of erased images.
    pub journals: bool,
}

/// An order that is not carried out yet.
struct Order {
    entry: u64,
    leaf: Vec<u8>,
    /// The files of the journals, once the segments are done.
    files: Option<[i64; 2]>,
    /// Leaves from here on are not concerned.
    end: u64,
}

/// Carries out what can be carried out now. Call it outside a transaction.
pub fn perform() -> Result<Left> {
    let mut left = Left::default();
    let orders = worker::transaction(|| {}, || pending(&mut left))?;
    let mut targets = Targets::default();
    let mut erasures = Vec::new();
    for order in orders {
        match Leaf::parse(&order.leaf).map_err(error::format)? {
            Leaf::Prune(leaf) => prune(&order, leaf.from, leaf.to, &mut left)?,
            Leaf::Erase(_) if order.files.is_some() => erasures.push(order),
            Leaf::Erase(leaf) => {
                targets.add(Target {
                    entry: order.entry,
                    table: (
                        leaf.relation_oid,
                        leaf.schema.to_owned(),
                        leaf.table.to_owned(),
                    ),
                    record_id: leaf.record_id.to_owned(),
                    end: order.end,
                });
            }
            _ => {}
        }
    }
    if !targets.0.is_empty() {
        erase(&targets)?;
        left.any = true;
        left.journals = true;
    }
    for order in erasures {
        worker::transaction(|| {}, || finish(&order, &mut left))?;
    }
    Ok(left)
}

/// The orders that every snapshot in use sees.
fn pending(left: &mut Left) -> Result<Vec<Order>> {
    let mut found = Vec::new();
    if owner::table(c"audit_removal").is_none() {
        return Ok(found);
    }
    query::read(
        c"SELECT entry_id, leaf, sealed_by, journal_files[1], journal_files[2], \
                 coalesce((SELECT min(tree_size) FROM ward.audit_block WHERE tree_size > entry_id), entry_id) \
          FROM ward.audit_removal WHERE performed_at IS NULL ORDER BY entry_id",
        &[],
        |row| {
            // After a dump was restored elsewhere, ids of transactions say nothing, and no snapshot is that old.
            let sealed_by = row.int8(3) as u64;
            if sealed_by < snapshot::next_xid() && !worker::seen_by_all(sealed_by) {
                left.any = true;
                return;
            }
            found.push(Order {
                entry: row.int8(1) as u64,
                leaf: row.bytes(2),
                files: row.value(4).map(|_| [row.int8(4), row.int8(5)]),
                end: row.int8(6) as u64,
            });
        },
    );
    Ok(found)
}

/// Drops the segments of a range that nobody reads, the last one first: what is kept of the range is kept with it.
fn prune(order: &Order, from: u64, to: u64, left: &mut Left) -> Result<()> {
    let bits = worker::transaction(|| {}, store::segment_bits);
    for number in ((from >> bits)..(to >> bits)).rev() {
        let last = (number + 1) << bits == to;
        let gone = worker::transaction(
            || {},
            || {
                let Some(table) = store::segment_table(number) else {
                    return Ok(true);
                };
                if !worker::try_lock_against_all(table) {
                    return Ok(false);
                }
                if last {
                    let context = open_context(to)?;
                    return store::drop_segment(number, order.entry, context).map(|()| true);
                }
                store::drop_segment(number, order.entry, None).map(|()| true)
            },
        )?;
        if !gone {
            left.any = true;
            return Ok(());
        }
    }
    worker::transaction(
        || {},
        || {
            store::forget_retained((to >> bits).saturating_sub(1))?;
            performed(order.entry, bits)
        },
    )
}

/// The entry before leaf `to` that holds the context of entries from there on, if there is one.
fn open_context(to: u64) -> Result<Option<(u64, Vec<u8>)>> {
    let mut context = None;
    let number = to >> store::segment_bits();
    let Some(table) = store::segment_table(number) else {
        return Ok(None);
    };
    let mut next = to;
    let mut undecided = true;
    segment::scan(table, |stored| {
        segment::each_leaf(stored.entry_id as u64, stored.records, |id, bytes, _| {
            if id == next && undecided {
                next += 1;
                // a shape leaf says nothing of a context
                undecided = matches!(Leaf::parse(bytes), Ok(Leaf::Shape(_)));
                context = back(bytes).and_then(|back| id.checked_sub(u64::from(back)));
            }
        });
        undecided && stored.entry_id as u64 <= next
    });
    match context.filter(|entry| *entry < to) {
        Some(entry) => Ok(stored_leaf(entry)?.map(|leaf| (entry, leaf))),
        None => Ok(None),
    }
}

/// How far back an entry says that its context lies.
fn back(leaf: &[u8]) -> Option<u32> {
    let leaf = Leaf::parse(leaf).ok()?;
    leaf.frame().map(|frame| frame.context.back())
}

/// A leaf of a segment, or one that was kept of a pruned segment.
fn stored_leaf(entry: u64) -> Result<Option<Vec<u8>>> {
    if let Some((leaf, _)) = Finder::new().leaf(entry) {
        return Ok(Some(leaf));
    }
    let mut found = None;
    store::all_retained(|id, leaf| {
        if id == entry {
            found = Some(leaf.to_vec());
        }
    });
    Ok(found)
}

/// A record whose images are to go.
pub struct Target {
    /// The erase leaf.
    pub entry: u64,
    /// The table, as shapes name it.
    pub table: (u32, String, String),
    /// The record id, as row leaves have it.
    pub record_id: String,
    /// Leaves from here on keep their images.
    pub end: u64,
}

/// Records by their ids: the erase leaves, and where they end.
type Records = HashMap<String, Vec<(u64, u64)>>;

/// What is to be erased, by table and record.
#[derive(Default)]
pub struct Targets(HashMap<(u32, String, String), Records>);

impl Targets {
    /// Adds a record.
    pub fn add(&mut self, target: Target) {
        let records = self.0.entry(target.table).or_default();
        let orders = records.entry(target.record_id).or_default();
        orders.push((target.entry, target.end));
    }

    /// The erase leaves.
    fn entries(&self) -> Vec<i64> {
        let records = self.0.values().flat_map(HashMap::values);
        records.flatten().map(|(entry, _)| *entry as i64).collect()
    }

    /// The ids of the records, each once.
    pub fn records(&self) -> BTreeSet<&str> {
        let records = self.0.values().flat_map(HashMap::keys);
        records.map(String::as_str).collect()
    }

    /// By the shapes that the log has of the tables.
    pub fn by_shape(&self) -> ByShape<'_> {
        let mut shapes = HashMap::new();
        query::read(
            c"SELECT shape_id, content FROM ward.audit_shape",
            &[],
            |row| {
                if let (Ok(id), Ok(shape)) = (
                    Hash::try_from(row.bytes(1)),
                    Shape::parse_content(&row.bytes(2)),
                ) && let Some(records) =
                    self.0.get(&(shape.relation_oid, shape.schema, shape.table))
                {
                    shapes.insert(id, records);
                }
            },
        );
        ByShape(shapes)
    }
}

/// The records by the shapes of their tables.
pub struct ByShape<'t>(HashMap<Hash, &'t Records>);

impl ByShape<'_> {
    /// The shapes.
    pub fn ids(&self) -> impl Iterator<Item = &Hash> {
        self.0.keys()
    }

    /// The erase leaf that speaks of a leaf's image.
    pub fn order(&self, index: u64, leaf: &[u8]) -> Option<u64> {
        let Ok(Leaf::Row(row)) = Leaf::parse(leaf) else {
            return None;
        };
        let orders = self.0.get(&row.shape)?.get(row.record_id?)?;
        let order = orders.iter().find(|(_, end)| index < *end)?;
        Some(order.0)
    }
}

/// How many segments the log has had.
fn segments() -> u64 {
    let size = store::last_block().map_or(0, |block| block.tree_size);
    store::vouched(size).div_ceil(1 << store::segment_bits())
}

/// Rewrites the segments that hold images of these records.
fn erase(targets: &Targets) -> Result<()> {
    let mut blocked = false;
    for number in 0..worker::transaction(|| {}, segments) {
        blocked |= !worker::transaction(|| {}, || rewrite(number, targets))?;
    }
    if !blocked {
        worker::transaction(|| {}, || segments_done(targets))?;
    }
    Ok(())
}

/// Rewrites a segment without the images; false when somebody reads it.
///
/// A new file is the only way to be rid of them: an update leaves the old row behind, and vacuum its bytes in the
/// page. The rows of the new table are visible to every snapshot, as those of the old one were to all in use.
fn rewrite(number: u64, targets: &Targets) -> Result<bool> {
    let Some(table) = store::segment_table(number) else {
        return Ok(true);
    };
    let shapes = targets.by_shape();
    let mut found = false;
    segment::scan(table, |stored| {
        segment::each_leaf(stored.entry_id as u64, stored.records, |id, leaf, image| {
            found |= image.is_some() && shapes.order(id, leaf).is_some();
        });
        !found
    });
    if !found {
        return Ok(true);
    }
    if !worker::try_lock_against_all(table) {
        return Ok(false);
    }
    let mut copy = Appender::open_new(store::create_replacement(number)?);
    let mut removed: HashMap<u64, i64> = HashMap::new();
    let mut records = Vec::new();
    let mut failed = Ok(());
    segment::scan(table, |stored| {
        records.clear();
        let mut changed = false;
        segment::each_leaf(stored.entry_id as u64, stored.records, |id, leaf, image| {
            let order = image.and_then(|_| shapes.order(id, leaf));
            if let Some(order) = order {
                changed = true;
                *removed.entry(order).or_default() += 1;
            }
            let image = image.filter(|_| order.is_none());
            if let Err(error) = push_record(&mut records, leaf, image) {
                failed = Err(error);
            }
        });
        // what tampering left is copied as it is
        copy.push_row(
            stored.entry_id,
            if changed { &records } else { stored.records },
        );
        failed.is_ok()
    });
    failed.map_err(error::format)?;
    copy.finish();
    store::replace_segment(number)?;
    for (entry, images) in removed {
        Spi::run_with_args(
            "UPDATE ward.audit_removal SET removed = removed + $2 WHERE entry_id = $1",
            &[(entry as i64).into(), images.into()],
        )
        .map_err(error::spi)?;
    }
    Ok(true)
}

/// The segments are done: what the journals hold now has to go, too.
fn segments_done(targets: &Targets) -> Result<()> {
    let [first, second] = journals()?;
    Spi::run_with_args(
        "UPDATE ward.audit_removal SET journal_files = ARRAY[$2, $3] WHERE entry_id = ANY ($1)",
        &[targets.entries().into(), first.into(), second.into()],
    )
    .map_err(error::spi)
}

/// The files of the journals; -1 for one that is empty.
fn journals() -> Result<[i64; 2]> {
    let journals = seal::open_journals(Mode::Read)?;
    Ok(journals.map(|journal| match journal.pages() {
        0 => -1,
        _ => i64::from(journal.file()),
    }))
}

/// Ends an order to erase when the journals that held copies were emptied.
fn finish(order: &Order, left: &mut Left) -> Result<()> {
    let now = journals()?;
    let files = order.files.unwrap_or([-1; 2]);
    let cleaned = |at: usize| files[at] == -1 || files[at] != now[at];
    if cleaned(0) && cleaned(1) {
        return Spi::run_with_args(
            "UPDATE ward.audit_removal SET performed_at = clock_timestamp() WHERE entry_id = $1",
            &[(order.entry as i64).into()],
        )
        .map_err(error::spi);
    }
    left.any = true;
    left.journals = true;
    Ok(())
}

/// Ends an order to prune.
fn performed(entry: u64, bits: u32) -> Result<()> {
    Spi::run_with_args(
        "UPDATE ward.audit_removal SET performed_at = clock_timestamp(), \
           removed = (SELECT count(*) << $2 FROM ward.audit_pruned_segment WHERE pruned_by = $1) \
         WHERE entry_id = $1",
        &[(entry as i64).into(), bits.cast_signed().into()],
    )
    .map_err(error::spi)
}
