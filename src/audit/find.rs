//! Reading some leaves of the log, without reading the rest.

use super::store;
use crate::pg::leaf_search::Search;
use crate::pg::segment;
use pgrx::pg_sys;
use std::ops::Range;

/// The longest row that is kept in memory for the next leaf.
const KEPT: usize = 64 * 1024;

/// Finds leaves, one after the other. What it has opened and read helps to find the next one.
pub struct Finder {
    /// Leaves per segment, as a power of two.
    bits: u32,
    /// A segment's number; it is open for searching.
    segment: Option<(u64, Search)>,
    /// The row read last: the numbers of its leaves, and its records.
    row: Range<u64>,
    records: Vec<u8>,
}

/// A leaf and its image.
pub type Stored = (Vec<u8>, Option<Vec<u8>>);

impl Finder {
    /// For the log as the active snapshot sees it.
    pub fn new() -> Finder {
        Finder {
            bits: store::segment_bits(),
            segment: None,
            row: 0..0,
            records: Vec::new(),
        }
    }

    /// A leaf, if it is stored.
    pub fn leaf(&mut self, index: u64) -> Option<Stored> {
        if !self.row.contains(&index) {
            self.read(index);
        }
        let mut found = None;
        let mut visit = |_, leaf: &[u8], image: Option<&[u8]>| {
            found.get_or_insert_with(|| (leaf.to_vec(), image.map(<[u8]>::to_vec)));
        };
        if self.row.contains(&index) {
            segment::each_leaf(self.row.start, &self.records, |id, leaf, image| {
                if id == index {
                    visit(id, leaf, image);
                }
            });
        } else {
            leaves(index..index.saturating_add(1), visit);
        }
        found
    }

    /// Reads the row that should hold a leaf, unless it is too long to be kept.
    fn read(&mut self, index: u64) {
        self.row = 0..0;
        let number = index >> self.bits;
        if self
            .segment
            .as_ref()
            .is_none_or(|(open, _)| *open != number)
        {
            self.segment = None;
            self.segment = open(number, self.bits).map(|(_, search)| (number, search));
        }
        let Some((_, search)) = &mut self.segment else {
            return;
        };
        let Some(place) = search.place_of(index) else {
            return;
        };
        search.read(place, |first, records| {
            records.with(|records| {
                if records.len() <= KEPT {
                    self.records.clear();
                    self.records.extend_from_slice(records);
                    self.row = first..segment::each_leaf(first, records, |_, _, _| {});
                }
            });
        });
    }
}

/// Whether a segment is there that holds some of these leaves.
pub fn is_there(leaves: Range<u64>) -> bool {
    let last = leaves.end.saturating_sub(1).max(leaves.start);
    let bits = store::segment_bits();
    let mut segments = leaves.start >> bits..=last >> bits;
    segments.any(|number| store::segment_table(number).is_some())
}

fn open(number: u64, bits: u32) -> Option<(pg_sys::Oid, Search)> {
    let table = store::segment_table(number)?;
    let first = number << bits;
    let search = Search::open(table, first..first + (1 << bits));
    Some((table, search))
}

/// Calls `visit` with index, leaf and image of the stored leaves of a range, in order of their indexes.
/// Segments that were pruned are passed over. Reads what is stored, as the active snapshot sees it;
/// whether that is what was sealed is for a verification to say.
pub fn leaves(range: Range<u64>, mut visit: impl FnMut(u64, &[u8], Option<&[u8]>)) {
    let bits = store::segment_bits();
    let mut next = range.start;
    while next < range.end {
        let number = next >> bits;
        let end = range.end.min((number + 1) << bits);
        if let Some((table, mut search)) = open(number, bits) {
            let place = search.place_of(next);
            drop(search);
            let done = in_order(table, place, next..end, &mut visit);
            if done < end {
                sorted(table, done..end, &mut visit);
            }
        }
        next = end;
    }
}

/// Reads rows as they lie, from the one that should hold the first leaf on, as long as each follows the one
/// before. Returns the leaf that was missing, or the range's end.
fn in_order(
    table: pg_sys::Oid,
    place: Option<(u32, u16)>,
    range: Range<u64>,
    visit: &mut impl FnMut(u64, &[u8], Option<&[u8]>),
) -> u64 {
    let Some(place) = place else {
        return range.start;
    };
    let mut next = range.start;
    let mut begun = false;
    segment::scan_from(table, place, |stored| {
        let first = stored.entry_id as u64;
        if (begun && first != next) || first > next {
            return false;
        }
        begun = true;
        let after = segment::each_leaf(first, stored.records, |id, leaf, image| {
            if id >= next && id < range.end {
                visit(id, leaf, image);
            }
        });
        next = next.max(after);
        next < range.end
    });
    next.min(range.end)
}

/// Reads the whole segment for the leaves of a range: somebody has put its rows out of order, or taken
/// some out, or VACUUM FULL has begun in their middle.
fn sorted(
    table: pg_sys::Oid,
    range: Range<u64>,
    visit: &mut impl FnMut(u64, &[u8], Option<&[u8]>),
) {
    let mut places = Vec::new();
    segment::scan(table, |stored| {
        let first = stored.entry_id as u64;
        if first < range.end {
            let mut after = first;
            if first < range.start {
                after = segment::each_leaf(first, stored.records, |_, _, _| {});
            }
            if first >= range.start || after > range.start {
                places.push((first, stored.place));
            }
        }
        true
    });
    places.sort_unstable();
    let mut next = range.start;
    for (first, place) in places {
        segment::scan_from(table, place, |stored| {
            let after = segment::each_leaf(first, stored.records, |id, leaf, image| {
                if id >= next && id < range.end {
                    visit(id, leaf, image);
                }
            });
            next = next.max(after);
            false
        });
    }
}
