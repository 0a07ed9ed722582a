//! The writer of one transaction.

use super::*;

pub type LeafAndImage = (Vec<u8>, Option<Vec<u8>>);

/// Writes one transaction: the first entry holds the context, and the last has a trailer.
pub struct Writer {
    pub xid: u64,
    pub leaves: Vec<LeafAndImage>,
    /// When the next entry happens.
    pub occurred_at: i64,
    incarnation: [u8; 16],
    /// The context of the next entry, and where it lies if it was written.
    context: &'static [u8],
    context_at: Option<u32>,
}

impl Writer {
    pub fn new(xid: u64, incarnation: [u8; 16]) -> Self {
        Self {
            xid,
            leaves: Vec::new(),
            occurred_at: 1_000_000,
            incarnation,
            context: context(),
            context_at: None,
        }
    }

    fn position(&self) -> u32 {
        self.leaves.len() as u32
    }

    pub fn shape(&mut self, content: &[u8]) {
        let mut leaf = Vec::new();
        ShapeLeaf {
            xid: self.xid,
            position: self.position(),
            content,
        }
        .encode(&mut leaf);
        self.leaves.push((leaf, None));
    }

    /// Has the next entry hold this context.
    pub fn act_as(&mut self, context: &'static [u8]) {
        self.context = context;
        self.context_at = None;
    }

    pub fn entry(
        &mut self,
        image: Option<Vec<u8>>,
        encode: impl FnOnce(EntryFrame<'static>, &mut Vec<u8>),
    ) {
        let position = self.position();
        let context = match self.context_at {
            Some(at) => ContextPlace::Back(position - at),
            None => ContextPlace::Here(self.context),
        };
        self.context_at.get_or_insert(position);
        let frame = EntryFrame {
            xid: self.xid,
            position,
            occurred_at: self.occurred_at,
            context,
            trailer: None,
        };
        let mut leaf = Vec::new();
        encode(frame, &mut leaf);
        self.leaves.push((leaf, image));
    }

    pub fn event(&mut self) {
        self.entry(None, |frame, out| event(frame).encode(out));
    }

    /// Ends the transaction with what was written last. Entries may follow, and then it has to be ended again.
    pub fn close(&mut self, key: &[u8; 32]) {
        let (last, before) = self.leaves.split_last_mut().unwrap();
        let chain = chain(before.iter().map(|(leaf, _)| &leaf[..]));
        Trailer::close(
            &mut last.0,
            &chain,
            self.incarnation,
            KEY_ID,
            &AuditMac::new(key),
        )
        .unwrap();
    }
}
