//! The leaves of one transaction: contiguous, numbered, chained, and closed by a trailer.

use std::collections::{BTreeMap, HashSet};

use crate::chain::TransactionChain;
use crate::hash::Hash;
use crate::leaf::{EntryFrame, Leaf, MacCheck, Trailer};
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
    /// Position of the last entry that holds a context.
    context: Option<u32>,
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
            context: None,
            tainted,
            forged: false,
            orders: Vec::new(),
            recorded: false,
            closed: false,
            last_entry: entry,
            fault: None,
        }
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
        bytes: &[u8],
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
        if let Leaf::Row(row) = leaf {
            known.use_shape(&row.shape, entry);
        }
        if let Some(frame) = leaf.frame() {
            self.context(entry, frame);
            if let Some(trailer) = &frame.trailer {
                self.trailer(entry, bytes, trailer, prepared.mac, known);
            }
            self.orders
                .extend(Order::of(entry, leaf).map(|order| (entry, order)));
        }
        self.chain.push(&prepared.hash);
    }

    /// Checks that the context of an entry is in the last one that holds any.
    #[inline]
    fn context(&mut self, entry: u64, frame: &EntryFrame<'_>) {
        let back = frame.context.back();
        if back == 0 {
            self.context = Some(frame.position);
        } else if self.context.is_none() || self.context != frame.position.checked_sub(back) {
            self.fail(
                ViolationType::ContextBroken,
                entry,
                format!("the last context does not lie {back} leaves back"),
            );
        }
    }

    fn trailer(
        &mut self,
        entry: u64,
        bytes: &[u8],
        trailer: &Trailer,
        checked: Option<MacCheck>,
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
        match checked.or_else(|| known.audit_keys.check(bytes)) {
            Some(MacCheck::Genuine) => {}
            Some(MacCheck::UnknownKey) if known.retired_key_ids.contains(&trailer.audit_key_id) => {
            }
            Some(MacCheck::UnknownKey) => self.trailer_forged(
                entry,
                "the trailer names an audit key that this log does not have",
            ),
            Some(MacCheck::Forged) | None => self.trailer_forged(
                entry,
                "the trailer's MAC was not made with the audit key it names",
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
                "the transaction's last leaf has no trailer",
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
