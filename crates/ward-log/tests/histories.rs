//! Logs that went on elsewhere: with the same transaction ids, with others, and as attackers would have it.

mod common;

use common::{Builder, Found, INCARNATION, KEY, KEY_ID, insert, one, options, resign, seen};
use ward_log::{
    Beginning, ContextPlace, EntryFrame, Leaf, RestoreLeaf, Snapshot, ViolationKind, ViolationLeaf,
};

const HERE: [u8; 16] = [10; 16];

/// Blocks 0 and 1 in one cluster, with a transaction that the second closes the old space over; block 2 begins the new
/// space, and block 3 has a transaction with the id of one of block 0. Leaves: 0 to 3, 4 and 5, 6 and 7, 8 and 9.
fn transferred() -> Builder {
    let mut builder = Builder::new();
    builder.transaction(100, &[insert(1)]);
    builder.seal(Snapshot {
        xmin: 101,
        xmax: 110,
        xip: vec![101],
    });
    builder.transaction(115, &[insert(2)]);
    builder.seal(seen(116));
    builder.begin_anew(HERE, seen(90));
    builder.transaction(100, &[insert(3)]);
    builder.seal(seen(101));
    builder
}

#[test]
fn transaction_ids_are_counted_anew_in_another_cluster() {
    let builder = transferred();
    assert_eq!(builder.log.found(), vec![]);
    assert_eq!(builder.log.size(), 10);
    let Leaf::Incarnation(leaf) = builder.log.leaf(6) else {
        panic!()
    };
    assert_eq!(leaf.beginning(), Some(Beginning::Transferred));
}

#[test]
fn the_old_space_must_be_closed_first() {
    let mut builder = Builder::new();
    builder.transaction(100, &[insert(1)]);
    builder.seal(Snapshot {
        xmin: 101,
        xmax: 110,
        xip: vec![101],
    });
    builder.begin_anew(HERE, seen(90));
    assert_eq!(builder.log.found(), one("seal_mismatch", 1, 5));
}

#[test]
fn ids_cannot_be_counted_anew_without_an_incarnation() {
    let mut builder = Builder::new();
    builder.transaction(100, &[insert(1)]);
    builder.seal(seen(110));
    builder.begin(HERE, "copied", seen(110));
    let honest = builder.log.found();
    assert_eq!(honest, vec![]);
    builder.forget_snapshot();
    builder.transaction(100, &[insert(1)]);
    builder.seal(seen(111));
    assert_eq!(builder.log.found(), one("seal_mismatch", 2, 7));
}

#[test]
fn a_transaction_in_the_block_that_begins_a_space() {
    let mut builder = Builder::new();
    builder.transaction(100, &[insert(1)]);
    builder.seal(seen(110));
    builder.forget_snapshot();
    builder.begin_with(HERE, "transferred", 50, seen(60));
    let found = builder.log.found();
    assert!(
        found.contains(&("seal_mismatch", Some(1), Some(6))),
        "{found:?}"
    );
}

#[test]
fn a_transaction_of_the_old_space_written_again_in_the_new() {
    let mut builder = transferred();
    // genuine under the audit key, and its id is free again
    builder.incarnation = INCARNATION;
    builder.transaction(105, &[insert(9)]);
    builder.seal(seen(106));
    assert_eq!(builder.log.found(), one("incarnation_unknown", 4, 10));
}

#[test]
fn a_fork_keeps_the_former_incarnations_valid() {
    let mut builder = Builder::new();
    builder.transaction(100, &[insert(1)]);
    builder.seal(Snapshot {
        xmin: 101,
        xmax: 110,
        xip: vec![101],
    });
    // prepared before the promotion, committed after it
    builder.transaction(101, &[insert(2)]);
    builder.begin(
        HERE,
        "promoted",
        Snapshot {
            xmin: 101,
            xmax: 110,
            xip: vec![101],
        },
    );
    builder.seal(seen(120));
    assert_eq!(builder.log.found(), vec![]);
}

#[test]
fn a_declared_restore() {
    let mut builder = Builder::new();
    builder.transaction(100, &[insert(1)]);
    builder.seal(seen(110));
    builder.declare(200, 4);
    builder.seal(seen(201));
    builder.begin(HERE, "declared: a disk failed", seen(201));
    assert_eq!(builder.log.found(), vec![]);
}

#[test]
fn a_declaration_forged_without_the_audit_key() {
    let mut builder = Builder::new();
    builder.transaction(100, &[insert(1)]);
    builder.seal(seen(110));
    builder.declare(200, 4);
    builder.seal(seen(201));
    let mut log = builder.log;
    resign(&mut log, 4, 4, INCARNATION, (KEY_ID, &[8; 32]));
    log.rebuild();
    assert_eq!(log.found(), one("trailer_forged", 1, 4));
    assert_ne!(KEY, [8; 32]);
}

#[test]
fn a_declaration_without_its_context() {
    let mut builder = Builder::new();
    builder.order(100, &KEY, |frame, out| {
        RestoreLeaf {
            frame: EntryFrame {
                context: ContextPlace::Back(1),
                ..frame
            },
            restored_size: 6,
            reason: "x",
        }
        .encode(out);
    });
    builder.seal(seen(101));
    assert_eq!(builder.log.found(), one("context_broken", 0, 1));
}

#[test]
fn an_order_that_was_refused_is_a_recorded_violation() {
    let mut builder = Builder::new();
    builder.declare(200, 6);
    builder.violation(ViolationLeaf {
        xid: 200,
        kind: ViolationKind::OrderRefused,
        detail: "no block before ends with 6 leaves",
        at: 1,
    });
    builder.seal(seen(201));
    assert_eq!(builder.log.found(), one("recorded_violation", 0, 2));
}

#[test]
fn heads_that_the_log_contradicts_are_named() {
    let log = transferred().log;
    let found = |heads: Vec<(u64, [u8; 32])>| {
        let mut options = options();
        options.heads = heads;
        let (summary, found) = log.verify_with(options);
        let kinds: Found = found
            .iter()
            .map(|v| (v.kind.as_str(), v.block, v.entry))
            .collect();
        (summary.contradicted, kinds)
    };
    let right = (6, log.blocks[&1].root);
    assert_eq!(found(vec![right]), (vec![], vec![]));
    let mismatch = |block| ("checkpoint_mismatch", block, None);
    let (wrong, within, beyond) = ((6, [1; 32]), (5, [2; 32]), (99, [3; 32]));
    assert_eq!(
        found(vec![right, wrong]),
        (vec![wrong], vec![mismatch(Some(1))])
    );
    assert_eq!(found(vec![within]), (vec![within], vec![mismatch(None)]));
    assert_eq!(
        found(vec![beyond, right, wrong]),
        (vec![wrong, beyond], vec![mismatch(Some(1)), mismatch(None)])
    );
}

#[test]
fn the_words_of_a_beginning() {
    for (reason, word) in [
        ("created", Some(Beginning::Created)),
        ("copied", Some(Beginning::Copied)),
        ("promoted", Some(Beginning::Promoted)),
        (
            "recovered: before 2026-11-22 07:00:00+00",
            Some(Beginning::Recovered),
        ),
        ("transferred", Some(Beginning::Transferred)),
        ("declared: a: b", Some(Beginning::Declared)),
        ("declared:x", None),
        ("Declared", None),
        ("", None),
        (": created", None),
    ] {
        let leaf = ward_log::IncarnationLeaf {
            incarnation: HERE,
            system_identifier: 1,
            database_oid: 1,
            timeline: 1,
            previous_size: 0,
            previous_root: [0; 32],
            reason,
            at: 0,
        };
        assert_eq!(leaf.beginning(), word, "{reason}");
    }
    assert_eq!(Beginning::Declared.reason(Some("x")), "declared: x");
    assert_eq!(Beginning::Copied.reason(None), "copied");
}

#[test]
fn behind_many_missing_blocks_only_so_many_unknown_incarnations_are_taken_for_granted() {
    let mut builder = Builder::new();
    for xid in 100..200 {
        builder.transaction(xid, &[insert(xid)]);
        builder.seal(seen(xid + 1));
    }
    let first = builder.log.blocks[&1].first_leaf;
    let end = builder.log.size();
    for number in 0..70 {
        let xid = 200 + u64::from(number);
        builder.incarnation = [number; 16];
        builder.transaction(xid, &[insert(xid)]);
        builder.transaction(xid + 100, &[insert(xid)]);
    }
    builder.seal(seen(400));
    let kept = |index| index < first || index >= end;
    builder.log.entries.retain(|entry| kept(entry.index));
    let found = builder.log.found();
    let unknown = found
        .iter()
        .filter(|found| found.0 == "incarnation_unknown");
    // each of them is named twice, and INCARNATION is one that is known
    assert_eq!(unknown.count(), 2 * (70 - 64 - 1));
    assert_eq!(found.len(), 2 * (70 - 64 - 1) + 1, "{found:?}");
}
