//! `ward-verify check` on archives, which end before the log and say how they are connected with it.

mod scene;

use scene::common::{Builder, Log, Stored, insert, seen, small_log};
use scene::{ORIGIN, Ran, Scene, key};
use ward_log::{ExportHead, ExportHeader, ExportWriter, Hash, consistency_proof};

/// Ends with this block.
const LAST: u64 = 1;
/// The block whose tree the archive is connected with.
const HEAD: u64 = 2;

fn connected(log: &Log) -> ExportHead {
    let tile = |level: u8, index: u64| log.tiles.get(&(level, index)).cloned();
    let size = log.blocks[&HEAD].tree_size;
    ExportHead {
        size,
        root: log.blocks[&HEAD].root,
        consistency: consistency_proof(log.blocks[&LAST].tree_size, size, tile).unwrap(),
        orders: Vec::new(),
    }
}

fn archive(log: &Log, head: &ExportHead) -> String {
    let mut source = Stored(log);
    let header = ExportHeader {
        origin: ORIGIN.into(),
        first_block: 0,
        first_leaf: 0,
        blocks: LAST + 1,
        size: log.blocks[&LAST].tree_size,
        taken_at: 7,
    };
    let size = header.size;
    let mut writer = ExportWriter::new(header, Some(head), &[], &[], &mut source);
    for entry in log.entries.iter().filter(|entry| entry.index < size) {
        let image = entry.image.as_deref();
        writer.leaf(entry.index, &entry.leaf, image, &mut source);
    }
    writer.finish(&mut source);
    let mut text = String::new();
    while let Some(line) = writer.next_line() {
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// A log of the size of the small one, sound in itself, that never was.
fn other_log() -> Log {
    let mut builder = Builder::new();
    for block in 0..3 {
        for transaction in 0..3 {
            let xid = 100 + block * 10 + transaction;
            let rows: Vec<_> = (1..6).map(insert).collect();
            builder.transaction(xid, &rows);
        }
        builder.seal(seen(110 + block * 10));
    }
    assert_eq!(builder.log.size(), small_log().size());
    builder.log
}

fn check(scene: &Scene, archive: &str) -> Ran {
    let archive = scene.write("archive.ward", archive);
    let held = scene.checkpoint(&small_log(), HEAD);
    let key = key();
    scene.run(&[
        "check",
        &archive,
        "--partial",
        "--checkpoint",
        &held,
        "--key",
        &key,
    ])
}

#[test]
fn an_archive_is_anchored_by_the_checkpoint_it_is_connected_with() {
    let scene = Scene::new();
    let log = small_log();
    let ran = check(&scene, &archive(&log, &connected(&log)));
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
}

#[test]
fn an_archive_of_another_log_that_names_the_checkpoints_tree() {
    let scene = Scene::new();
    let other = other_log();
    let own = connected(&small_log());
    let proofs: [Vec<Hash>; 3] = [
        Vec::new(),
        own.consistency.clone(),
        connected(&other).consistency,
    ];
    for consistency in proofs {
        let head = ExportHead {
            consistency,
            ..connected(&small_log())
        };
        let ran = check(&scene, &archive(&other, &head));
        assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
        assert!(ran.out.starts_with("tampered"), "{}", ran.out);
    }
}

#[test]
fn an_archive_of_another_log_that_names_its_own_tree() {
    let scene = Scene::new();
    let other = other_log();
    let ran = check(&scene, &archive(&other, &connected(&other)));
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
}

/// The checkpoint of the whole log fits an archive of its first blocks: nobody must take that for the log.
#[test]
fn an_archive_in_the_place_of_the_whole_log() {
    let scene = Scene::new();
    let log = small_log();
    let archive = scene.write("trail.ward", &archive(&log, &connected(&log)));
    let (held, key) = (scene.checkpoint(&log, HEAD), key());
    let args = ["check", &archive, "--checkpoint", &held, "--key", &key];
    let ran = scene.run(&args);
    assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{}", ran.err);
    assert!(ran.err.contains("of a log that had 50"), "{}", ran.err);
    assert!(ran.err.contains("--partial"), "{}", ran.err);
    let page = scene.path("page.html").display().to_string();
    let mut args = [&args[..], &["--partial", "--out", &page]].concat();
    args[0] = "report";
    assert_eq!(scene.run(&args).code, 0);
    assert!(scene.read("page.html").contains("log that had 50 entries"));
}
