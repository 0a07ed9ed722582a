//! The leaves of one transaction: contiguous, numbered, chained, and closed by a trailer.

use std::collections::{BTreeMap, HashSet};

use crate::chain::TransactionChain;
use crate::hash::Hash;
use crate::leaf::{
    EraseLeaf, KeyChangeLeaf, Leaf, PruneLeaf, RestoreLeaf, RetentionLeaf, RowLeaf, TrailerLeaf,
};
use crate::verify::incarnations::Incarnations;
use crate::verify::prepared::{AuditKeys, Prepared};
use crate::verify::removal::Order;
use crate::verify::report::ViolationType;

/// What is wrong with a transaction, and at which leaf.
pub(super) struct Fault {
    pub(super) kind: ViolationType,
    pub(super) entry: u64,
    pub(super) detail: String,
}

/// What is known from the log so far.
#[derive(Default)]
pub(super) struct Known {
    pub(super) audit_keys: AuditKeys,
    pub(super) retired_key_ids: Vec<[u8; 8]>,
    pub(super) incarnations: Incarnations,
    pub(super) shapes: HashSet<Hash>,
    pub(super) last_shape: Option<Hash>,
    /// Shapes that rows of this block name and that have not been seen yet, with the first such row.
    pub(super) awaited_shapes: BTreeMap<Hash, u64>,
    /// A leaf could not be read: a shape nobody knows may have been in it.
    pub(super) incomplete: bool,
}

/// Why what follows from a leaf is not reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Taint {
    /// It is missing, and may have been pruned.
    Missing,
    /// It is altered or cannot be read.
    Altered,
}

impl Known {
    #[inline]
    fn use_shape(&mut self, id: &Hash, entry: u64) {
        if self.last_shape.as_ref() == Some(id) {
            return;
        }
        if self.shapes.contains(id) {
            self.last_shape = Some(*id);
        } else {
            self.awaited_shapes.entry(*id).or_insert(entry);
        }
    }
}

/// A transaction in the course of being read.
pub(super) struct Transaction {
    pub(super) xid: u64,
    chain: TransactionChain,
    /// Positions of the context leaves, ascending.
    contexts: Vec<u32>,
    /// One of its leaves is altered, missing or unreadable, and reported as that: what follows from it is not
    /// reported again.
    pub(super) tainted: Option<Taint>,
    /// A trailer is not of this log.
    forged: bool,
    /// What its leaves order.
    orders: Vec<(u64, Order)>,
    /// The sealer recorded a violation, which stands for everything that is wrong here.
    pub(super) recorded: bool,
    closed: bool,
    last_entry: u64,
    fault: Option<Fault>,
}

impl Transaction {
    pub(super) fn new(xid: u64, tainted: Option<Taint>, entry: u64) -> Self {
        Self {
            xid,
            chain: TransactionChain::new(),
            contexts: Vec::new(),
            tainted,
            forged: false,
            orders: Vec::new(),
            recorded: false,
            closed: false,
            last_entry: entry,
            fault: None,
        }
    }

    /// Starts over with the next transaction, keeping the memory.
    pub(super) fn restart(&mut self, xid: u64, tainted: Option<Taint>, entry: u64) {
        let mut contexts = std::mem::take(&mut self.contexts);
        contexts.clear();
        *self = Self {
            contexts,
            ..Self::new(xid, tainted, entry)
        };
    }

    /// The first fault is kept: those that follow are most often its consequence.
    #[cold]
    pub(super) fn fail(&mut self, kind: ViolationType, entry: u64, detail: impl Into<String>) {
        self.fault.get_or_insert_with(|| Fault {
            kind,
            entry,
            detail: detail.into(),
        });
    }

    /// Takes the transaction's next leaf.
    #[inline]
    pub(super) fn leaf(
        &mut self,
        entry: u64,
        leaf: &Leaf<'_>,
        prepared: &Prepared,
        known: &mut Known,
    ) {
        self.last_entry = entry;
        self.closed = false;
        if let Some((_, position)) = leaf.place()
            && position != self.chain.count()
            && self.tainted.is_none()
        {
            let expected = self.chain.count();
            self.fail(
                ViolationType::ChainBroken,
                entry,
                format!("position {position} where {expected} was expected"),
            );
        }
        match leaf {
            Leaf::Row(row) => self.row(entry, row, known),
            Leaf::Event(event) => self.context(entry, event.position, event.context_back),
            Leaf::KeyChange(KeyChangeLeaf { header, .. })
            | Leaf::Restore(RestoreLeaf { header, .. }) => {
                self.context(entry, header.position, header.context_back);
            }
            Leaf::Context(context) => self.contexts.push(context.position),
            Leaf::Shape(_) => {}
            Leaf::Trailer(trailer) => self.trailer(entry, trailer, prepared.mac, known),
            Leaf::Prune(PruneLeaf { header, .. })
            | Leaf::Erase(EraseLeaf { header, .. })
            | Leaf::Retention(RetentionLeaf { header, .. }) => {
                self.context(entry, header.position, header.context_back);
                self.orders
                    .extend(Order::of(entry, leaf).map(|order| (entry, order)));
            }
            Leaf::Seal(_) | Leaf::Incarnation(_) | Leaf::Violation(_) => {}
        }
        self.chain.push(&prepared.hash);
    }

    #[inline]
    fn row(&mut self, entry: u64, row: &RowLeaf<'_>, known: &mut Known) {
        self.context(entry, row.position, row.context_back);
        known.use_shape(&row.shape, entry);
    }

    /// Checks that a context leaf lies where a leaf says that its own is.
    #[inline]
    fn context(&mut self, entry: u64, position: u32, back: u32) {
        let found = position
            .checked_sub(back)
            .filter(|_| back != 0)
            .is_some_and(|at| {
                self.contexts.last() == Some(&at) || self.contexts.binary_search(&at).is_ok()
            });
        if !found {
            self.fail(
                ViolationType::ContextBroken,
                entry,
                format!("no context leaf lies {back} leaves back"),
            );
        }
    }

    fn trailer(
        &mut self,
        entry: u64,
        trailer: &TrailerLeaf,
        checked: Option<bool>,
        known: &mut Known,
    ) {
        self.closed = true;
        if trailer.chain != self.chain.digest() {
            self.fail(
                ViolationType::ChainBroken,
                entry,
                "the transaction's entries are not those its trailer was made over",
            );
        }
        if !known.incarnations.has(&trailer.incarnation) {
            self.forged = true;
            self.fail(
                ViolationType::IncarnationUnknown,
                entry,
                "the trailer names an incarnation that the log does not have",
            );
        }
        if known.audit_keys.is_empty() {
            return;
        }
        match checked.or_else(|| known.audit_keys.check(trailer)) {
            Some(true) => {}
            None if known.retired_key_ids.contains(&trailer.audit_key_id) => {}
            Some(false) => self.trailer_forged(
                entry,
                "the trailer's MAC was not made with the audit key it names",
            ),
            None => self.trailer_forged(
                entry,
                "the trailer names an audit key that this log does not have",
            ),
        }
    }

    #[cold]
    fn trailer_forged(&mut self, entry: u64, detail: &str) {
        self.forged = true;
        if self.tainted == Some(Taint::Missing) {
            // A MAC needs no other leaf; whatever else seems wrong may come from what is missing.
            self.fault = None;
        }
        self.fail(ViolationType::TrailerForged, entry, detail);
    }

    /// What the transaction orders, once all its leaves were taken; nothing unless it is sound. Where its first
    /// leaves are missing, its trailer has to do: they may have been pruned.
    pub(super) fn take_orders(&mut self) -> Vec<(u64, Order)> {
        let orders = std::mem::take(&mut self.orders);
        let sound = match self.tainted {
            None => self.fault.is_none(),
            Some(Taint::Missing) => true,
            Some(Taint::Altered) => false,
        };
        if sound && self.closed && !self.recorded && !self.forged {
            orders
        } else {
            Vec::new()
        }
    }

    /// Ends the transaction and says what is wrong with it, unless that has been said already.
    pub(super) fn close(&mut self) -> Option<Fault> {
        if !self.closed {
            self.fail(
                ViolationType::TrailerMissing,
                self.last_entry,
                "the transaction's last leaf is not a trailer",
            );
        }
        let fault = self.fault.take();
        fault.filter(|fault| {
            !self.recorded
                && match self.tainted {
                    None => true,
                    Some(Taint::Missing) => fault.kind == ViolationType::TrailerForged,
                    Some(Taint::Altered) => false,
                }
        })
    }
}
