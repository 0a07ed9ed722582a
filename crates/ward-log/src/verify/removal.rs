//! What is missing from the log, and whether the log itself says that it was removed.
//!
//! What says so comes later in the log than what is missing. So what is missing is kept until the end, or until a
//! prune or erase leaf accounts for it.

use std::collections::{BTreeMap, HashMap};
use std::mem;

use crate::hash::{Hash, labelled};
use crate::leaf::{EraseLeaf, Leaf, PRUNE_UNIT, RetentionPolicy, RowLeaf, Shape};
use crate::verify::report::{Erased, Pruned, Reporter, ViolationType};

/// More gaps or records than these are not kept: an honest log has fewer, and a log that is wrong throughout must
/// not fill the memory.
const MAX_KEPT: usize = 0x10_0000;
/// Records with missing images that are kept: an honest log may have erased many.
const MAX_IMAGES: usize = 0x100_0000;
/// Entries that a prune may have left in place, as above: an honest log has one for each prune.
const MAX_LEFT: usize = 64;
/// More removals than these are counted, but not listed.
const MAX_LISTED: usize = 1000;

/// The root of the leaves, and that of the stored hashes where they differ.
pub(super) type Roots = [Option<Hash>; 2];

const OTHER_TREE: &str = "the prune leaf names another tree";

/// What a leaf orders, kept until its transaction is known to be sound.
#[derive(Debug, Clone)]
pub(super) enum Order {
    Retention {
        occurred_at: i64,
        period: i64,
        effective_at: i64,
    },
    Prune(Prune),
    Erase {
        erased: Erased,
        key: Hash,
    },
}

impl Order {
    /// The order that a leaf gives, if it is one that gives orders.
    #[inline]
    pub(super) fn of(entry: u64, leaf: &Leaf<'_>) -> Option<Self> {
        match leaf {
            Leaf::Retention(leaf) => Some(Self::Retention {
                occurred_at: leaf.frame.occurred_at,
                period: leaf.period,
                effective_at: leaf.effective_at,
            }),
            Leaf::Prune(leaf) => Some(Self::Prune(Prune {
                from: leaf.from,
                to: leaf.to,
                root: leaf.root,
                checkpoint_size: leaf.checkpoint_size,
                period: leaf.period,
            })),
            Leaf::Erase(leaf) => Some(Self::erase(entry, leaf)),
            _ => None,
        }
    }

    fn erase(entry: u64, leaf: &EraseLeaf<'_>) -> Self {
        let mut table = Vec::new();
        leaf.encode_table(&mut table);
        Self::Erase {
            key: record_key(&table_key(&table), Some(leaf.record_id)),
            erased: Erased {
                entry,
                schema: leaf.schema.to_owned(),
                table: leaf.table.to_owned(),
                record_id: leaf.record_id.to_owned(),
                reason: leaf.reason.to_owned(),
                images: 0,
            },
        }
    }
}

/// What a prune leaf says.
#[derive(Debug, Clone)]
pub(super) struct Prune {
    from: u64,
    to: u64,
    root: Hash,
    checkpoint_size: u64,
    period: i64,
}

fn table_key(table_part: &[u8]) -> Hash {
    labelled(b"table", table_part)
}

/// A row without a record id is none of the record with the empty one: no erase leaf speaks of it.
fn record_key(table: &Hash, record_id: Option<&str>) -> Hash {
    match record_id {
        Some(id) => labelled(table, id.as_bytes()),
        None => labelled(b"no record", table),
    }
}

/// Missing leaves.
struct Gap {
    block: u64,
    first: u64,
    end: u64,
}

impl Gap {
    /// What of it lies before a leaf.
    fn before(&self, leaf: u64) -> Option<Gap> {
        (self.first < leaf).then_some(Gap {
            end: self.end.min(leaf),
            ..*self
        })
    }

    /// What of it lies from a leaf on.
    fn behind(&self, leaf: u64) -> Option<Gap> {
        (leaf < self.end).then_some(Gap {
            first: self.first.max(leaf),
            ..*self
        })
    }
}

/// Missing images of one record.
struct Images {
    block: u64,
    first: u64,
    count: u64,
}

/// An entry of which the image is missing.
struct Bare {
    entry: u64,
    shape: Hash,
    record_id: Option<String>,
    /// It holds a context, for which a prune may have left it in place.
    holds_context: bool,
    /// No leaf before it was read.
    first: bool,
}

/// What was ordered and what is missing.
#[derive(Default)]
pub(super) struct Removals {
    policy: RetentionPolicy,
    /// From when on the policy is known: leaves that were not read may have changed it.
    policy_from: i64,
    /// The latest time of sealing so far.
    time: i64,
    gaps: Vec<Gap>,
    /// Roots and time at every multiple of the unit within and behind gaps.
    heads: BTreeMap<u64, (Roots, i64)>,
    /// The table of each shape.
    tables: HashMap<Hash, Hash>,
    /// Missing images of the block that is being read.
    unresolved: Vec<Bare>,
    images: HashMap<Hash, Images>,
    /// Missing images of what a prune may have left in place: by entry, its block and record.
    left: BTreeMap<u64, (u64, Hash)>,
    /// Orders of the block that is being read, with their leaves' indexes.
    orders: Vec<(u64, Order)>,
    /// Orders from behind the last leaf.
    later: Vec<(u64, Order)>,
    pub(super) pruned: Vec<Pruned>,
    pub(super) pruned_leaves: u64,
    pub(super) erased: Vec<Erased>,
    pub(super) erasures: u64,
    pub(super) erased_images: u64,
    /// The last leaf that accounted for something missing.
    pub(super) last_removal: Option<u64>,
}

impl Removals {
    /// Those of a log that is read from its first leaf on.
    pub(super) fn new() -> Self {
        Self {
            policy_from: i64::MIN,
            ..Self::default()
        }
    }

    /// Leaves were not read: what they ordered is unknown.
    pub(super) fn forget_policy(&mut self) {
        self.policy_from = i64::MAX;
    }

    /// A block that was sealed at this time begins.
    pub(super) fn enter(&mut self, sealed_at: i64) {
        self.time = self.time.max(sealed_at);
    }

    pub(super) fn add_shape(&mut self, id: Hash, content: &[u8]) {
        if let Ok(table) = Shape::table_part(content) {
            self.tables.insert(id, table_key(table));
        }
    }

    /// Leaf `index` is missing.
    pub(super) fn leaf_missing(&mut self, block: u64, index: u64) {
        match self.gaps.last_mut() {
            Some(gap) if gap.end == index => gap.end = index + 1,
            _ => self.gaps.push(Gap {
                block,
                first: index,
                end: index + 1,
            }),
        }
    }

    /// Whether the root at `size` is wanted: leaves that a prune leaf may speak of end there.
    #[inline]
    pub(super) fn wants_head(&self, size: u64) -> bool {
        size.is_multiple_of(PRUNE_UNIT)
            && self
                .gaps
                .last()
                .is_some_and(|gap| gap.end.saturating_add(PRUNE_UNIT) > size)
    }

    pub(super) fn add_head(&mut self, size: u64, roots: Roots) {
        self.heads.insert(size, (roots, self.time));
    }

    /// The image of row leaf `index` is missing; `first` says that no leaf before it was read.
    pub(super) fn image_missing(&mut self, index: u64, row: &RowLeaf<'_>, first: bool) {
        self.unresolved.push(Bare {
            entry: index,
            shape: row.shape,
            record_id: row.record_id.map(str::to_owned),
            holds_context: row.frame.context.back() == 0,
            first,
        });
    }

    /// Whether a prune may have left an entry in place: then leaves beside it are missing.
    fn may_be_left(&self, bare: &Bare) -> bool {
        let after = self.gaps.partition_point(|gap| gap.end < bare.entry);
        let beside = |gap: &Gap| gap.end == bare.entry || gap.first == bare.entry + 1;
        let near = self.gaps.iter().skip(after).take(2);
        bare.holds_context && (bare.first || near.into_iter().any(beside))
    }

    /// A sound transaction has ordered this.
    pub(super) fn order(&mut self, entry: u64, order: Order) {
        self.orders.push((entry, order));
    }

    /// A leaf behind the last one that is read orders this.
    pub(super) fn order_later(&mut self, entry: u64, order: Order) {
        self.later.push((entry, order));
    }

    /// Does what leaves behind the last one order. When they were sealed, and under which policy, is not known.
    pub(super) fn do_later(&mut self, report: &mut Reporter<'_>) {
        for (entry, order) in mem::take(&mut self.later) {
            match order {
                Order::Retention { .. } => {}
                Order::Prune(leaf) if self.is_other_tree(&leaf) => {
                    report.add(ViolationType::OrderForged, None, Some(entry), OTHER_TREE)
                }
                Order::Prune(leaf) => self.prune(entry, &leaf),
                Order::Erase { erased, key } => self.erase(erased, &key),
            }
        }
    }

    fn is_other_tree(&self, leaf: &Prune) -> bool {
        let head = self.heads.get(&leaf.to);
        head.is_some_and(|(roots, _)| !roots.contains(&Some(leaf.root)))
    }

    /// Ends a block: keeps what is missing, and does what was ordered.
    pub(super) fn end_block(&mut self, block: u64, first_leaf: u64, report: &mut Reporter<'_>) {
        for bare in mem::take(&mut self.unresolved) {
            // no erase leaf accounts for a row of a table that nothing describes
            let table = self.tables.get(&bare.shape).unwrap_or(&bare.shape);
            let key = record_key(table, bare.record_id.as_deref());
            if self.may_be_left(&bare) && self.left.len() < MAX_LEFT {
                self.left.insert(bare.entry, (block, key));
                continue;
            }
            let images = Images {
                block,
                first: bare.entry,
                count: 0,
            };
            self.images.entry(key).or_insert(images).count += 1;
        }
        for (entry, order) in mem::take(&mut self.orders) {
            match order {
                Order::Retention {
                    period,
                    effective_at,
                    ..
                } if self.policy_from <= self.time => {
                    self.policy.change(period, effective_at, self.time);
                }
                Order::Retention {
                    occurred_at,
                    period,
                    effective_at,
                } => {
                    // It may be in force later than it says, by as long as it waited to be sealed.
                    let waited = self.time.saturating_sub(occurred_at).max(0);
                    self.policy = RetentionPolicy::announced(period, effective_at);
                    self.policy_from = effective_at.saturating_add(waited);
                }
                Order::Prune(leaf) => match self.check(&leaf, first_leaf) {
                    Ok(()) => self.prune(entry, &leaf),
                    Err(detail) => {
                        report.add(ViolationType::OrderForged, Some(block), Some(entry), detail);
                    }
                },
                Order::Erase { erased, key } => self.erase(erased, &key),
            }
        }
        if self.gaps.len() > MAX_KEPT || self.images.len() > MAX_IMAGES {
            self.report(report);
        }
    }

    /// Whether a prune leaf may say what it says, as far as what is known tells.
    fn check(&self, leaf: &Prune, first_leaf: u64) -> Result<(), &'static str> {
        if leaf.checkpoint_size > first_leaf {
            return Err("the prune leaf names a checkpoint of leaves that came later");
        }
        if self.policy_from <= self.time && self.policy.in_force(self.time) != leaf.period {
            return Err("the prune leaf names a retention period that was not in force");
        }
        if self.is_other_tree(leaf) {
            return Err(OTHER_TREE);
        }
        // The time behind `to` is not known where the leaves there are not missing. Those that are were not sealed later
        // than the last one that is.
        match self.heads.range(..=leaf.to).next_back() {
            Some((_, (_, time))) if self.time.saturating_sub(*time) < leaf.period => {
                Err("the prune leaf names leaves that were too young")
            }
            _ => Ok(()),
        }
    }

    fn prune(&mut self, entry: u64, leaf: &Prune) {
        // gaps ascend; a hostile log has many, and as many orders
        let pruned = leaf.from..leaf.to;
        let before = self.left.len();
        self.left.retain(|entry, _| !pruned.contains(entry));
        let bare = before - self.left.len();
        let first = self.gaps.partition_point(|gap| gap.end <= leaf.from);
        let behind = self.gaps.partition_point(|gap| gap.first < leaf.to);
        let mut missing = 0;
        if first < behind {
            let left = [
                self.gaps[first].before(leaf.from),
                self.gaps[behind - 1].behind(leaf.to),
            ];
            let gone = self.gaps.splice(first..behind, left.into_iter().flatten());
            missing = gone
                .map(|gap| gap.end.min(leaf.to) - gap.first.max(leaf.from))
                .sum();
        }
        self.pruned_leaves += missing;
        if missing > 0 || bare > 0 {
            self.last_removal = self.last_removal.max(Some(entry));
        }
        if self.pruned.len() < MAX_LISTED {
            self.pruned.push(Pruned {
                entry,
                from: leaf.from,
                to: leaf.to,
                missing,
            });
        }
    }

    fn erase(&mut self, mut erased: Erased, key: &Hash) {
        let before = self.left.len();
        self.left.retain(|_, (_, record)| record != key);
        let left = before - self.left.len();
        let others = self.images.remove(key).map_or(0, |images| images.count);
        erased.images = others + left as u64;
        self.erased_images += erased.images;
        if erased.images > 0 {
            self.last_removal = self.last_removal.max(Some(erased.entry));
        }
        self.erasures += 1;
        if self.erased.len() < MAX_LISTED {
            self.erased.push(erased);
        }
    }

    /// Reports what nothing accounts for.
    pub(super) fn report(&mut self, report: &mut Reporter<'_>) {
        for gap in mem::take(&mut self.gaps) {
            report.add(
                ViolationType::EntryMissing,
                Some(gap.block),
                Some(gap.first),
                format!("{} leaves are missing from here on", gap.end - gap.first),
            );
        }
        for (entry, (block, _)) in mem::take(&mut self.left) {
            report.add(
                ViolationType::ImageMissing,
                Some(block),
                Some(entry),
                "the image that the entry commits to is gone",
            );
        }
        for images in mem::take(&mut self.images).into_values() {
            let more = match images.count {
                1 => String::new(),
                count => format!(", and {} others of the record", count - 1),
            };
            report.add(
                ViolationType::ImageMissing,
                Some(images.block),
                Some(images.first),
                format!("the image that the entry commits to is gone{more}"),
            );
        }
    }
}
