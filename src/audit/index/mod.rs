//! The index of the sealed log by record: which leaves are about a record.
//!
//! The sealer writes it beside the segments. It is made of leaves alone, can be made again from them, and
//! proves nothing: verification never reads it, and whoever reads the trail through it reads the leaves it
//! points to and compares them in full. Where it has no say, because a part is missing or does not fit
//! together, the leaves themselves are read.
//!
//! It is log-structured: a sorted run for every 2^12 leaves, of which 16 become a run of 2^16, of which
//! 16 become that of a segment. So nothing that is stored is ever changed, and a record is looked up in
//! at most 30 runs more than there are full segments.

mod build;
mod lock;
mod pairs;
mod runs;
mod verify;
mod writer;

pub use build::some as build_some;
pub use pairs::Tags;
pub use writer::IndexWriter;

use crate::audit::find;
use pairs::Run;
use std::collections::BTreeSet;
use std::ops::Range;

/// Up to so many leaves, the last ones, have no index yet.
pub const LEAST: u64 = Run::LEAST;

pgrx::extension_sql_file!(
    "../../../sql/audit_index.sql",
    name = "ward_audit_index",
    requires = [
        "ward_audit_proofs",
        build::rebuild_audit_index,
        verify::verify_audit_index
    ]
);

/// What the index says about a record.
pub struct Found {
    /// Leaves that are probably about it, ascending.
    pub leaves: Vec<u64>,
    /// Leaves that the index says nothing about.
    pub unknown: Vec<Range<u64>>,
    /// Whether a part of the index does not fit together; its leaves are among the unknown ones.
    pub damaged: bool,
}

/// Looks up a record of tables with the shapes of `tags`, in a log of `size` leaves.
pub fn look_up(record: &str, tags: &Tags, size: u64) -> Found {
    let (low, high) = pairs::of_record(record.as_bytes());
    let mut found = Found {
        leaves: Vec::new(),
        unknown: Vec::new(),
        damaged: false,
    };
    let mut covered = Vec::new();
    // Which runs there are follows from the size: the largest that fit, or those that one is made of while it is not
    // made yet. To ask the table for them all would meet every run that was joined and is not vacuumed yet.
    let mut wanted: BTreeSet<Run> = Run::within(0..size - size % LEAST, Run::TOP).collect();
    while !wanted.is_empty() {
        for (run, pages) in runs::look_up(&wanted, low, high) {
            wanted.remove(&run);
            let mut pairs = Vec::new();
            if !pairs::read(&pages, low, high, &mut pairs) {
                found.damaged = true;
                continue;
            }
            covered.push(run.leaves());
            let fitting = pairs
                .into_iter()
                .filter(|pair| (low..=high).contains(pair) && tags.hold(*pair));
            found.leaves.extend(fitting.map(|pair| run.leaf(pair)));
        }
        let (there, pruned): (Vec<Run>, Vec<Run>) = wanted
            .into_iter()
            .partition(|run| find::is_there(run.leaves()));
        covered.extend(pruned.into_iter().map(Run::leaves));
        let divisible = there.into_iter().filter(|run| run.level > 0);
        wanted = divisible.flat_map(Run::children).collect();
    }
    found.leaves.sort_unstable();
    found.leaves.dedup();
    found.unknown = gaps(covered, size);
    found
}

/// Whether the leaf is one that a look-up of the record may find.
pub fn fits(index: u64, leaf: &[u8], record: &str) -> bool {
    let (low, high) = pairs::of_record(record.as_bytes());
    pairs::pair(index, leaf).is_some_and(|pair| (low..=high).contains(&pair))
}

/// What of `0..end` no range covers.
fn gaps(mut covered: Vec<Range<u64>>, end: u64) -> Vec<Range<u64>> {
    covered.sort_unstable_by_key(|range| range.start);
    let mut found = Vec::new();
    let mut next = 0;
    for range in covered {
        if range.start.min(end) > next {
            found.push(next..range.start.min(end));
        }
        next = next.max(range.end);
    }
    if next < end {
        found.push(next..end);
    }
    found
}
