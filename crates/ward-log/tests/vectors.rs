//! The frozen vectors of `docs/log-format.md`. When this test fails, the format has changed: make a new version of
//! it, do not change the vectors.

mod common;

use std::collections::BTreeMap;

use ward_log::{
    AuditMac, Checkpoint, Context, ContextPlace, ContextSource, Cut, Details, EntryFrame,
    EraseLeaf, EventLeaf, ImageWriter, IncarnationLeaf, KeyChangeLeaf, Operation, PruneLeaf,
    RestoreLeaf, RetentionLeaf, RowLeaf, SealLeaf, Severity, Shape, ShapeLeaf, Snapshot, Trailer,
    TransactionChain, Tree, ViolationKind, ViolationLeaf, empty_root, image_commitment, leaf_hash,
    push_record, vkey,
};

const SPECIFICATION: &str = include_str!("../../../docs/log-format.md");

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that count up from `from`.
fn count<const N: usize>(from: u8) -> [u8; N] {
    std::array::from_fn(|at| from + at as u8)
}

fn encoded(encode: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    encode(&mut out);
    out
}

fn computed() -> BTreeMap<&'static str, String> {
    let xid = 0x0102030405060708;
    let key: [u8; 32] = count(0x40);
    let content = common::shape().encode_content().unwrap();
    let shape = Shape::shape_id(&content);
    let mut image = Vec::new();
    let mut writer = ImageWriter::new(&mut image, &count(0x80));
    writer.begin_old();
    writer.value(2, b"");
    writer.redacted(3, true);
    writer.begin_new();
    writer.value(1, b"7");
    writer.null(2);
    writer.redacted(3, true);
    writer.redacted(4, false);
    writer.finish().unwrap();
    let commit = image_commitment(&image);
    let mut image_cut = Vec::new();
    let mut writer = ImageWriter::new(&mut image_cut, &count(0x80));
    writer.begin_new();
    writer.value_or_cut(1, |_| Some(Cut::of(b"abc")));
    writer.value_or_cut(2, |_| Some(Cut::WITHOUT_TEXT));
    writer.finish().unwrap();
    let incarnation = IncarnationLeaf {
        incarnation: count(0x10),
        system_identifier: 7_000_000_000_000_000_001,
        database_oid: 16_384,
        timeline: 1,
        previous_size: 0,
        previous_root: empty_root(),
        reason: "created",
        at: 1_700_000_000_000_000,
    };
    let context = Context {
        source: ContextSource::Token,
        tenant_id: Some("t"),
        user_id: Some(""),
        session_id: None,
        service_name: None,
        client_ip: Some("192.0.2.1"),
        user_agent: None,
        authenticated_role: Some("a"),
        session_role: Some("s"),
        current_role: Some("c"),
        application_name: Some("\u{e4}"),
    };
    let context = encoded(|out| context.encode(out));
    // an entry without a trailer, at a position; the context lies in the entry at position 1
    let at = |position: u32, occurred_at| EntryFrame {
        xid,
        position,
        occurred_at,
        context: match position - 1 {
            0 => ContextPlace::Here(&context),
            back => ContextPlace::Back(back),
        },
        trailer: None,
    };
    let row = |frame| {
        let leaf = RowLeaf {
            frame,
            operation: Operation::Update,
            shape,
            image_commit: commit,
            record_id: Some("7"),
        };
        encoded(|out| leaf.encode(out))
    };
    let (row, mut last) = (row(at(1, -1)), row(at(2, -1)));
    let event = EventLeaf {
        frame: at(3, 1_700_000_000_000_003),
        severity: Severity::Medium,
        event_type: "tenant_override",
        details: Details::new("{\"reason\":\"\u{e4}\"}").unwrap(),
    };
    let event = encoded(|out| event.encode(out));
    let shape_leaf = encoded(|out| {
        ShapeLeaf {
            xid,
            position: 0,
            content: &content,
        }
        .encode(out)
    });
    let mut chain = TransactionChain::new();
    for leaf in [&shape_leaf, &row] {
        chain.push(&leaf_hash(leaf));
    }
    Trailer::close(
        &mut last,
        &chain,
        count(0x10),
        count(0x20),
        &AuditMac::new(&key),
    )
    .unwrap();
    let incarnation = encoded(|out| incarnation.encode(out));
    let violation = ViolationLeaf {
        xid,
        kind: ViolationKind::PositionGap,
        detail: "d",
        at: 1,
    };
    let violation = encoded(|out| violation.encode(out));
    let frame = at(3, 1_700_000_000_000_004);
    let prune = PruneLeaf {
        frame,
        from: 1024,
        to: 3072,
        root: count(0x60),
        checkpoint_size: 4000,
        period: 220_752_000_000_000,
    };
    let erase = EraseLeaf {
        frame,
        relation_oid: 16_400,
        schema: "public",
        table: "accounts",
        record_id: "7",
        reason: "\u{e4}",
    };
    let retention = RetentionLeaf {
        frame,
        period: 220_752_000_000_000,
        effective_at: 1_700_000_000_000_005,
    };
    let frame = at(4, 1_700_000_000_000_004);
    let key_change = KeyChangeLeaf {
        frame,
        old_key: count(0x60),
        new_key: count(0x80),
    };
    let key_change = encoded(|out| key_change.encode(out));
    let restore = RestoreLeaf {
        frame,
        restored_size: 7,
        reason: "\u{e4}",
    };
    let restore = encoded(|out| restore.encode(out));
    let seal = SealLeaf {
        block_no: 0,
        first_leaf: 0,
        previous_size: 0,
        previous_root: empty_root(),
        snapshot_before: Snapshot::default(),
        snapshot_after: Snapshot {
            xmin: xid,
            xmax: xid + 3,
            xip: vec![xid + 1],
        },
        sealed_at: 1_700_000_000_000_002,
    };
    let seal = encoded(|out| seal.encode(out));
    let mut record = Vec::new();
    push_record(&mut record, b"leaf", Some(b"")).unwrap();
    push_record(&mut record, b"leaf", None).unwrap();
    let mut tree = Tree::new();
    for leaf in [&incarnation, &shape_leaf, &row, &last, &violation, &seal] {
        tree.append(leaf_hash(leaf));
    }
    let origin = "example.org/log";
    let note = Checkpoint {
        origin: origin.into(),
        size: 6,
        root: tree.root(),
    }
    .sign(&key)
    .unwrap();
    BTreeMap::from([
        ("shape_content", hex(&content)),
        ("shape_id", hex(&shape)),
        ("image", hex(&image)),
        ("image_commitment", hex(&commit)),
        ("image_cut", hex(&image_cut)),
        ("incarnation_leaf", hex(&incarnation)),
        ("shape_leaf_hash", hex(&leaf_hash(&shape_leaf))),
        ("context", hex(&context)),
        ("row_leaf", hex(&row)),
        ("event_leaf", hex(&event)),
        ("chain", hex(&chain.digest())),
        ("last_leaf", hex(&last)),
        ("violation_leaf", hex(&violation)),
        ("key_change_leaf", hex(&key_change)),
        ("restore_leaf", hex(&restore)),
        ("seal_leaf", hex(&seal)),
        ("prune_leaf", hex(&encoded(|out| prune.encode(out)))),
        ("erase_leaf", hex(&encoded(|out| erase.encode(out)))),
        ("retention_leaf", hex(&encoded(|out| retention.encode(out)))),
        ("records", hex(&record)),
        ("root_empty", hex(&empty_root())),
        ("root_6", hex(&tree.root())),
        ("checkpoint", hex(note.as_bytes())),
        ("verifier_key", hex(vkey(origin, &key).unwrap().as_bytes())),
    ])
}

#[test]
fn the_specifications_vectors_hold() {
    let block = SPECIFICATION
        .split("```vectors\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next())
        .expect("the specification holds a block of vectors");
    let mut pinned: BTreeMap<&str, String> = BTreeMap::new();
    let mut name = "";
    for line in block.lines() {
        match line.split_once(" =") {
            Some((start, rest)) => {
                name = start;
                pinned.insert(name, rest.trim().to_owned());
            }
            None => pinned.entry(name).or_default().push_str(line.trim()),
        }
    }
    assert_eq!(pinned, computed());
}
