//! Honest logs raise no alarm.

mod common;

use common::{Builder, KEY, RowSpec, Stored, insert, options, seen};
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use ward_log::{Leaf, Operation, Options, Snapshot, Verifier};

fn row(rng: &mut TestRng) -> RowSpec {
    let text = |rng: &mut TestRng| match rng.random_range(0..4) {
        0 => None,
        1 => Some(String::new()),
        n => Some("x".repeat(n * 40)),
    };
    let operation = [
        Operation::Insert,
        Operation::Update,
        Operation::Delete,
        Operation::Truncate,
        Operation::Snapshot,
    ][rng.random_range(0..5)];
    (
        operation,
        rng.random_range(0..1000u32).to_string(),
        text(rng),
        text(rng),
    )
}

/// A transaction of some rows, perhaps with events, a change of context and entries behind a trailer.
fn transaction(builder: &mut Builder, xid: u64, rng: &mut TestRng) {
    let mut writer = builder.writer(xid);
    for _ in 0..rng.random_range(1..4) {
        if rng.random_ratio(1, 3) {
            let context = [common::context(), common::other_context()];
            writer.act_as(context[rng.random_range(0..2)]);
        }
        let rows: Vec<_> = (0..rng.random_range(1..4)).map(|_| row(rng)).collect();
        builder.rows(&mut writer, &rows);
        if rng.random_ratio(1, 4) {
            writer.event();
        }
        if rng.random_ratio(1, 10) {
            writer.close(&KEY);
            builder.rows(&mut writer, &rows);
        }
    }
    writer.close(&KEY);
    builder.commit(writer);
}

/// 10,000 transactions that start and end in any order, sealed in 300 blocks; some stay open across many.
fn random_log() -> &'static common::Log {
    static LOG: LazyLock<common::Log> = LazyLock::new(make_random_log);
    &LOG
}

fn make_random_log() -> common::Log {
    let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[42; 32]);
    let mut builder = Builder::new();
    let mut open: Vec<u64> = Vec::new();
    let mut next = 1000;
    // the shape leaf goes with whatever ends first: rows before it in the block name it too
    while next < 11_000 || !open.is_empty() {
        for _ in 0..rng.random_range(0..60) {
            if next < 11_000 {
                open.push(next);
                next += 1;
            }
        }
        for _ in 0..rng.random_range(0..60) {
            if !open.is_empty() {
                let xid = open.swap_remove(rng.random_range(0..open.len()));
                transaction(&mut builder, xid, &mut rng);
            }
        }
        let mut xip = open.clone();
        xip.sort_unstable();
        let xmin = xip.first().copied().unwrap_or(next);
        builder.seal(Snapshot {
            xmin,
            xmax: next,
            xip,
        });
    }
    builder.log
}

#[test]
fn ten_thousand_transactions() {
    let log = random_log();
    let (summary, found) = log.verify_with(options());
    assert_eq!(found, vec![]);
    assert_eq!(summary.size, log.size());
    assert_eq!(summary.leaves, log.size());
    assert_eq!(summary.blocks, log.blocks.len() as u64);
    assert_eq!(summary.root, log.blocks.values().next_back().unwrap().root);
    let leaves: Vec<_> = log
        .entries
        .iter()
        .map(|e| Leaf::parse(&e.leaf).unwrap())
        .collect();
    let count = |wanted: fn(&Leaf<'_>) -> bool| leaves.iter().filter(|leaf| wanted(leaf)).count();
    let rows = count(|leaf| matches!(leaf, Leaf::Row(_)));
    let events = count(|leaf| matches!(leaf, Leaf::Event(_)));
    assert!(events > 1000);
    assert_eq!(summary.entries, (rows + events) as u64);
    // contexts that changed, trailers that were superseded, and transactions of one leaf
    let ends = |leaf: &Leaf<'_>| leaf.frame().is_some_and(|frame| frame.trailer.is_some());
    assert!(count(|leaf| leaf.context().is_some()) > 11_000);
    assert!(leaves.iter().filter(|leaf| ends(leaf)).count() > 11_000);
    let alone = |leaf: &&Leaf<'_>| ends(leaf) && leaf.context().is_some();
    assert!(leaves.iter().filter(alone).count() > 500);
    assert!(summary.size > 40_000 && summary.blocks > 200);
    // heads from checkpoints of every block hold too
    let heads = log.blocks.values().map(|b| (b.tree_size, b.root)).collect();
    assert_eq!(log.verify_with(Options { heads, ..options() }).1, vec![]);
}

#[test]
fn from_any_block_on() {
    let log = random_log();
    let shape = ward_log::Shape::shape_id(&common::shape().encode_content().unwrap());
    for start in (0..log.blocks.len() as u64).step_by(90) {
        let mut found = Vec::new();
        let mut report = |violation| found.push(violation);
        let mut verifier = Verifier::new(Stored(log), options(), &mut report);
        let first = verifier.start_at(start, [shape], vec![common::INCARNATION]);
        for entry in &log.entries[first as usize..] {
            verifier.leaf(entry.index, &entry.leaf, entry.image.as_deref());
        }
        let summary = verifier.finish(log.size());
        assert_eq!(found, vec![], "from block {start}");
        assert_eq!(summary.root, log.blocks.values().next_back().unwrap().root);
        assert_eq!(summary.blocks, log.blocks.len() as u64 - start);
    }
}

#[test]
fn one_edit_anywhere_is_one_violation_at_its_place() {
    let log = random_log();
    let mut runner = TestRunner::new(Config::with_cases(6));
    let any = (0..log.size(), any::<prop::sample::Index>());
    runner
        .run(&any, |(at, bit)| {
            let mut log = log.clone();
            let leaf = &mut log.entries[at as usize].leaf;
            let bit = bit.index(leaf.len() * 8);
            leaf[bit / 8] ^= 1 << (bit % 8);
            let block = log.blocks.values().find(|b| b.tree_size > at).unwrap();
            let expected = vec![("entry_altered", Some(block.block_no), Some(at))];
            prop_assert_eq!(log.found(), expected);
            Ok(())
        })
        .unwrap();
}

#[test]
fn empty_log() {
    let log = common::Log::default();
    let (summary, found) = log.verify_with(options());
    assert_eq!((found, summary.size), (vec![], 0));
    assert_eq!(summary.root, ward_log::empty_root());
}

#[test]
fn blocks_without_transactions() {
    let mut builder = Builder::new();
    builder.seal(seen(100));
    builder.seal(seen(100));
    builder.transaction(100, &[insert(1)]);
    builder.seal(seen(101));
    assert_eq!(builder.log.found(), vec![]);
}

#[test]
fn a_shape_sent_by_a_later_transaction_of_the_same_block() {
    let mut builder = Builder::new();
    // 101 committed first and sent the shape; 100 saw it and did not
    builder.transaction(101, &[insert(1)]);
    builder.transaction(100, &[insert(2)]);
    builder.seal(seen(102));
    assert_eq!(builder.log.found(), vec![]);
}

#[test]
fn without_audit_keys_macs_are_not_checked() {
    let log = common::small_log();
    assert_eq!(log.verify_with(Options::default()).1, vec![]);
}

#[test]
fn a_size_that_is_not_the_logs_is_reported() {
    let log = common::small_log();
    for size in [34, 51, 1000] {
        let mut found = Vec::new();
        let mut report = |violation: ward_log::Violation| found.push(violation.kind.as_str());
        let mut verifier = Verifier::new(Stored(&log), options(), &mut report);
        for entry in &log.entries {
            verifier.leaf(entry.index, &entry.leaf, entry.image.as_deref());
        }
        verifier.finish(size);
        assert_eq!(found, vec!["size_mismatch"]);
    }
}
