//! Which histories a trailer may name.

use std::collections::HashSet;

/// How many incarnations that nobody has read are taken for granted at a time. Where leaves are missing, each block may
/// have begun one; but only the last of them, and those of the few transactions that were open meanwhile, are still named
/// behind it.
const MAX_UNREAD: u32 = 64;

/// The incarnations that the log has had since transaction ids were last counted anew.
#[derive(Default)]
pub(super) struct Incarnations {
    known: HashSet<[u8; 16]>,
    /// The one that was asked for last, as nearly all trailers name the same.
    last: Option<[u8; 16]>,
    /// How many leaves that may have been incarnation leaves could not be read.
    unread: u32,
}

impl Incarnations {
    pub(super) fn add(&mut self, incarnation: [u8; 16]) {
        self.known.insert(incarnation);
    }

    /// A leaf that may have been an incarnation leaf cannot be read.
    pub(super) fn add_unread(&mut self) {
        self.unread = MAX_UNREAD.min(self.unread + 1);
    }

    /// A new xid space has begun: what was written before is not to come again in it, so that only trailers of its
    /// own incarnations count from here on.
    pub(super) fn begin_anew(&mut self, with: Option<[u8; 16]>) {
        *self = Self {
            known: with.into_iter().collect(),
            last: None,
            unread: u32::from(with.is_none()),
        };
    }

    /// Whether the log has this incarnation, or may have it in a leaf that could not be read.
    pub(super) fn has(&mut self, incarnation: &[u8; 16]) -> bool {
        if self.last.as_ref() == Some(incarnation) {
            return true;
        }
        if !self.known.contains(incarnation) {
            let Some(unread) = self.unread.checked_sub(1) else {
                return false;
            };
            self.unread = unread;
            self.known.insert(*incarnation);
        }
        self.last = Some(*incarnation);
        true
    }
}
