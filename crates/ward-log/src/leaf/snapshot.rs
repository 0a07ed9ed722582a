//! Snapshots: which transactions a block covers.

use crate::error::FormatError;
use crate::wire::Reader;

/// Which transactions had ended at a moment, as PostgreSQL's `pg_snapshot` says it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    /// Every transaction below had ended.
    pub xmin: u64,
    /// No transaction from here on had ended.
    pub xmax: u64,
    /// The transactions in between that were still running, ascending.
    pub xip: Vec<u64>,
}

impl Snapshot {
    /// Whether the transaction had ended.
    pub fn visible(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.xip.binary_search(&xid).is_err())
    }

    /// Appends the snapshot's encoding. The running transactions are sorted first.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut xip = std::borrow::Cow::Borrowed(&self.xip);
        if !xip.is_sorted_by(|a, b| a < b) {
            xip.to_mut().sort_unstable();
            xip.to_mut().dedup();
        }
        out.extend_from_slice(&self.xmin.to_be_bytes());
        out.extend_from_slice(&self.xmax.to_be_bytes());
        // bounded by the transactions a server can have open at a time
        out.extend_from_slice(&(xip.len() as u32).to_be_bytes());
        for xid in xip.iter() {
            out.extend_from_slice(&xid.to_be_bytes());
        }
    }

    /// Reads an encoded snapshot.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(bytes);
        let snapshot = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(snapshot)
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let xmin = reader.u64()?;
        let xmax = reader.u64()?;
        if xmax < xmin {
            return Err(FormatError::NotCanonical("snapshot xmax"));
        }
        let mut xip = Vec::new();
        for _ in 0..reader.u32()? {
            let xid = reader.u64()?;
            if xid < xmin || xid >= xmax || xip.last().is_some_and(|last| *last >= xid) {
                return Err(FormatError::NotCanonical("snapshot transaction list"));
            }
            xip.push(xid);
        }
        Ok(Self { xmin, xmax, xip })
    }
}
