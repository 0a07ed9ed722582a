//! What a prune leaves in place because entries behind the range need its context: without its image, and accounted for
//! by the prune leaf like what is missing.

mod common;

use common::{Builder, Found, KEY, Log, Stored, insert, one, options, other_context, seen, shape};
use ward_log::{
    EraseLeaf, PRUNE_UNIT, PruneLeaf, RetentionLeaf, Shape, Summary, Verifier, Violation,
};

const PERIOD: i64 = 1_000;

/// What the second block's transaction is like.
#[derive(Clone, Copy, Default)]
struct Plan {
    /// Before this row of the large transaction the context changes.
    changed: Option<u64>,
    /// The last block orders the range to be pruned.
    prune: bool,
    /// The last block orders that this record be erased.
    erase: Option<u64>,
}

/// The large transaction begins here, with the second block, and ends far behind the range.
const HOLDER: u64 = 5;

/// Block 0: incarnation, retention, shape and a row, seal. Block 1: rows 0 to 1,499 of one transaction, of which the first
/// holds the context, and the seal. Block 2: the orders.
fn log(plan: Plan) -> Log {
    let mut builder = Builder::new();
    builder.order(100, &KEY, |frame, out| {
        RetentionLeaf {
            frame,
            period: PERIOD,
            effective_at: 0,
        }
        .encode(out);
    });
    builder.transaction(101, &[insert(9_999)]);
    builder.seal(seen(110));
    assert_eq!(builder.log.size(), HOLDER);
    let rows: Vec<_> = (0..1500).map(insert).collect();
    let mut writer = builder.writer(110);
    let (before, behind) = rows.split_at(plan.changed.unwrap_or(0) as usize);
    builder.rows(&mut writer, before);
    if plan.changed.is_some() {
        writer.act_as(other_context());
    }
    builder.rows(&mut writer, behind);
    writer.close(&KEY);
    builder.commit(writer);
    builder.seal(seen(120));
    builder.later = 2_000;
    if plan.prune {
        let (root, checkpoint_size) = (builder.root(PRUNE_UNIT), builder.log.size());
        builder.order(120, &KEY, |frame, out| {
            PruneLeaf {
                frame,
                from: 0,
                to: PRUNE_UNIT,
                root,
                checkpoint_size,
                period: PERIOD,
            }
            .encode(out);
        });
    }
    if let Some(record) = plan.erase {
        let shape = shape();
        builder.order(121, &KEY, |frame, out| {
            EraseLeaf {
                frame,
                relation_oid: shape.relation_oid,
                schema: &shape.schema,
                table: &shape.table,
                record_id: &record.to_string(),
                reason: "request 20",
            }
            .encode(out);
        });
    }
    builder.seal(seen(130));
    assert_eq!(builder.log.found(), []);
    builder.log
}

/// As a prune leaves it: the range is gone, but for one leaf that has no image any more.
fn taken(mut log: Log, left: u64) -> Log {
    log.entries
        .retain(|entry| entry.index == left || entry.index >= PRUNE_UNIT);
    log.entries[0].image = None;
    log
}

fn places(found: &[Violation]) -> Found {
    let place = |found: &Violation| (found.kind.as_str(), found.block, found.entry);
    found.iter().map(place).collect()
}

const PRUNED: Plan = Plan {
    changed: None,
    prune: true,
    erase: None,
};

#[test]
fn the_last_entry_with_a_context_may_be_left_without_its_image() {
    let (summary, found) = taken(log(PRUNED), HOLDER).verify_with(options());
    assert_eq!(found, []);
    assert_eq!(summary.pruned_leaves, PRUNE_UNIT - 1);
    assert_eq!(summary.erased_images, 0);
    // it is still verified
    let mut altered = taken(log(PRUNED), HOLDER);
    altered.entries[0].leaf[30] ^= 1;
    assert_eq!(altered.found(), one("entry_altered", 1, HOLDER));
    let mut imaged = taken(log(PRUNED), HOLDER);
    imaged.entries[0].image = Some(vec![0; 17]);
    assert_eq!(imaged.found(), one("image_altered", 1, HOLDER));
    // the same where the context has changed since: now another entry is the last
    let changed = Plan {
        changed: Some(700),
        ..PRUNED
    };
    assert_eq!(taken(log(changed), HOLDER + 700).found(), []);
}

#[test]
fn what_is_left_in_place_may_follow_what_is_there_still() {
    // a prune that has not reached the leaves before it yet
    let mut log = log(PRUNED);
    log.entries
        .retain(|entry| entry.index <= HOLDER || entry.index >= PRUNE_UNIT);
    log.entries[HOLDER as usize].image = None;
    assert_eq!(log.found(), []);
}

#[test]
fn nothing_is_left_in_place_without_a_prune_leaf() {
    let plan = Plan {
        prune: false,
        ..PRUNED
    };
    let expected = [
        one("entry_missing", 0, 0),
        one("image_missing", 1, HOLDER),
        one("entry_missing", 1, HOLDER + 1),
    ]
    .concat();
    let mut found = taken(log(plan), HOLDER).found();
    found.sort_by_key(|found| found.2);
    assert_eq!(found, expected);
    // nor by one whose transaction is not sound
    let mut forged = log(PRUNED);
    let at = forged.position_of(|leaf| matches!(leaf, ward_log::Leaf::Prune(_)));
    let last = forged.entries[at as usize].leaf.len() - 1;
    forged.entries[at as usize].leaf[last] ^= 1;
    forged.rebuild();
    let mut found = taken(forged, HOLDER).found();
    found.sort_by_key(|found| found.2);
    let expected = [expected, one("trailer_forged", 2, at)].concat();
    assert_eq!(found, expected);
}

#[test]
fn only_an_entry_with_a_context_is_left_without_its_image() {
    // in the range, and the first behind it
    let log_ = log(PRUNED);
    for left in [HOLDER + 1, 700, PRUNE_UNIT - 1] {
        assert_eq!(
            taken(log_.clone(), left).found(),
            one("image_missing", 1, left)
        );
    }
    let mut behind = taken(log_, HOLDER);
    behind.entries[1].image = None;
    assert_eq!(behind.found(), one("image_missing", 1, PRUNE_UNIT));
    // and with a context, but behind the range
    let changed = Plan {
        changed: Some(PRUNE_UNIT - HOLDER),
        ..PRUNED
    };
    let mut behind = taken(log(changed), HOLDER);
    assert_eq!(behind.entries[1].index, PRUNE_UNIT);
    behind.entries[1].image = None;
    assert_eq!(behind.found(), one("image_missing", 1, PRUNE_UNIT));
}

/// What is found from a block on, by one who was told what the table looks like.
fn from_block(log: &Log, block: u64) -> (Summary, Found) {
    let content = shape().encode_content().unwrap();
    let mut found = Vec::new();
    let mut report = |violation| found.push(violation);
    let mut verifier = Verifier::new(Stored(log), options(), &mut report);
    verifier.shape(&content);
    let shapes = [Shape::shape_id(&content)];
    let first = verifier.start_at(block, shapes, vec![common::INCARNATION]);
    for entry in log.entries.iter().filter(|entry| entry.index >= first) {
        verifier.leaf(entry.index, &entry.leaf, entry.image.as_deref());
    }
    let last = log.blocks.values().next_back().unwrap();
    let summary = verifier.finish(last.tree_size);
    let mut found = places(&found);
    found.sort_by_key(|found| found.2);
    (summary, found)
}

#[test]
fn an_erase_of_its_record_accounts_for_its_image() {
    let gone = [
        one("entry_missing", 0, 0),
        one("entry_missing", 1, HOLDER + 1),
    ]
    .concat();
    let erased = |prune, record| {
        let plan = Plan {
            prune,
            erase: Some(record),
            ..PRUNED
        };
        let (summary, found) = from_block(&taken(log(plan), HOLDER), 0);
        (summary.erased_images, summary.pruned_leaves, found)
    };
    assert_eq!(erased(false, 0), (1, 0, gone.clone()));
    // the record of another row does not
    let mut unaccounted = [gone, one("image_missing", 1, HOLDER)].concat();
    unaccounted.sort_by_key(|found| found.2);
    assert_eq!(erased(false, 1), (0, 0, unaccounted));
    // the prune leaf alone is enough, and comes first here
    assert_eq!(erased(true, 0), (0, PRUNE_UNIT - 1, vec![]));
    assert_eq!(erased(true, 1), (0, PRUNE_UNIT - 1, vec![]));
}

#[test]
fn a_part_of_the_log_that_begins_with_what_was_left_in_place() {
    let (summary, found) = from_block(&taken(log(PRUNED), HOLDER), 1);
    assert_eq!(found, []);
    assert_eq!(summary.pruned_leaves, PRUNE_UNIT - HOLDER - 1);
    let plan = Plan {
        prune: false,
        ..PRUNED
    };
    let expected = [
        one("image_missing", 1, HOLDER),
        one("entry_missing", 1, HOLDER + 1),
    ];
    let (_, found) = from_block(&taken(log(plan), HOLDER), 1);
    assert_eq!(found, expected.concat());
}

/// The transaction's trailer is all that tells where its first leaves were pruned, and its contexts cannot be compared.
#[test]
fn what_lies_behind_the_range_is_still_authenticated() {
    let log = taken(log(PRUNED), HOLDER);
    let last = log.blocks[&1].tree_size - 2;
    for byte in [20, 60, 200] {
        let mut forged = log.clone();
        let entry = forged.entries.iter_mut().find(|entry| entry.index == last);
        let leaf = &mut entry.unwrap().leaf;
        let at = byte.min(leaf.len() - 1);
        leaf[at] ^= 1;
        // as one who rebuilds would have it: only the hashes above are made to fit
        rehash(&mut forged);
        let found = forged.found();
        assert!(
            found.contains(&("trailer_forged", Some(1), Some(last))),
            "{byte}: {found:?}"
        );
    }
}

/// Makes tiles and the block rows' roots fit the leaves that are there and the stored hashes of the others, as far as
/// no seal leaf has to change.
fn rehash(log: &mut Log) {
    let size = log.blocks.values().next_back().unwrap().tree_size;
    let mut hashes: Vec<_> = (0..size)
        .map(|at| log.tiles[&(0, at >> 8)][(at & 0xFF) as usize])
        .collect();
    for entry in &log.entries {
        hashes[entry.index as usize] = ward_log::leaf_hash(&entry.leaf);
    }
    let mut tree = ward_log::Tree::new();
    for (at, hash) in (1..).zip(hashes) {
        tree.append(hash);
        for row in log.blocks.values_mut().filter(|row| row.tree_size == at) {
            row.root = tree.root();
        }
    }
    log.tiles.clear();
    for tile in tree.take_dirty() {
        log.tiles.insert((tile.level, tile.index), tile.hashes);
    }
}
