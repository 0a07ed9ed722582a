//! What the sealer checks of one transaction before it seals it.

use ward_log::{
    AuditMac, Hash, Leaf, MacCheck, Records, Trailer, TransactionChain, ViolationKind, leaf_hash,
};

/// Running check of a transaction's records, in order.
pub struct TransactionCheck<'a> {
    xid: u64,
    incarnations: &'a [[u8; 16]],
    keys: &'a [([u8; 8], AuditMac)],
    chain: TransactionChain,
    closed: bool,
    problem: Option<(ViolationKind, String)>,
}

/// A record that can be sealed.
pub struct Sealable<'r> {
    /// The leaf's bytes.
    pub leaf: &'r [u8],
    /// Its hash.
    pub hash: Hash,
    /// The image's bytes.
    pub image: Option<&'r [u8]>,
    /// For a shape leaf: the shape's id and content.
    pub shape: Option<(Hash, &'r [u8])>,
    /// Whether the leaf orders something that the sealer has to do.
    pub order: bool,
}

impl<'a> TransactionCheck<'a> {
    /// Starts the check of transaction `xid`.
    pub fn new(xid: u64, incarnations: &'a [[u8; 16]], keys: &'a [([u8; 8], AuditMac)]) -> Self {
        TransactionCheck {
            xid,
            incarnations,
            keys,
            chain: TransactionChain::new(),
            closed: false,
            problem: None,
        }
    }

    /// Checks the records in `bytes` and hands every one that can be sealed to `seal`.
    pub fn records<E>(
        &mut self,
        bytes: &[u8],
        mut seal: impl FnMut(Sealable) -> Result<(), E>,
    ) -> Result<(), E> {
        for record in Records::new(bytes) {
            let Ok(record) = record else {
                self.note(
                    ViolationKind::UnreadableRecord,
                    "a journal record cannot be read",
                );
                return Ok(());
            };
            let Ok(leaf) = Leaf::parse(record.leaf) else {
                self.note(ViolationKind::UnreadableRecord, "a leaf cannot be read");
                continue;
            };
            let Some(place) = leaf.place() else {
                self.note(
                    ViolationKind::UnreadableRecord,
                    "a writer's journal holds a control leaf",
                );
                continue;
            };
            if place.0 != self.xid {
                self.note(
                    ViolationKind::UnreadableRecord,
                    "a leaf belongs to another transaction",
                );
                continue;
            }
            if place.1 != self.chain.count() {
                self.note(
                    ViolationKind::PositionGap,
                    &format!(
                        "leaf {} stands where leaf {} belongs",
                        place.1,
                        self.chain.count()
                    ),
                );
            }
            let shape = match &leaf {
                Leaf::Shape(shape) => Some((shape.shape_id(), shape.content)),
                _ => None,
            };
            let order = matches!(
                &leaf,
                Leaf::Prune(_)
                    | Leaf::Erase(_)
                    | Leaf::Retention(_)
                    | Leaf::KeyChange(_)
                    | Leaf::Restore(_)
            );
            let trailer = leaf.frame().and_then(|frame| frame.trailer);
            self.closed = trailer.is_some();
            if let Some(trailer) = &trailer {
                self.trailer(record.leaf, trailer);
            }
            let hash = leaf_hash(record.leaf);
            self.chain.push(&hash);
            seal(Sealable {
                leaf: record.leaf,
                hash,
                image: record.image,
                shape,
                order,
            })?;
        }
        Ok(())
    }

    fn trailer(&mut self, leaf: &[u8], trailer: &Trailer) {
        if !self.incarnations.contains(&trailer.incarnation) {
            self.note(
                ViolationKind::ForeignIncarnation,
                "the trailer belongs to another history",
            );
        }
        if trailer.chain != self.chain.digest() {
            self.note(
                ViolationKind::ChainWrong,
                "the trailer does not cover the leaves before it",
            );
        }
        let key = |id: &[u8; 8]| {
            let mut keys = self.keys.iter();
            keys.find(|(known, _)| known == id).map(|(_, mac)| mac)
        };
        match Trailer::check(leaf, key) {
            Some(MacCheck::Genuine) => {}
            Some(MacCheck::UnknownKey) => self.note(
                ViolationKind::TrailerMacWrong,
                "the trailer names an audit key that is not in the registry",
            ),
            Some(MacCheck::Forged) | None => self.note(
                ViolationKind::TrailerMacWrong,
                "the trailer was not made with the audit key",
            ),
        }
    }

    /// Notes that bytes of the transaction are missing or in the wrong place.
    pub fn note(&mut self, kind: ViolationKind, detail: &str) {
        self.problem
            .get_or_insert_with(|| (kind, detail.to_owned()));
    }

    /// Ends the check: None when the transaction is whole and genuine.
    pub fn finish(mut self) -> Option<(ViolationKind, String)> {
        if self.chain.count() == 0 {
            return self.problem;
        }
        if !self.closed {
            self.note(
                ViolationKind::TrailerMissing,
                "the transaction's last leaf has no trailer",
            );
        }
        self.problem
    }
}
