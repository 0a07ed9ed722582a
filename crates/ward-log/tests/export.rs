//! Exports: what is read from one is what the database's own verification finds.

mod common;

use common::{Builder, Log, Stored, edit_row, insert, options, seen, small_log};
use proptest::prelude::*;
use ward_log::{
    BlockInfo, ExportError, ExportHeader, ExportSummary, ExportVerifier, ExportWriter, Hash, Leaf,
    LogSource, Operation, Options, Violation, empty_root,
};

type Leaves = Vec<(u64, Vec<u8>, Option<Vec<u8>>)>;

fn export(log: &Log, first_block: u64) -> Vec<String> {
    let mut source = Stored(log);
    let before = first_block.checked_sub(1).map(|n| log.blocks[&n].clone());
    let first_leaf = before.map_or(0, |row| row.tree_size);
    let (mut incarnations, mut shapes) = (Vec::new(), Vec::new());
    for entry in log.entries.iter().filter(|entry| entry.index < first_leaf) {
        match Leaf::parse(&entry.leaf) {
            Ok(Leaf::Incarnation(leaf)) => incarnations.push(leaf.incarnation),
            Ok(Leaf::Shape(leaf)) => shapes.push(leaf.content.to_vec()),
            _ => {}
        }
    }
    let header = ExportHeader {
        origin: "example.org/log".into(),
        first_block,
        first_leaf,
        blocks: log.blocks.keys().next_back().map_or(0, |last| last + 1),
        size: log.blocks.values().next_back().map_or(0, |b| b.tree_size),
        taken_at: 7,
    };
    let mut writer = ExportWriter::new(header, None, &incarnations, &shapes, &mut source);
    let mut lines = Vec::new();
    for entry in log.entries.iter().filter(|entry| entry.index >= first_leaf) {
        writer.leaf(
            entry.index,
            &entry.leaf,
            entry.image.as_deref(),
            &mut source,
        );
        lines.extend(std::iter::from_fn(|| writer.next_line()));
    }
    writer.finish(&mut source);
    lines.extend(std::iter::from_fn(|| writer.next_line()));
    lines
}

fn read(
    lines: &[String],
    options: Options,
) -> (Result<(ExportSummary, Leaves), ExportError>, Vec<Violation>) {
    let mut found = Vec::new();
    let mut report = |violation| found.push(violation);
    let mut verifier = ExportVerifier::new(options, &mut report);
    let mut leaves = Vec::new();
    let mut feed = || {
        for line in lines {
            verifier.line(line.as_bytes(), &mut |index, leaf, image| {
                leaves.push((index, leaf.to_vec(), image.map(<[u8]>::to_vec)));
            })?;
        }
        Ok(())
    };
    let fed = feed();
    let read = fed.and_then(|()| Ok((verifier.finish()?, leaves)));
    (read, found)
}

/// What verification of the export finds, which must be what direct verification finds.
fn found(log: &Log) -> Vec<Violation> {
    let (read, found) = read(&export(log, 0), options());
    let direct = log.verify_with(options());
    assert_eq!(found, direct.1);
    assert_eq!(read.unwrap().0.verified, direct.0);
    found
}

fn long_log() -> Log {
    let mut builder = Builder::new();
    for block in 0..40 {
        let rows: Vec<_> = (0..block * 3 + 3).map(insert).collect();
        builder.transaction(100 + block, &rows);
        builder.seal(seen(101 + block));
    }
    builder.log
}

#[test]
fn an_honest_export_verifies_and_holds_everything() {
    for log in [small_log(), long_log()] {
        assert_eq!(found(&log), vec![]);
        let (read, _) = read(&export(&log, 0), options());
        let (summary, leaves) = read.unwrap();
        assert_eq!(summary.header.origin, "example.org/log");
        assert_eq!(summary.verified.size, log.size());
        let stored = log.entries.iter().cloned();
        let stored: Leaves = stored.map(|e| (e.index, e.leaf, e.image)).collect();
        assert_eq!(leaves, stored);
    }
}

#[test]
fn tampering_is_found_in_the_export_as_in_the_database() {
    let log = long_log;
    for at in [1, 255, 256, 257, 700, 1500] {
        let mut altered = log();
        altered.entries[at].leaf[3] ^= 1;
        assert!(!found(&altered).is_empty());
        let mut deleted = log();
        deleted.entries.remove(at);
        assert!(!found(&deleted).is_empty());
        let mut moved = log();
        let entry = moved.entries.remove(at);
        moved.entries.push(entry);
        assert!(!found(&moved).is_empty());
        let mut gap = log();
        gap.entries.drain(at..at + 600);
        assert!(!found(&gap).is_empty());
    }
    for block in [0, 1, 5, 20, 39] {
        let mut gone = log();
        gone.blocks.remove(&block);
        assert!(!found(&gone).is_empty());
        for far in [0, u64::MAX / 2] {
            let mut lying = log();
            lying.blocks.get_mut(&block).unwrap().first_leaf = far;
            assert_eq!(found(&lying).is_empty(), (block, far) == (0, 0));
            let mut lying = log();
            lying.blocks.get_mut(&block).unwrap().root = [1; 32];
            assert!(!found(&lying).is_empty());
        }
    }
    for tile in [(0, 0), (0, 3), (0, 9), (1, 0)] {
        let mut gone = log();
        gone.tiles.remove(&tile);
        assert!(!found(&gone).is_empty());
        let mut altered = log();
        altered.tiles.get_mut(&tile).unwrap()[0] = [1; 32];
        assert!(!found(&altered).is_empty());
    }
    let mut edited = log();
    let at = edited.position_of(|leaf| matches!(leaf, Leaf::Row(_)));
    edit_row(&mut edited, at, |row| row.operation = Operation::Delete);
    edited.rebuild();
    assert!(!found(&edited).is_empty());
    let mut nothing = log();
    nothing.entries.clear();
    assert!(!found(&nothing).is_empty());
}

fn with_head(size: u64, root: Hash) -> Options {
    Options {
        heads: vec![(size, root)],
        ..options()
    }
}

#[test]
fn a_checkpoint_anchors_an_export_and_finds_a_rebuilt_one() {
    let log = small_log();
    let (size, root) = (log.blocks[&1].tree_size, log.blocks[&1].root);
    let (summary, violations) = read(&export(&log, 0), with_head(size, root));
    assert_eq!(violations, vec![]);
    assert_eq!(summary.unwrap().0.uncompared, Vec::<u64>::new());
    let mut cut = small_log();
    cut.entries.truncate(log.blocks[&0].tree_size as usize);
    cut.blocks.retain(|number, _| *number == 0);
    cut.rebuild();
    assert_eq!(read(&export(&cut, 0), options()).1, vec![]);
    let (_, violations) = read(&export(&cut, 0), with_head(size, root));
    assert_eq!(violations[0].kind.as_str(), "checkpoint_mismatch");
    let (_, violations) = read(&export(&log, 0), with_head(0, empty_root()));
    assert_eq!(violations, vec![]);
}

#[test]
fn a_part_of_a_log_verifies_from_a_block_on() {
    let log = long_log();
    for first in [1, 2, 17, 39] {
        let before = &log.blocks[&(first - 1)];
        let last = &log.blocks[&39];
        let lines = export(&log, first);
        let (summary, violations) = read(&lines, with_head(last.tree_size, last.root));
        assert_eq!(violations, vec![], "from block {first}");
        let summary = summary.unwrap().0;
        assert_eq!(
            summary.verified.leaves,
            last.tree_size - summary.header.first_leaf
        );
        // the head right before the part can be compared, earlier ones cannot
        let (_, violations) = read(&lines, with_head(before.tree_size, before.root));
        assert_eq!(violations, vec![]);
        let (_, violations) = read(&lines, with_head(before.tree_size, [1; 32]));
        assert_eq!(violations[0].kind.as_str(), "checkpoint_mismatch");
        let (summary, violations) = read(&lines, with_head(1, [1; 32]));
        assert_eq!(violations, vec![]);
        assert_eq!(summary.unwrap().0.uncompared, vec![1]);
    }
    let mut altered = long_log();
    altered.entries[1900].leaf[3] ^= 1;
    let (_, violations) = read(&export(&altered, 17), options());
    assert_eq!(violations[0].entry, Some(1900));
}

#[test]
fn a_large_image_goes_over_many_lines() {
    let mut log = small_log();
    let at = log.position_of(|leaf| matches!(leaf, Leaf::Row(_)));
    let image = vec![7; 3_000_000];
    edit_row(&mut log, at, |row| {
        row.image_commit = ward_log::image_commitment(&image);
    });
    log.entries[at as usize].image = Some(image.clone());
    log.rebuild();
    let lines = export(&log, 0);
    assert!(lines.iter().all(|line| line.len() < 800_000));
    let (read, _) = read(&lines, Options::default());
    assert_eq!(read.unwrap().1[at as usize].2.as_ref(), Some(&image));
}

#[test]
fn what_is_cut_short_or_damaged_is_no_verdict() {
    let lines = export(&small_log(), 0);
    for end in 0..lines.len() {
        let (read, _) = read(&lines[..end], options());
        assert_eq!(read.unwrap_err(), ExportError::Incomplete);
    }
    for (at, line) in lines.iter().enumerate() {
        let mut bent = lines.clone();
        // another letter, still base64
        let middle = line.len() / 2;
        let other = if &line[middle..=middle] == "A" {
            "B"
        } else {
            "A"
        };
        bent[at].replace_range(middle..=middle, other);
        assert!(read(&bent, options()).0.is_err(), "line {at}");
        let mut without = lines.clone();
        without.remove(at);
        assert!(read(&without, options()).0.is_err(), "line {at}");
        let mut twice = lines.clone();
        twice.insert(at, line.clone());
        assert!(read(&twice, options()).0.is_err(), "line {at}");
    }
}

#[test]
fn hostile_lines_are_refused() {
    let lines = export(&small_log(), 0);
    for (at, line) in [
        (0, "ward-export/v2"),
        (0, ""),
        (1, "log AA=="),
        (1, "block AA=="),
        (2, "log AA=="),
        (2, "unknown AA=="),
        (2, "tile AA=="),
        (2, "tile !"),
        (2, "tile"),
        (2, "leaves !"),
        (2, "shape AAAA"),
        (2, "gap AAAA"),
        (2, "head AAAA"),
        (2, "order AAAA"),
        (2, "incarnation AAAA"),
        (2, "end AAAA"),
        (2, "\u{0}\u{ff}"),
        // a record of 2^32 - 1 bytes
        (2, "leaves AAAAAAAAAAD/////"),
    ] {
        let mut hostile = lines.clone();
        hostile[at] = line.to_owned();
        assert!(read(&hostile, options()).0.is_err(), "{line}");
    }
    let long = format!("tile {}", "A".repeat(ward_log::MAX_EXPORT_LINE));
    assert!(
        read(&[lines[0].clone(), lines[1].clone(), long], options())
            .0
            .is_err()
    );
}

#[test]
fn an_export_that_hides_its_beginning_says_so() {
    let log = small_log();
    let mut source = Stored(&log);
    let header = ExportHeader {
        origin: String::new(),
        first_block: 0,
        first_leaf: 18,
        blocks: 3,
        size: 50,
        taken_at: 0,
    };
    let mut writer = ExportWriter::new(header, None, &[], &[], &mut source);
    writer.finish(&mut source);
    let lines: Vec<_> = std::iter::from_fn(|| writer.next_line()).collect();
    assert_eq!(
        read(&lines, options()).0.unwrap_err(),
        ExportError::BadStart
    );
}

/// One change of what is stored.
fn tamper(log: &mut Log, what: u8, a: usize, b: usize) {
    let size = log.entries.len();
    match what {
        0 => drop(log.entries.remove(a % size)),
        1 => {
            let leaf = &mut log.entries[a % size].leaf;
            let at = b % leaf.len();
            leaf[at] ^= 1;
        }
        2 => {
            let id = *log.tiles.keys().nth(a % log.tiles.len()).unwrap();
            log.tiles.remove(&id);
        }
        3 => {
            let id = *log.tiles.keys().nth(a % log.tiles.len()).unwrap();
            let hashes = log.tiles.get_mut(&id).unwrap();
            let at = b % hashes.len();
            hashes[at][0] ^= 1;
        }
        4 => drop(log.blocks.remove(&((a % log.blocks.len()) as u64))),
        5 => {
            let count = log.blocks.len();
            let row = log.blocks.values_mut().nth(a % count).unwrap();
            match b % 4 {
                0 => row.first_leaf = (b / 4 % 3000) as u64,
                1 => row.tree_size = (b / 4 % 3000) as u64,
                2 => row.root[3] ^= 1,
                _ => row.sealed_at += 1,
            }
        }
        _ => {
            let entry = log.entries[a % size].clone();
            log.entries.insert(b % size, entry);
            log.entries.sort_by_key(|entry| entry.index);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn nothing_found_in_the_database_is_lost_in_the_export(
        changes in prop::collection::vec((0u8..7, any::<u32>(), any::<u32>()), 1..4)
    ) {
        let mut log = long_log();
        for (what, a, b) in &changes {
            tamper(&mut log, *what, *a as usize, *b as usize);
        }
        let direct = log.verify_with(options()).1;
        let exported = read(&export(&log, 0), options()).1;
        prop_assert_eq!(direct.is_empty(), exported.is_empty());
        if changes.len() == 1 {
            prop_assert_eq!(direct, exported);
        }
    }
}

#[test]
fn a_source_without_anything_gives_an_export_that_fails() {
    struct Nothing;
    impl LogSource for Nothing {
        fn tile(&mut self, _: u8, _: u64) -> Option<Vec<Hash>> {
            None
        }
        fn block(&mut self, _: u64) -> Option<ward_log::BlockInfo> {
            None
        }
    }
    let header = ExportHeader {
        origin: String::new(),
        first_block: 0,
        first_leaf: 0,
        blocks: 3,
        size: 50,
        taken_at: 0,
    };
    let mut writer = ExportWriter::new(header, None, &[], &[], &mut Nothing);
    writer.finish(&mut Nothing);
    let lines: Vec<_> = std::iter::from_fn(|| writer.next_line()).collect();
    let (summary, violations) = read(&lines, options());
    assert_eq!(summary.unwrap().0.verified.size, 0);
    assert_eq!(violations[0].kind.as_str(), "size_mismatch");
}

#[test]
fn an_export_that_hides_that_it_is_a_part() {
    let log = small_log();
    let mut hidden = log.clone();
    // a block before the first, of no leaves
    let empty = ward_log::BlockInfo {
        tree_size: 0,
        root: empty_root(),
        ..log.blocks[&0].clone()
    };
    let shifted = log.blocks.values().cloned().map(|mut row| {
        row.block_no += 1;
        (row.block_no, row)
    });
    hidden.blocks = shifted.collect();
    hidden.blocks.insert(0, empty);
    let (read, _) = read(&export(&hidden, 1), options());
    assert_eq!(read.unwrap_err(), ExportError::BadStart);
}

#[test]
fn a_leaf_beyond_all_numbers_with_a_hash_stored_for_it() {
    let mut log = small_log();
    let mut entry = log.entries[5].clone();
    entry.index = u64::MAX;
    let hash = ward_log::leaf_hash(&entry.leaf);
    log.entries.push(entry);
    log.tiles.insert((0, u64::MAX >> 8), vec![hash; 256]);
    let found = log.found();
    assert_eq!(found, [("entry_unexpected", None, Some(u64::MAX))]);
}

#[test]
fn a_part_that_begins_beyond_all_numbers() {
    for (first_block, first_leaf) in [(u64::MAX, 18), (1, u64::MAX)] {
        let mut log = small_log();
        for block_no in [first_block - 1, first_block] {
            let row = BlockInfo {
                block_no,
                tree_size: first_leaf,
                ..log.blocks[&0].clone()
            };
            log.blocks.insert(block_no, row);
        }
        let mut source = Stored(&log);
        let header = ExportHeader {
            origin: String::new(),
            first_block,
            first_leaf,
            blocks: u64::MAX,
            size: 50,
            taken_at: 0,
        };
        let mut writer = ExportWriter::new(header, None, &[], &[], &mut source);
        for entry in log.entries.iter().skip(18) {
            let image = entry.image.as_deref();
            writer.leaf(entry.index, &entry.leaf, image, &mut source);
        }
        writer.finish(&mut source);
        let lines: Vec<_> = std::iter::from_fn(|| writer.next_line()).collect();
        assert_eq!(
            read(&lines, options()).0.unwrap_err(),
            ExportError::BadStart
        );
    }
}
