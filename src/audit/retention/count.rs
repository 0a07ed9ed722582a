//! How many images an order would erase.

use super::perform::{ByShape, Targets};
use crate::audit::find::{self, Finder};
use crate::audit::index::{self, Found, Tags};
use crate::audit::store;

/// How many images of these records are sealed and there. The record index says which leaves may be about them, and those
/// that it says nothing about are read; where it does not fit the leaves, all are. What carries an order out never
/// relies on the index: it proves nothing, and an image that it does not know would stay.
pub fn count(targets: &Targets) -> u64 {
    let size = store::last_block().map_or(0, |block| block.tree_size);
    let shapes = targets.by_shape();
    let tags = Tags::of(shapes.ids());
    let mut images = 0;
    for record in targets.records() {
        let found = index::look_up(record, &tags, size);
        let Some(through) = through_index(record, found, &shapes) else {
            return within(0..size, |index, leaf| shapes.order(index, leaf).is_some());
        };
        images += through;
    }
    images
}

/// The images of a record; None when the index says what the leaves do not.
fn through_index(record: &str, found: Found, shapes: &ByShape) -> Option<u64> {
    if found.damaged {
        return None;
    }
    let mut finder = Finder::new();
    let mut images = 0;
    for id in found.leaves {
        pgrx::check_for_interrupts!();
        match finder.leaf(id) {
            Some((leaf, image)) if index::fits(id, &leaf, record) => {
                images += u64::from(image.is_some() && shapes.order(id, &leaf).is_some());
            }
            None if !find::is_there(id..id + 1) => {}
            _ => return None,
        }
    }
    let of_record = |index, leaf: &[u8]| {
        index::fits(index, leaf, record) && shapes.order(index, leaf).is_some()
    };
    let unknown = found.unknown.into_iter();
    Some(images + unknown.map(|range| within(range, of_record)).sum::<u64>())
}

/// How many leaves of a range have an image and are wanted.
fn within(range: std::ops::Range<u64>, wanted: impl Fn(u64, &[u8]) -> bool) -> u64 {
    let mut images = 0;
    find::leaves(range, |id, leaf, image| {
        images += u64::from(image.is_some() && wanted(id, leaf));
    });
    images
}
