//! What the verifier finds.

/// Where and why a log does not verify.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// What is wrong.
    pub kind: ViolationType,
    /// The block it lies in, where known.
    pub block: Option<u64>,
    /// The leaf index it lies at, where known.
    pub entry: Option<u64>,
    /// More about it, for people; never a column value.
    pub detail: String,
}

macro_rules! violation_types {
    ($($(#[$doc:meta])+ $name:ident = $text:literal,)+) => {
        /// What can be wrong with a log.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ViolationType { $($(#[$doc])+ $name,)+ }

        impl ViolationType {
            /// The name SQL shows.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

violation_types! {
    /// An entry's bytes are not those the tree was built over.
    EntryAltered = "entry_altered",
    /// Entries are missing from here on.
    EntryMissing = "entry_missing",
    /// An entry lies beyond the end of the log.
    EntryUnexpected = "entry_unexpected",
    /// A leaf index occurs more than once.
    EntryDuplicated = "entry_duplicated",
    /// An entry is what the tree was built over, but cannot be read.
    EntryUnreadable = "entry_unreadable",
    /// An image is not the one its entry commits to.
    ImageAltered = "image_altered",
    /// An image that its entry commits to is gone.
    ImageMissing = "image_missing",
    /// A transaction's entries are not those its trailer was made over.
    ChainBroken = "chain_broken",
    /// A transaction does not end with a trailer.
    TrailerMissing = "trailer_missing",
    /// A trailer was not made with the audit key.
    TrailerForged = "trailer_forged",
    /// A trailer names an incarnation that the log never had.
    IncarnationUnknown = "incarnation_unknown",
    /// A row names a context that is not there.
    ContextBroken = "context_broken",
    /// A row names a shape that is not there.
    ShapeUnknown = "shape_unknown",
    /// The row that describes a block was altered.
    BlockAltered = "block_altered",
    /// The row that describes a block is missing.
    BlockMissing = "block_missing",
    /// A stored tree hash is not the one its entries give.
    TileAltered = "tile_altered",
    /// A seal or incarnation entry does not say what the log shows.
    SealMismatch = "seal_mismatch",
    /// A prune, erase or retention entry does not say what the log shows, or breaks the rules.
    OrderForged = "order_forged",
    /// Entries are not in the order a block prescribes.
    OrderBroken = "order_broken",
    /// A transaction lies in a block that its snapshots exclude.
    SnapshotMismatch = "snapshot_mismatch",
    /// The sealer recorded that a transaction was tampered with before it was sealed.
    RecordedViolation = "recorded_violation",
    /// The log is not the one a checkpoint was signed for.
    CheckpointMismatch = "checkpoint_mismatch",
    /// The log does not have the size it is said to have.
    SizeMismatch = "size_mismatch",
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Entries read: rows, events, and what was ordered about retention.
    pub entries: u64,
    /// Leaves read.
    pub leaves: u64,
    /// Blocks passed.
    pub blocks: u64,
    /// The log's size.
    pub size: u64,
    /// The root over the log's leaves, as far as they verified.
    pub root: crate::Hash,
    /// What was pruned, as leaves of the log say; the first 1,000.
    pub pruned: Vec<Pruned>,
    /// How many leaves are missing because they were pruned.
    pub pruned_leaves: u64,
    /// What was erased, as leaves of the log say; the first 1,000.
    pub erased: Vec<Erased>,
    /// How many leaves say that the images of a record were erased.
    pub erasures: u64,
    /// How many images are missing because they were erased.
    pub erased_images: u64,
    /// The last leaf that says of something missing that it was removed. Nothing but this leaf shows that it was not
    /// simply left out.
    pub last_removal: Option<u64>,
    /// Of the sizes and roots that were given, those that are not the log's.
    pub contradicted: Vec<(u64, crate::Hash)>,
    /// Violations reported.
    pub violations: u64,
}

/// A range of leaves that was pruned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pruned {
    /// The leaf that says so.
    pub entry: u64,
    /// The first leaf of the range.
    pub from: u64,
    /// The leaf after it.
    pub to: u64,
    /// How many leaves of it are missing.
    pub missing: u64,
}

/// A record of which images were erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erased {
    /// The leaf that says so.
    pub entry: u64,
    /// The table's schema.
    pub schema: String,
    /// The table.
    pub table: String,
    /// The record id.
    pub record_id: String,
    /// Why.
    pub reason: String,
    /// How many images of it are missing.
    pub images: u64,
}

/// Collects what is found within a block, so that it is reported in the order of the entries.
pub(super) struct Reporter<'a> {
    sink: &'a mut dyn FnMut(Violation),
    pending: Vec<Violation>,
    pub(super) count: u64,
    /// How many of them are contradicted checkpoints.
    pub(super) mismatches: u64,
}

/// Beyond this many, violations are passed on at once: a log that is wrong throughout must not fill the memory.
const MAX_PENDING: usize = 10_000;

impl<'a> Reporter<'a> {
    pub(super) fn new(sink: &'a mut dyn FnMut(Violation)) -> Self {
        Self {
            sink,
            pending: Vec::new(),
            count: 0,
            mismatches: 0,
        }
    }

    #[cold]
    pub(super) fn add(
        &mut self,
        kind: ViolationType,
        block: Option<u64>,
        entry: Option<u64>,
        detail: impl Into<String>,
    ) {
        self.count += 1;
        self.mismatches += u64::from(kind == ViolationType::CheckpointMismatch);
        self.pending.push(Violation {
            kind,
            block,
            entry,
            detail: detail.into(),
        });
        if self.pending.len() >= MAX_PENDING {
            self.flush();
        }
    }

    pub(super) fn flush(&mut self) {
        // within a block, what has a place comes first
        self.pending
            .sort_by_key(|found| (found.block, found.entry.unwrap_or(u64::MAX)));
        for found in self.pending.drain(..) {
            (self.sink)(found);
        }
    }
}
