//! What a verifier makes of retention, prune and erase leaves.

mod common;

use common::{Builder, Entry, KEY, Log, encoded, frame, insert, one, options, seen};
use ward_log::{
    EntryFrame, EraseLeaf, ExportHead, ExportHeader, ExportOrder, ExportSummary, ExportVerifier,
    ExportWriter, Leaf, Operation, PRUNE_UNIT, PruneLeaf, RetentionLeaf, RowLeaf, Tree, Violation,
    consistency_proof, inclusion_proof, leaf_hash,
};

const FORGED: [u8; 32] = [8; 32];
const PERIOD: i64 = 1_000;

/// Block 0 sets the period and has more than a unit of leaves, block 1 a row; block 2, which is sealed `later`, is
/// for the order to prune them.
fn aged(later: i64) -> Builder {
    let mut builder = Builder::new();
    builder.order(100, &KEY, |frame, out| {
        RetentionLeaf {
            frame,
            period: PERIOD,
            effective_at: 0,
        }
        .encode(out);
    });
    let rows: Vec<_> = (0..1030).map(insert).collect();
    builder.transaction(101, &rows);
    builder.seal(seen(105));
    builder.transaction(110, &[insert(2000)]);
    builder.seal(seen(115));
    builder.later = later;
    builder
}

fn prune(builder: &Builder, frame: EntryFrame<'static>) -> PruneLeaf<'static> {
    PruneLeaf {
        frame,
        from: 0,
        to: PRUNE_UNIT,
        root: builder.root(PRUNE_UNIT),
        checkpoint_size: builder.log.size(),
        period: PERIOD,
    }
}

/// A log whose first leaves were ordered to be pruned as `change` says, and are missing.
fn pruned(
    later: i64,
    key: &[u8; 32],
    change: impl Fn(PruneLeaf<'static>) -> PruneLeaf<'static>,
) -> Log {
    let mut builder = aged(later);
    let leaf = change(prune(&builder, frame(120)));
    builder.order(120, key, |frame, out| {
        PruneLeaf { frame, ..leaf }.encode(out)
    });
    builder.seal(seen(125));
    builder.log.entries.drain(..PRUNE_UNIT as usize);
    builder.log
}

#[test]
fn pruned_leaves_may_be_missing() {
    let log = pruned(2_000, &KEY, |leaf| leaf);
    let (summary, found) = log.verify_with(options());
    assert_eq!(found, []);
    assert_eq!((summary.pruned_leaves, summary.pruned.len()), (1024, 1));
    let range = &summary.pruned[0];
    assert_eq!((range.from, range.to, range.missing), (0, 1024, 1024));
    let Ok(Leaf::Prune(_)) = Leaf::parse(&log.entries[(range.entry - 1024) as usize].leaf) else {
        panic!("{} is no prune leaf", range.entry)
    };
    // Checkpoints of the leaves that are gone are still compared.
    let block = log.blocks[&0].clone();
    let mut held = options();
    held.heads = vec![(block.tree_size, block.root)];
    assert_eq!(log.verify_with(held.clone()).1, []);
    held.heads[0].1[0] ^= 1;
    assert_eq!(log.verify_with(held).1.len(), 1);
}

#[test]
fn pruned_leaves_may_still_be_there() {
    let full = aged(2_000);
    let log = pruned(2_000, &KEY, |leaf| leaf);
    for kept in [1usize, 1000, 1023] {
        let mut log = log.clone();
        log.entries.insert(0, full.log.entries[kept].clone());
        let (summary, found) = log.verify_with(options());
        assert_eq!(found, [], "{kept}");
        assert_eq!(summary.pruned_leaves, 1023);
    }
}

#[test]
fn an_unrecorded_prune() {
    let mut builder = aged(2_000);
    builder.seal(seen(125));
    builder.log.entries.drain(..PRUNE_UNIT as usize);
    assert_eq!(builder.log.found(), one("entry_missing", 0, 0));
    // More than was ordered: the leaf behind the range.
    let mut log = pruned(2_000, &KEY, |leaf| leaf);
    log.entries.remove(0);
    assert_eq!(log.found(), one("entry_missing", 0, 1024));
}

#[test]
fn a_forged_prune_leaf() {
    // without the audit key
    let log = pruned(2_000, &FORGED, |leaf| leaf);
    let kinds: Vec<_> = log.found().iter().map(|found| found.0).collect();
    assert_eq!(kinds, ["trailer_forged", "entry_missing"]);
    // with it, against the rules
    let breaches: [(i64, fn(PruneLeaf<'static>) -> PruneLeaf<'static>); 3] = [
        (500, |leaf| leaf),
        (2_000, |leaf| PruneLeaf {
            root: [1; 32],
            ..leaf
        }),
        (2_000, |leaf| PruneLeaf {
            checkpoint_size: 5_000,
            ..leaf
        }),
    ];
    for (later, change) in breaches {
        let kinds: Vec<_> = pruned(later, &KEY, change)
            .found()
            .iter()
            .map(|found| found.0)
            .collect();
        assert_eq!(kinds, ["order_forged", "entry_missing"], "{later}");
    }
}

/// The last leaves of the range are there, so that nothing tells when they were sealed.
#[test]
fn a_prune_leaf_that_reaches_beyond_what_is_missing() {
    for (later, expected) in [
        (2_000, &[][..]),
        (500, &["order_forged", "entry_missing"][..]),
    ] {
        let mut builder = aged(0);
        let rows: Vec<_> = (0..4000).map(insert).collect();
        builder.transaction(116, &rows);
        builder.seal(seen(117));
        builder.later = later;
        let leaf = PruneLeaf {
            to: 4 * PRUNE_UNIT,
            root: builder.root(4 * PRUNE_UNIT),
            ..prune(&builder, frame(120))
        };
        builder.order(120, &KEY, |frame, out| {
            PruneLeaf { frame, ..leaf }.encode(out)
        });
        builder.seal(seen(125));
        builder.log.entries.drain(..1000);
        let kinds: Vec<_> = builder.log.found().iter().map(|found| found.0).collect();
        assert_eq!(kinds, expected, "{later}");
    }
}

/// What is missing before a range, in it and behind it, in one piece and in several.
#[test]
fn only_what_lies_in_the_range_is_accounted_for() {
    let mut builder = aged(0);
    let rows: Vec<_> = (0..4000).map(insert).collect();
    builder.transaction(116, &rows);
    builder.seal(seen(117));
    builder.later = 2_000;
    let leaf = PruneLeaf {
        from: PRUNE_UNIT,
        to: 3 * PRUNE_UNIT,
        root: builder.root(3 * PRUNE_UNIT),
        ..prune(&builder, frame(120))
    };
    builder.order(120, &KEY, |frame, out| {
        PruneLeaf { frame, ..leaf }.encode(out)
    });
    builder.seal(seen(125));
    let cases: [(&[u64], u64, &[u64]); 5] = [
        (&[], 2048, &[500, 3072]),
        (&[1023], 2048, &[500, 3072]),
        (&[1024, 2000, 3071], 2045, &[500, 3072]),
        (&[1023, 3072], 2048, &[500, 3073]),
        (&[2000, 3500], 2047, &[500, 3072, 3501]),
    ];
    for (kept, pruned, missing) in cases {
        let mut log = builder.log.clone();
        log.entries
            .retain(|entry| !(500..4000).contains(&entry.index) || kept.contains(&entry.index));
        let (summary, found) = log.verify_with(options());
        assert_eq!(summary.pruned_leaves, pruned, "{kept:?}");
        let found: Vec<_> = found.iter().filter_map(|found| found.entry).collect();
        assert_eq!(found, missing, "{kept:?}");
    }
}

#[test]
fn a_refused_prune_leaf_accounts_for_nothing() {
    let mut builder = aged(2_000);
    let leaf = prune(&builder, frame(120));
    builder.order(120, &KEY, |frame, out| {
        PruneLeaf { frame, ..leaf }.encode(out)
    });
    builder.refuse(120);
    builder.seal(seen(125));
    builder.log.entries.drain(..PRUNE_UNIT as usize);
    let kinds: Vec<_> = builder.log.found().iter().map(|found| found.0).collect();
    assert_eq!(kinds, ["recorded_violation", "entry_missing"]);
}

#[test]
fn a_prune_leaf_that_names_another_period() {
    // the period is set behind the leaves that are pruned, so that the verifier knows it
    let kinds = |effective_at: i64, period: i64| {
        let mut builder = aged(2_000);
        builder.order(117, &KEY, |frame, out| {
            RetentionLeaf {
                frame,
                period: 500,
                effective_at,
            }
            .encode(out);
        });
        let leaf = prune(&builder, frame(120));
        builder.order(120, &KEY, |frame, out| {
            PruneLeaf {
                frame,
                period,
                ..leaf
            }
            .encode(out);
        });
        builder.seal(seen(125));
        builder.log.entries.drain(..PRUNE_UNIT as usize);
        let found = builder.log.found();
        found.iter().map(|found| found.0).collect::<Vec<_>>()
    };
    assert_eq!(kinds(5_001_000, 500), [""; 0]);
    assert_eq!(kinds(5_001_000, 400), ["order_forged", "entry_missing"]);
    // Before that, the leaf that set the period was pruned: nothing can be said against any.
    assert_eq!(kinds(5_900_000, 400), [""; 0]);
}

fn erase(log: &Log, record_id: &str, reason: &str, frame: EntryFrame<'static>) -> Vec<u8> {
    let row = log.position_of(|leaf| matches!(leaf, Leaf::Row(_)));
    assert!(row > 0);
    encoded(|out| {
        EraseLeaf {
            frame,
            relation_oid: 16_400,
            schema: "public",
            table: "accounts",
            record_id,
            reason,
        }
        .encode(out);
    })
}

/// Two blocks with rows of records 1 and 2, and an order in the second block to erase record 1.
fn erased(key: &[u8; 32]) -> Log {
    let mut builder = Builder::new();
    builder.transaction(100, &[insert(1), insert(2)]);
    builder.seal(seen(105));
    builder.transaction(110, &[insert(1), insert(2)]);
    let log = builder.log.clone();
    builder.order(120, key, |frame, out| {
        out.extend(erase(&log, "1", "request 17", frame));
    });
    builder.transaction(121, &[insert(1)]);
    builder.seal(seen(125));
    builder.transaction(130, &[insert(1)]);
    builder.seal(seen(135));
    builder.log
}

/// The rows of a record, as they are stored.
fn rows<'a>(log: &'a mut Log, record: &'a str) -> impl Iterator<Item = &'a mut Entry> {
    log.entries.iter_mut().filter(move |entry| {
        matches!(Leaf::parse(&entry.leaf), Ok(Leaf::Row(row)) if row.record_id == Some(record))
    })
}

#[test]
fn erased_images_may_be_missing() {
    let mut log = erased(&KEY);
    assert_eq!(log.found(), []);
    // up to the end of the block that holds the leaf
    rows(&mut log, "1")
        .take(3)
        .for_each(|entry| entry.image = None);
    let (summary, found) = log.verify_with(options());
    assert_eq!(found, []);
    assert_eq!((summary.erased_images, summary.erasures), (3, 1));
    let record = &summary.erased[0];
    assert_eq!(
        (
            record.table.as_str(),
            record.record_id.as_str(),
            record.images
        ),
        ("accounts", "1", 3)
    );
    assert_eq!(record.reason, "request 17");
}

#[test]
fn erase_an_image_without_a_leaf() {
    for (record, at) in [("2", 0), ("2", 1), ("1", 3)] {
        let mut log = erased(&KEY);
        let entry = rows(&mut log, record).nth(at).unwrap();
        entry.image = None;
        let index = entry.index;
        let found = log.verify_with(options()).1;
        assert_eq!(found.len(), 1, "{record} {at}: {found:?}");
        assert_eq!(found[0].kind.as_str(), "image_missing");
        assert_eq!(found[0].entry, Some(index));
    }
}

#[test]
fn erase_the_record_with_the_empty_id_and_remove_rows_without_one() {
    let mut builder = Builder::new();
    let empty = (Operation::Insert, String::new(), None, Some("x".into()));
    builder.transaction(100, &[empty]);
    builder.transaction_with(101, &[insert(2)], |leaf| RowLeaf {
        record_id: None,
        ..leaf
    });
    builder.seal(seen(105));
    let log = builder.log.clone();
    builder.order(110, &KEY, |frame, out| {
        out.extend(erase(&log, "", "request 19", frame));
    });
    builder.seal(seen(115));
    rows(&mut builder.log, "").for_each(|entry| entry.image = None);
    assert_eq!(builder.log.found(), []);
    let keyless = builder
        .log
        .position_of(|leaf| matches!(leaf, Leaf::Row(row) if row.record_id.is_none()));
    assert!(builder.log.entries[keyless as usize].image.take().is_some());
    assert_eq!(builder.log.found(), one("image_missing", 0, keyless));
}

#[test]
fn a_forged_erase_leaf() {
    let mut log = erased(&FORGED);
    rows(&mut log, "1")
        .take(3)
        .for_each(|entry| entry.image = None);
    let kinds: Vec<_> = log.found().iter().map(|found| found.0).collect();
    assert_eq!(kinds, ["trailer_forged", "image_missing"]);
}

#[test]
fn an_erased_record_of_a_table_that_was_described_before_the_cut() {
    let mut builder = aged(2_000);
    let leaf = prune(&builder, frame(120));
    builder.order(120, &KEY, |frame, out| {
        PruneLeaf { frame, ..leaf }.encode(out)
    });
    let log = builder.log.clone();
    builder.order(121, &KEY, |frame, out| {
        out.extend(erase(&log, "2000", "request 18", frame));
    });
    builder.seal(seen(125));
    rows(&mut builder.log, "2000").for_each(|entry| entry.image = None);
    builder.log.entries.drain(..PRUNE_UNIT as usize);
    // The verifier has to be told what the table looked like.
    let kinds: Vec<_> = builder.log.found().iter().map(|found| found.0).collect();
    assert_eq!(kinds, ["image_missing"]);
    let mut found = Vec::new();
    let mut report = |violation| found.push(violation);
    let mut verifier =
        ward_log::Verifier::new(common::Stored(&builder.log), options(), &mut report);
    verifier.shape(&common::shape().encode_content().unwrap());
    for entry in &builder.log.entries {
        verifier.leaf(entry.index, &entry.leaf, entry.image.as_deref());
    }
    let size = verifier.finish(builder.log.blocks[&2].tree_size);
    assert_eq!((size.pruned_leaves, size.erased_images), (1024, 1));
    assert_eq!(found, []);
}

/// What an export of the log finds that ends with block `last`, connected with the whole log, and its summary.
fn archived(log: &Log, last: u64, beyond: &[u64]) -> (ExportSummary, Vec<&'static str>) {
    let mut tree = Tree::new();
    for entry in &log.entries {
        tree.append(leaf_hash(&entry.leaf));
    }
    let tile = |level: u8, index: u64| log.tiles.get(&(level, index)).cloned();
    let (end, size) = (log.blocks[&last].tree_size, log.size());
    let head = ExportHead {
        size,
        root: tree.root(),
        consistency: consistency_proof(end, size, tile).unwrap(),
        orders: beyond
            .iter()
            .map(|index| ExportOrder {
                index: *index,
                leaf: log.entries[*index as usize].leaf.clone(),
                inclusion: inclusion_proof(*index, size, tile).unwrap(),
            })
            .collect(),
    };
    export(log, last, Some(&head))
}

fn export(log: &Log, last: u64, head: Option<&ExportHead>) -> (ExportSummary, Vec<&'static str>) {
    let mut source = common::Stored(log);
    let header = ExportHeader {
        origin: "example.org/log".into(),
        first_block: 0,
        first_leaf: 0,
        blocks: last + 1,
        size: log.blocks[&last].tree_size,
        taken_at: 7,
    };
    let shape = common::shape().encode_content().unwrap();
    let mut writer = ExportWriter::new(header.clone(), head, &[], &[shape], &mut source);
    let first = log.entries[0].index;
    for step in (0..first).step_by(512).skip(1).chain([first]) {
        writer.gap(step, &mut source);
    }
    for entry in log.entries.iter().filter(|entry| entry.index < header.size) {
        let image = entry.image.as_deref();
        writer.leaf(entry.index, &entry.leaf, image, &mut source);
    }
    writer.finish(&mut source);
    let mut found = Vec::new();
    let mut report = |violation: Violation| found.push(violation.kind.as_str());
    let mut held = options();
    held.heads = head.iter().map(|head| (head.size, head.root)).collect();
    let mut verifier = ExportVerifier::new(held, &mut report);
    while let Some(line) = writer.next_line() {
        verifier.line(line.as_bytes(), &mut |_, _, _| {}).unwrap();
    }
    (verifier.finish().unwrap(), found)
}

#[test]
fn an_export_of_a_pruned_log() {
    let log = pruned(2_000, &KEY, |leaf| leaf);
    let (summary, found) = export(&log, 2, None);
    assert_eq!(found, [""; 0]);
    assert_eq!(summary.verified.pruned_leaves, 1024);
    assert_eq!(summary.verified, log.verify_with(options()).0);
}

#[test]
fn an_archive_ends_before_the_log_and_is_connected_with_it() {
    let mut log = erased(&KEY);
    let erase = log.position_of(|leaf| matches!(leaf, Leaf::Erase(_)));
    rows(&mut log, "1")
        .take(1)
        .for_each(|entry| entry.image = None);
    let (summary, found) = archived(&log, 0, &[erase]);
    assert_eq!(found, [""; 0]);
    assert_eq!(
        (summary.head, summary.uncompared.as_slice()),
        (Some(log.size()), &[][..])
    );
    assert_eq!(
        (summary.verified.blocks, summary.verified.erased_images),
        (1, 1)
    );
    // without the leaf that accounts for the image, and with one that does not
    assert_eq!(archived(&log, 0, &[]).1, ["image_missing"]);
    assert_eq!(
        archived(&log, 0, &[erase + 1]).1,
        ["order_forged", "image_missing"]
    );
    // with a leaf that is not of the log
    let row = log.position_of(|leaf| matches!(leaf, Leaf::Row(_)));
    let mut other = log.clone();
    other.entries[erase as usize].leaf.push(0);
    let kinds = archived(&other, 0, &[erase]).1;
    assert!(kinds.contains(&"image_missing"), "{kinds:?}");
    // of another log
    common::edit_row(&mut log, row, |row| row.frame.occurred_at += 1);
    log.rebuild();
    let mut forged = erased(&KEY);
    forged.entries = log.entries.clone();
    rows(&mut forged, "1")
        .take(1)
        .for_each(|entry| entry.image = None);
    assert!(!archived(&forged, 0, &[erase]).1.is_empty());
}
