//! How far the sealer has read each journal.

use super::store;
use crate::error::Result;
use crate::pg::journal::{ChunkId, Journal};
use ward_log::Snapshot;

/// The state of reading both journals.
pub struct Progress {
    marks: [Mark; 2],
    /// Chunks of transactions that had not finished when they were seen.
    pending: Vec<ChunkId>,
}

/// A place in a journal. It holds for one file of the journal only: VACUUM FULL, CLUSTER and
/// TRUNCATE give the table another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// First page to read.
    pub page: u32,
    /// The file, as pg_class.relfilenode.
    pub file: u32,
}

impl Progress {
    /// Where the last worker got.
    pub fn load() -> Result<Progress> {
        Ok(Progress {
            marks: store::marks()?,
            pending: Vec::new(),
        })
    }

    /// Whether chunks of unfinished transactions were seen.
    pub fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    /// The chunks of transactions that `after` sees as finished and `before` does not, ordered by
    /// transaction and position. They may belong to rolled-back subtransactions still.
    pub fn finished(
        &mut self,
        journals: &[Journal; 2],
        before: &Snapshot,
        after: &Snapshot,
    ) -> Vec<ChunkId> {
        for (journal, mark) in journals.iter().zip(&mut self.marks) {
            let file = journal.file();
            if mark.file != file || mark.page > journal.pages() {
                self.pending
                    .retain(|chunk| chunk.journal != journal.number());
                *mark = Mark { page: 0, file };
            }
            let closed = journal.closed_pages();
            journal.scan_any(mark.page, |id| {
                if !before.visible(id.xid) {
                    self.pending.push(id);
                }
            });
            mark.page = closed.saturating_sub(1);
        }
        // the last page is read again each time
        self.pending.sort_unstable();
        self.pending.dedup();
        let (finished, open) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|id| after.visible(id.xid));
        self.pending = open;
        finished
    }

    /// Stores where a restarted sealer must begin to read.
    pub fn save(&self) -> Result<()> {
        for (number, mark) in (0u8..).zip(&self.marks) {
            let oldest = self
                .pending
                .iter()
                .filter(|chunk| chunk.journal == number)
                .map(|chunk| chunk.tid.0)
                .min();
            let page = oldest.map_or(mark.page, |page| page.min(mark.page));
            store::put_mark(number, Mark { page, ..*mark })?;
        }
        Ok(())
    }
}

/// Whether every chunk in `journal`, from its first page on, belongs to a transaction that `sealed`
/// sees as finished. The last check before the journal is emptied, so it trusts no mark.
pub fn drained(journal: &Journal, sealed: &Snapshot) -> bool {
    let mut open = false;
    journal.scan_any(0, |id| open |= !sealed.visible(id.xid));
    !open
}
