//! The writer of an honest log.

use super::*;

/// Writes an honest log.
pub struct Builder {
    pub log: Log,
    tree: Tree,
    snapshot: Snapshot,
    shape_sent: bool,
    pending: Vec<(u64, Vec<LeafAndImage>)>,
    salt: u64,
    /// Added to the times of sealing.
    pub later: i64,
    /// The current incarnation.
    pub incarnation: [u8; 16],
    begins: Option<String>,
}

impl Builder {
    pub fn new() -> Self {
        Self {
            log: Log::default(),
            tree: Tree::new(),
            snapshot: Snapshot::default(),
            shape_sent: false,
            pending: Vec::new(),
            salt: 0,
            later: 0,
            incarnation: INCARNATION,
            begins: None,
        }
    }

    /// A block that holds the beginning of an incarnation and nothing else.
    pub fn begin(&mut self, incarnation: [u8; 16], reason: &str, snapshot_after: Snapshot) {
        self.incarnation = incarnation;
        self.begins = Some(reason.to_owned());
        let pending = std::mem::take(&mut self.pending);
        self.seal(snapshot_after);
        self.pending = pending;
    }

    /// A block that holds the beginning of an incarnation and a transaction.
    pub fn begin_with(&mut self, incarnation: [u8; 16], reason: &str, xid: u64, after: Snapshot) {
        self.incarnation = incarnation;
        self.begins = Some(reason.to_owned());
        self.transaction(xid, &[insert(xid)]);
        self.seal(after);
    }

    /// Has the next seal leaf say that nothing was sealed before.
    pub fn forget_snapshot(&mut self) {
        self.snapshot = Snapshot::default();
    }

    /// A violation leaf behind the last transaction.
    pub fn violation(&mut self, violation: ViolationLeaf<'_>) {
        let mut leaf = Vec::new();
        violation.encode(&mut leaf);
        self.pending.last_mut().unwrap().1.push((leaf, None));
    }

    /// The same where transaction ids are counted anew.
    pub fn begin_anew(&mut self, incarnation: [u8; 16], snapshot_after: Snapshot) {
        self.snapshot = Snapshot::default();
        self.begin(incarnation, "transferred", snapshot_after);
    }

    /// A transaction that declares a restore.
    pub fn declare(&mut self, xid: u64, restored_size: u64) {
        self.order(xid, &KEY, |frame, out| {
            ward_log::RestoreLeaf {
                frame,
                restored_size,
                reason: "a disk failed",
            }
            .encode(out);
        });
    }

    /// A transaction of one leaf, signed with `key`.
    pub fn order(
        &mut self,
        xid: u64,
        key: &[u8; 32],
        encode: impl FnOnce(EntryFrame<'static>, &mut Vec<u8>),
    ) {
        let mut writer = self.writer(xid);
        writer.occurred_at = 4_999_999 + self.later;
        writer.entry(None, encode);
        writer.close(key);
        self.commit(writer);
    }

    /// A transaction of the current incarnation, which [`commit`](Self::commit) takes.
    pub fn writer(&self, xid: u64) -> Writer {
        Writer::new(xid, self.incarnation)
    }

    /// Has a transaction sealed with the next block.
    pub fn commit(&mut self, writer: Writer) {
        self.pending.push((writer.xid, writer.leaves));
    }

    /// What the sealer says about the transaction before.
    pub fn refuse(&mut self, xid: u64) {
        let mut leaf = Vec::new();
        ViolationLeaf {
            xid,
            kind: ViolationKind::OrderRefused,
            detail: "the leaves are too young",
            at: 3,
        }
        .encode(&mut leaf);
        self.pending.last_mut().unwrap().1.push((leaf, None));
    }

    /// The root over the first leaves.
    pub fn root(&self, size: u64) -> Hash {
        let mut tree = Tree::new();
        for entry in &self.log.entries[..size as usize] {
            tree.append(leaf_hash(&entry.leaf));
        }
        tree.root()
    }

    fn row_image(&mut self, row: &RowSpec) -> Option<Vec<u8>> {
        if row.0 == Operation::Truncate {
            return None;
        }
        self.salt += 1;
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&self.salt.to_be_bytes());
        let mut image = Vec::new();
        let mut writer = ImageWriter::new(&mut image, &salt);
        let side = |writer: &mut ImageWriter<'_>, value: &Option<String>| {
            writer.value(1, row.1.as_bytes());
            match value {
                Some(text) => writer.value(2, text.as_bytes()),
                None => writer.null(2),
            }
        };
        if !matches!(row.0, Operation::Insert | Operation::Snapshot) {
            writer.begin_old();
            side(&mut writer, &row.2);
        }
        if row.0 != Operation::Delete {
            writer.begin_new();
            side(&mut writer, &row.3);
        }
        writer.finish().unwrap();
        Some(image)
    }

    /// A transaction, to be sealed with the next block.
    pub fn transaction(&mut self, xid: u64, rows: &[RowSpec]) {
        self.transaction_with(xid, rows, |leaf| leaf);
    }

    pub fn transaction_with(
        &mut self,
        xid: u64,
        rows: &[RowSpec],
        change: impl FnMut(RowLeaf<'_>) -> RowLeaf<'_>,
    ) {
        let mut writer = self.writer(xid);
        self.rows_with(&mut writer, rows, change);
        writer.close(&KEY);
        self.commit(writer);
    }

    /// Rows of a transaction, behind the shape where none was written before.
    pub fn rows(&mut self, writer: &mut Writer, rows: &[RowSpec]) {
        self.rows_with(writer, rows, |leaf| leaf);
    }

    fn rows_with(
        &mut self,
        writer: &mut Writer,
        rows: &[RowSpec],
        mut change: impl FnMut(RowLeaf<'_>) -> RowLeaf<'_>,
    ) {
        let content = shape().encode_content().unwrap();
        if !self.shape_sent {
            self.shape_sent = true;
            writer.shape(&content);
        }
        for row in rows {
            let image = self.row_image(row);
            let image_commit = image.as_deref().map_or([0; 32], image_commitment);
            writer.entry(image, |frame, out| {
                let leaf = RowLeaf {
                    frame,
                    operation: row.0,
                    shape: Shape::shape_id(&content),
                    image_commit,
                    record_id: Some(&row.1),
                };
                change(leaf).encode(out);
            });
        }
    }

    /// A transaction of two events, of which the second says where its context is.
    pub fn event(&mut self, xid: u64, second: ContextPlace<'static>) {
        let mut writer = self.writer(xid);
        for place in [None, Some(second)] {
            writer.entry(None, |frame, out| {
                let context = place.unwrap_or(frame.context);
                event(EntryFrame { context, ..frame }).encode(out);
            });
        }
        writer.close(&KEY);
        self.commit(writer);
    }

    /// A transaction that the sealer finds fault with: without its trailer, and the violation leaf after it.
    pub fn faulty_transaction(&mut self, xid: u64, rows: &[RowSpec]) {
        self.transaction(xid, rows);
        let leaves = &mut self.pending.last_mut().unwrap().1;
        remove_trailer(&mut leaves.last_mut().unwrap().0);
        let mut leaf = Vec::new();
        ViolationLeaf {
            xid,
            kind: ViolationKind::TrailerMissing,
            detail: "the journal holds no trailer",
            at: 3,
        }
        .encode(&mut leaf);
        leaves.push((leaf, None));
    }

    fn append(&mut self, leaf: Vec<u8>, image: Option<Vec<u8>>) {
        self.tree.append(leaf_hash(&leaf));
        self.log.entries.push(Entry {
            index: self.log.size(),
            leaf,
            image,
        });
    }

    /// Seals what is visible in the snapshot.
    pub fn seal(&mut self, snapshot_after: Snapshot) {
        let block_no = self.log.blocks.len() as u64;
        let (previous_size, previous_root) = (self.tree.size(), self.tree.root());
        let begins = self.begins.take();
        let begins = begins.or_else(|| (block_no == 0).then(|| "created".to_owned()));
        if let Some(reason) = begins {
            let mut leaf = Vec::new();
            IncarnationLeaf {
                incarnation: self.incarnation,
                system_identifier: 1,
                database_oid: 5,
                timeline: 1,
                previous_size,
                previous_root,
                reason: &reason,
                at: 1,
            }
            .encode(&mut leaf);
            self.append(leaf, None);
        }
        let pending = std::mem::take(&mut self.pending);
        let (mut ready, later): (Vec<_>, Vec<_>) = pending
            .into_iter()
            .partition(|(xid, _)| snapshot_after.visible(*xid));
        self.pending = later;
        ready.sort_by_key(|(xid, _)| *xid);
        for (leaf, image) in ready.into_iter().flat_map(|(_, leaves)| leaves) {
            self.append(leaf, image);
        }
        let sealed_at = 5_000_000 + block_no as i64 + self.later;
        let mut leaf = Vec::new();
        SealLeaf {
            block_no,
            first_leaf: previous_size,
            previous_size,
            previous_root,
            snapshot_before: std::mem::replace(&mut self.snapshot, snapshot_after.clone()),
            snapshot_after: snapshot_after.clone(),
            sealed_at,
        }
        .encode(&mut leaf);
        self.append(leaf, None);
        let mut snapshot = Vec::new();
        snapshot_after.encode(&mut snapshot);
        let block = BlockInfo {
            block_no,
            first_leaf: previous_size,
            tree_size: self.tree.size(),
            root: self.tree.root(),
            snapshot,
            sealed_at,
        };
        self.log.blocks.insert(block_no, block);
        for tile in self.tree.take_dirty() {
            self.log.tiles.insert((tile.level, tile.index), tile.hashes);
        }
    }
}
