//! What was left out of an export, and who says that it was removed.

mod scene;

use scene::common::{Builder, KEY, Log, Stored, insert, seen, shape};
use scene::{ORIGIN, Ran, Scene, key};
use ward_log::{
    EraseLeaf, ExportHead, ExportHeader, ExportOrder, ExportWriter, Leaf, consistency_proof,
    inclusion_proof,
};

fn erase(builder: &mut Builder, xid: u64, key: &[u8; 32]) {
    let shape = shape();
    builder.order(xid, key, |frame, out| {
        EraseLeaf {
            frame,
            relation_oid: shape.relation_oid,
            schema: &shape.schema,
            table: &shape.table,
            record_id: "1",
            reason: "request 17",
        }
        .encode(out);
    });
    builder.seal(seen(xid + 1));
}

/// A log whose second block orders that the values of record 1 be erased, and does not say so wrongly.
fn log(key: &[u8; 32]) -> Log {
    let mut builder = Builder::new();
    builder.transaction(100, &[insert(1), insert(2)]);
    builder.seal(seen(101));
    erase(&mut builder, 102, key);
    let mut log = builder.log;
    let row = log.position_of(|leaf| matches!(leaf, Leaf::Row(_)));
    assert!(log.entries[row as usize].image.take().is_some());
    log
}

fn check(scene: &Scene, export: &str, log: &Log, blocks: &[u64]) -> Ran {
    let (export, key) = (scene.write("trail.ward", export), key());
    let held: Vec<String> = blocks
        .iter()
        .map(|block| scene.checkpoint(log, *block))
        .collect();
    let mut args = vec!["check", &export, "--partial", "--key", &key];
    for held in &held {
        args.extend(["--checkpoint", held]);
    }
    scene.run(&args)
}

#[test]
fn values_left_out_with_an_erasure_made_up_behind_the_checkpoint() {
    let scene = Scene::new();
    let forged = log(&[66; 32]);
    // who holds the export has added a block to it that nobody signed
    let ran = check(&scene, &scene::export(&forged, 0), &forged, &[0]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    assert!(ran.out.starts_with("unanchored"), "{}", ran.out);
    assert!(ran.out.contains("could have left it out"), "{}", ran.out);
    // a checkpoint of the order shows that it was one
    let honest = log(&KEY);
    for blocks in [&[1][..], &[0, 1]] {
        let ran = check(&scene, &scene::export(&honest, 0), &honest, blocks);
        assert_eq!(ran.code, 0, "{}", ran.out);
    }
}

/// Ends with block 0; its head is of the whole log, and it has the erasure with it.
fn archive(log: &Log) -> String {
    let tile = |level: u8, index: u64| log.tiles.get(&(level, index)).cloned();
    let (end, size) = (log.blocks[&0].tree_size, log.size());
    let index = log.position_of(|leaf| matches!(leaf, Leaf::Erase(_)));
    let head = ExportHead {
        size,
        root: log.blocks[&1].root,
        consistency: consistency_proof(end, size, tile).unwrap(),
        orders: vec![ExportOrder {
            index,
            leaf: log.entries[index as usize].leaf.clone(),
            inclusion: inclusion_proof(index, size, tile).unwrap(),
        }],
    };
    let header = ExportHeader {
        origin: ORIGIN.into(),
        first_block: 0,
        first_leaf: 0,
        blocks: 1,
        size: end,
        taken_at: 7,
    };
    let mut source = Stored(log);
    let mut writer = ExportWriter::new(header, Some(&head), &[], &[], &mut source);
    for entry in log.entries.iter().filter(|entry| entry.index < end) {
        writer.leaf(
            entry.index,
            &entry.leaf,
            entry.image.as_deref(),
            &mut source,
        );
    }
    writer.finish(&mut source);
    let lines = std::iter::from_fn(|| writer.next_line());
    lines.map(|line| line + "\n").collect()
}

#[test]
fn values_left_out_of_an_archive_with_an_erasure_made_up_behind_it() {
    let scene = Scene::new();
    let forged = log(&[66; 32]);
    // the checkpoint is of the archive's end, and the log behind it made up
    let ran = check(&scene, &archive(&forged), &forged, &[0]);
    assert_eq!(ran.code, 3, "{}", ran.out);
    let honest = log(&KEY);
    let ran = check(&scene, &archive(&honest), &honest, &[1]);
    assert_eq!(ran.code, 0, "{}", ran.out);
}
