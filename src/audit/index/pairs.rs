//! What the index says about an entry, as one number, and how such numbers are laid out in pages.
//!
//! A pair is 31 bits of the record id's hash, 12 bits of the shape's id, and the 20 bits of the leaf's
//! index that tell the leaves of the largest run apart. Pairs of a record are thus neighbours, whatever table the
//! record is of. Hash and tag only choose which leaves are read: what they find is compared in full.

use sha2::{Digest, Sha256};
use std::ops::Range;
use ward_log::{Hash, record_of};

const TAG_BITS: u32 = 12;

/// Tells the leaves of the largest run apart.
const PLACE_BITS: u32 = 20;

/// Pairs per page: a row of the index then fills a page of PostgreSQL's.
const PAGE: usize = 1000;

/// Behind the last pair.
pub const END: u64 = i64::MAX as u64;

/// A part of the log with an index of its own: 2^12, 2^16 or 2^20 leaves from a multiple of that on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Run {
    /// 0 to 2, by size.
    pub level: u8,
    /// Which of its size, from 0.
    pub number: u64,
}

impl Run {
    /// How many runs become one of the next level.
    pub const FAN: u64 = 16;
    /// The highest level.
    pub const TOP: u8 = 2;
    /// Leaves of the smallest run.
    pub const LEAST: u64 = 1 << 12;
    /// Leaves of the largest run.
    pub const MOST: u64 = 1 << PLACE_BITS;

    /// The run of `level` that holds leaf `index`.
    pub fn of(level: u8, index: u64) -> Run {
        Run {
            level,
            number: index >> Run::bits(level),
        }
    }

    /// The largest runs, up to level `largest`, that a range is made of; its ends are multiples of the smallest run.
    pub fn within(range: Range<u64>, largest: u8) -> impl Iterator<Item = Run> {
        let mut next = range.start;
        std::iter::from_fn(move || {
            let fits = |level: &u8| {
                let leaves = Run::of(*level, next).leaves();
                leaves.start == next && leaves.end <= range.end
            };
            let level = (0..=largest).rev().find(fits)?;
            let run = Run::of(level, next);
            next = run.leaves().end;
            Some(run)
        })
    }

    fn bits(level: u8) -> u32 {
        12 + 4 * u32::from(level)
    }

    /// Its leaves.
    pub fn leaves(self) -> Range<u64> {
        let bits = Run::bits(self.level);
        let first = self.number.saturating_mul(1 << bits);
        first..first.saturating_add(1 << bits)
    }

    /// The run of the next level that it becomes part of.
    pub fn parent(self) -> Run {
        Run {
            level: self.level + 1,
            number: self.number / Run::FAN,
        }
    }

    /// The runs that it is made of.
    pub fn children(self) -> impl Iterator<Item = Run> {
        let (level, first) = (self.level - 1, self.number * Run::FAN);
        (first..first + Run::FAN).map(move |number| Run { level, number })
    }

    /// The leaf that a pair of this run speaks of.
    pub fn leaf(self, pair: u64) -> u64 {
        (self.leaves().start / Run::MOST * Run::MOST) | (pair % Run::MOST)
    }
}

/// The pairs that a record can have, whatever its table: all numbers in this range, ends included.
pub fn of_record(id: &[u8]) -> (u64, u64) {
    let low = hash(id) << (TAG_BITS + PLACE_BITS);
    (low, low | ((1 << (TAG_BITS + PLACE_BITS)) - 1))
}

fn hash(id: &[u8]) -> u64 {
    let digest = Sha256::digest(id);
    let first = digest.first_chunk().copied().unwrap_or_default();
    u64::from(u32::from_be_bytes(first) >> 1)
}

fn tag(shape: &Hash) -> u64 {
    let first = shape.first_chunk().copied().unwrap_or_default();
    u64::from(u16::from_be_bytes(first)) >> (16 - TAG_BITS)
}

/// The pair of leaf `index`, if it is about a record.
pub fn pair(index: u64, leaf: &[u8]) -> Option<u64> {
    let (shape, id) = record_of(leaf)?;
    let place = index % Run::MOST;
    Some((hash(id) << (TAG_BITS + PLACE_BITS)) | (tag(shape) << PLACE_BITS) | place)
}

/// A set of shapes, as far as pairs can tell them.
pub struct Tags(Vec<bool>);

impl Tags {
    /// The tags of these shapes.
    pub fn of<'s>(shapes: impl Iterator<Item = &'s Hash>) -> Tags {
        let mut set = vec![false; 1 << TAG_BITS];
        for shape in shapes {
            set[tag(shape) as usize] = true;
        }
        Tags(set)
    }

    /// Whether the pair may be of one of the shapes.
    pub fn hold(&self, pair: u64) -> bool {
        self.0[((pair >> PLACE_BITS) & ((1 << TAG_BITS) - 1)) as usize]
    }
}

/// A row of the index: pairs of one run, from `fence` up to but not including `upto`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// No smaller pair is on the page; 0 on the first.
    pub fence: u64,
    /// The next page's fence; [`END`] on the last.
    pub upto: u64,
    /// The pairs, ascending, 8 bytes each, the highest first.
    pub pairs: Vec<u8>,
}

/// The pages of a run with these pairs, which ascend. There is always one.
pub fn pages(pairs: &[u64]) -> Vec<Page> {
    let count = pairs.len().div_ceil(PAGE).max(1);
    let first_of = |page: usize| pairs.get(page * PAGE).copied().unwrap_or(END);
    let page = |number: usize| {
        let until = pairs.len().min((number + 1) * PAGE);
        Page {
            fence: if number == 0 { 0 } else { first_of(number) },
            upto: first_of(number + 1),
            pairs: pairs[number * PAGE..until]
                .iter()
                .flat_map(|pair| pair.to_be_bytes())
                .collect(),
        }
    };
    (0..count).map(page).collect()
}

/// Reads pages that follow one another; appends their pairs. False when they are not as [`pages`] makes
/// them, or do not reach from `low` to `high`.
pub fn read(pages: &[Page], low: u64, high: u64, pairs: &mut Vec<u64>) -> bool {
    let begin = pages.first().is_some_and(|page| page.fence <= low);
    let end = pages
        .last()
        .is_some_and(|page| page.upto > high || page.upto == END);
    let joined = pages.windows(2).all(|two| two[0].upto == two[1].fence);
    if !(begin && end && joined) {
        return false;
    }
    for page in pages {
        let (numbers, rest) = page.pairs.as_chunks::<8>();
        let mut last = None;
        for number in numbers {
            let pair = u64::from_be_bytes(*number);
            let within = pair >= page.fence && (pair < page.upto || page.upto == END);
            if !within || last.is_some_and(|last| last >= pair) {
                return false;
            }
            last = Some(pair);
            pairs.push(pair);
        }
        if !rest.is_empty() {
            return false;
        }
    }
    true
}
