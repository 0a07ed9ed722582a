//! Every encoding reads back as what was written, and nothing else reads at all.

mod common;
#[path = "common/frames.rs"]
mod frames;

use frames::{AnyFrame, SOURCES, any_frame};
use proptest::collection::{btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use ward_log::{
    Column, ColumnKind, Context, Cut, FormatError, Image, ImageWriter, IncarnationLeaf,
    KeyChangeLeaf, Leaf, Operation, RecordWriter, Records, RestoreLeaf, RowLeaf, SealLeaf, Shape,
    ShapeLeaf, Snapshot, Value, ViolationKind, ViolationLeaf, image_commitment, push_record,
    record_id_text, record_of,
};

/// What parses must encode to the same bytes; every cut and every trailing byte must be refused.
fn strict(bytes: &[u8]) -> Result<(), TestCaseError> {
    let leaf = Leaf::parse(bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let mut again = Vec::new();
    leaf.encode(&mut again);
    prop_assert_eq!(&again[..], bytes);
    for cut in 0..bytes.len() {
        prop_assert!(Leaf::parse(&bytes[..cut]).is_err(), "cut at {}", cut);
    }
    again.push(0);
    prop_assert!(Leaf::parse(&again).is_err());
    again.pop();
    for version in [0, 2, 255] {
        again[1] = version;
        prop_assert_eq!(
            Leaf::parse(&again),
            Err(FormatError::UnknownVersion(version))
        );
    }
    Ok(())
}

fn encoded(leaf: &Leaf<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    leaf.encode(&mut out);
    out
}

/// As [`strict`], for an entry, with its frame; returns the bytes.
fn entry(any: &AnyFrame, leaf: &Leaf<'_>) -> Result<Vec<u8>, TestCaseError> {
    let bytes = any.encoded(leaf);
    any.reads(&bytes, leaf)?;
    strict(&bytes)?;
    Ok(bytes)
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (0u64..1 << 40, btree_set(0u64..1000, 0..8), 1000u64..2000).prop_map(|(xmin, xip, span)| {
        Snapshot {
            xmin,
            xmax: xmin + span,
            xip: xip.into_iter().map(|x| xmin + x).collect(),
        }
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        Just(Operation::Insert),
        Just(Operation::Update),
        Just(Operation::Delete),
        Just(Operation::Truncate),
        Just(Operation::Snapshot)
    ]
}

proptest! {
    #[test]
    fn row(operation in operation(), any in any_frame(), shape: [u8; 32], commit in any::<[u8; 32]>(),
           id in of(".{0,40}")) {
        let image_commit = if operation == Operation::Truncate { [0; 32] } else { commit };
        let leaf = Leaf::Row(RowLeaf {
            frame: any.frame(), operation, shape, image_commit, record_id: id.as_deref(),
        });
        let bytes = entry(&any, &leaf)?;
        // the record is found without what stands behind it
        prop_assert_eq!(record_of(&bytes), id.as_deref().map(|id| (&shape, id.as_bytes())));
        let end = 95 + id.as_deref().map_or(0, str::len);
        for cut in 0..bytes.len() {
            let expected = id.as_deref().filter(|_| cut >= end).map(|id| (&shape, id.as_bytes()));
            prop_assert_eq!(record_of(&bytes[..cut]), expected, "cut at {}", cut);
        }
    }

    #[test]
    fn context(source in 0usize..4, texts in vec(of(".{0,20}"), 10)) {
        let text = |at: usize| texts[at].as_deref();
        let context = Context {
            source: SOURCES[source],
            tenant_id: text(0), user_id: text(1), session_id: text(2), service_name: text(3), client_ip: text(4),
            user_agent: text(5), authenticated_role: text(6), session_role: text(7), current_role: text(8),
            application_name: text(9),
        };
        let mut bytes = common::encoded(|out| context.encode(out));
        prop_assert_eq!(Context::parse(&bytes).unwrap(), context);
        for cut in 0..bytes.len() {
            prop_assert!(Context::parse(&bytes[..cut]).is_err(), "cut at {}", cut);
        }
        bytes.push(0);
        prop_assert_eq!(Context::parse(&bytes), Err(FormatError::TrailingBytes));
    }

    #[test]
    fn shape(xid: u64, position: u32, relation_oid: u32, schema in ".{0,20}", table in ".{0,20}",
             columns in vec((".{0,10}", ".{0,10}", 0usize..4, any::<[bool; 3]>()), 0..6)) {
        let columns = columns.into_iter().enumerate().map(|(at, (name, type_name, kind, [record_id, redacted, excluded]))| Column {
            attnum: at as u16 * 3 + 1, name, type_name,
            kind: [ColumnKind::Text, ColumnKind::Number, ColumnKind::Boolean, ColumnKind::Json][kind],
            record_id, redacted, excluded,
        }).collect();
        let shape = Shape { relation_oid, schema, table, columns };
        let content = shape.encode_content().unwrap();
        prop_assert_eq!(Shape::parse_content(&content).unwrap(), shape);
        strict(&encoded(&Leaf::Shape(ShapeLeaf { xid, position, content: &content })))?;
    }

    #[test]
    fn seal(block_no: u64, first_leaf: u64, previous_size: u64, previous_root: [u8; 32],
            snapshot_before in snapshot(), snapshot_after in snapshot(), sealed_at: i64) {
        let leaf = Leaf::Seal(SealLeaf {
            block_no, first_leaf, previous_size, previous_root, snapshot_before, snapshot_after, sealed_at,
        });
        let bytes = encoded(&leaf);
        prop_assert_eq!(Leaf::parse(&bytes).unwrap(), leaf);
        strict(&bytes)?;
    }

    #[test]
    fn incarnation(incarnation: [u8; 16], system_identifier: u64, database_oid: u32, timeline: u32,
                   previous_size: u64, previous_root: [u8; 32], reason in ".{0,20}", at: i64) {
        strict(&encoded(&Leaf::Incarnation(IncarnationLeaf {
            incarnation, system_identifier, database_oid, timeline, previous_size, previous_root, reason: &reason, at,
        })))?;
    }

    #[test]
    fn key_change(any in any_frame(), old_key: [u8; 32], new_key: [u8; 32]) {
        prop_assume!(old_key != new_key);
        let frame = any.frame();
        entry(&any, &Leaf::KeyChange(KeyChangeLeaf { frame, old_key, new_key }))?;
        let same = any.encoded(&Leaf::KeyChange(KeyChangeLeaf { frame, old_key, new_key: old_key }));
        prop_assert!(Leaf::parse(&same).is_err());
    }

    #[test]
    fn restore(any in any_frame(), restored_size in 1u64.., reason in ".{1,20}") {
        let frame = any.frame();
        let leaf = |restored_size, reason| Leaf::Restore(RestoreLeaf { frame, restored_size, reason });
        entry(&any, &leaf(restored_size, &reason))?;
        prop_assert!(Leaf::parse(&any.encoded(&leaf(0, &reason))).is_err());
        prop_assert!(Leaf::parse(&any.encoded(&leaf(restored_size, ""))).is_err());
        // a reason that is too long is cut at a whole character
        let text = "é".repeat(3000);
        let long = any.encoded(&leaf(restored_size, &text));
        let Ok(Leaf::Restore(cut)) = Leaf::parse(&long) else { panic!() };
        prop_assert_eq!(cut.reason.len(), 4096);
    }

    #[test]
    fn violation(xid: u64, kind in 0usize..7, detail in ".{0,20}", at: i64) {
        let kind = [ViolationKind::TrailerMissing, ViolationKind::TrailerMacWrong, ViolationKind::ChainWrong,
                    ViolationKind::UnreadableRecord, ViolationKind::PositionGap, ViolationKind::ForeignIncarnation,
                    ViolationKind::OrderRefused][kind];
        strict(&encoded(&Leaf::Violation(ViolationLeaf { xid, kind, detail: &detail, at })))?;
    }

    #[test]
    fn any_bytes_parse_canonically_or_not_at_all(mut bytes in vec(any::<u8>(), 0..200), kind in 0usize..11) {
        if bytes.len() > 2 {
            bytes[0] = [1, 4, 6, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17][kind];
            bytes[1] = 1;
        }
        if let Ok(leaf) = Leaf::parse(&bytes) {
            prop_assert_eq!(encoded(&leaf), bytes.clone());
        }
        let _ = Image::parse(&bytes);
        let _ = Records::new(&bytes).count();
    }

    #[test]
    fn a_flipped_bit_is_refused_or_read_as_another_leaf(at in 0usize..50, bit: prop::sample::Index) {
        let log = common::small_log();
        let honest = &log.entries[at].leaf;
        let bit = bit.index(honest.len() * 8);
        let mut bytes = honest.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        if let Ok(leaf) = Leaf::parse(&bytes) {
            prop_assert_eq!(&encoded(&leaf), &bytes);
            prop_assert_ne!(leaf, Leaf::parse(honest).unwrap());
        }
    }

    #[test]
    fn image(salt: [u8; 16], old in of(values()), new in of(values()), before in vec(any::<u8>(), 0..5)) {
        let mut buf = before.clone();
        let mut writer = ImageWriter::new(&mut buf, &salt);
        if let Some(values) = &old {
            writer.begin_old();
            write(&mut writer, values);
        }
        if let Some(values) = &new {
            writer.begin_new();
            write(&mut writer, values);
        }
        if old.is_none() && new.is_none() {
            prop_assert!(writer.finish().is_err());
            return Ok(());
        }
        prop_assert_eq!(writer.finish(), Ok(before.len()));
        let bytes = &buf[before.len()..];
        let image = Image::parse(bytes).unwrap();
        prop_assert_eq!(image.old.map(owned), old);
        prop_assert_eq!(image.new.map(owned), new);
        for cut in 0..bytes.len() {
            prop_assert!(Image::parse(&bytes[..cut]).is_err());
        }
        let commit = image_commitment(bytes);
        let mut more = bytes.to_vec();
        more.push(0);
        prop_assert!(Image::parse(&more).is_err());
        more.pop();
        more[0] ^= 1;
        prop_assert_ne!(image_commitment(&more), commit);
    }

    #[test]
    fn records(parts in vec((vec(any::<u8>(), 0..50), of(vec(any::<u8>(), 0..50))), 0..6)) {
        let mut out = Vec::new();
        for (leaf, image) in &parts {
            push_record(&mut out, leaf, image.as_deref()).unwrap();
        }
        let read: Vec<_> = Records::new(&out).map(|record| {
            let record = record.unwrap();
            (record.leaf.to_vec(), record.image.map(<[u8]>::to_vec))
        }).collect();
        prop_assert_eq!(&read, &parts);
        let whole: Vec<usize> = {
            let mut ends = vec![0];
            for (leaf, image) in &parts {
                ends.push(ends.last().unwrap() + 8 + leaf.len() + image.as_ref().map_or(0, Vec::len));
            }
            ends
        };
        for cut in 0..out.len() {
            let last = Records::new(&out[..cut]).last();
            prop_assert_eq!(last.is_some_and(|record| record.is_err()), !whole.contains(&cut));
        }
    }
}

type OwnedValue = Option<Result<Vec<u8>, Mark>>;

/// What an image may hold instead of a value.
#[derive(Debug, Clone, PartialEq)]
enum Mark {
    Redacted(bool),
    Cut(Cut),
}

/// Values by attribute number: None is NULL.
fn values() -> impl Strategy<Value = Vec<(u16, OwnedValue)>> {
    let value = of(prop_oneof![
        3 => vec(any::<u8>(), 0..10).prop_map(Ok),
        1 => any::<bool>().prop_map(|changed| Err(Mark::Redacted(changed))),
        1 => vec(any::<u8>(), 0..10).prop_map(|text| Err(Mark::Cut(Cut::of(&text)))),
        1 => Just(Err(Mark::Cut(Cut::WITHOUT_TEXT)))
    ]);
    prop::collection::btree_map(1u16.., value, 0..5).prop_map(|map| map.into_iter().collect())
}

fn write(writer: &mut ImageWriter<'_>, values: &[(u16, OwnedValue)]) {
    for (attnum, value) in values {
        match value {
            None => writer.null(*attnum),
            Some(Err(Mark::Redacted(changed))) => writer.redacted(*attnum, *changed),
            Some(Err(Mark::Cut(cut))) => writer.value_or_cut(*attnum, |out| {
                out.extend_from_slice(b"what was rendered until it was too long");
                Some(*cut)
            }),
            Some(Ok(bytes)) if attnum % 2 == 0 => writer.value(*attnum, bytes),
            Some(Ok(bytes)) => writer.value_with(*attnum, |out| out.extend_from_slice(bytes)),
        }
    }
}

fn owned(values: ward_log::Values<'_>) -> Vec<(u16, OwnedValue)> {
    values
        .map(|(attnum, value)| {
            let value = match value {
                Value::Null => None,
                Value::Bytes(bytes) => Some(Ok(bytes.to_vec())),
                Value::RedactedUnchanged => Some(Err(Mark::Redacted(false))),
                Value::RedactedChanged => Some(Err(Mark::Redacted(true))),
                Value::Cut(cut) => Some(Err(Mark::Cut(cut))),
            };
            (attnum, value)
        })
        .collect()
}

#[test]
fn an_image_written_out_of_order_is_refused() {
    let wrong: [fn(&mut ImageWriter<'_>); 7] = [
        |w| w.null(1),
        |w| {
            w.begin_new();
            w.begin_old();
        },
        |w| {
            w.begin_old();
            w.begin_old();
        },
        |w| {
            w.begin_new();
            w.begin_new();
        },
        |w| {
            w.begin_new();
            w.null(2);
            w.null(2);
        },
        |w| {
            w.begin_new();
            w.null(0);
        },
        |w| {
            w.begin_new();
            w.value_with(1, Vec::clear);
        },
    ];
    for (at, wrong) in wrong.into_iter().enumerate() {
        let mut buf = Vec::new();
        let mut writer = ImageWriter::new(&mut buf, &[0; 16]);
        wrong(&mut writer);
        assert!(writer.finish().is_err(), "case {at}");
    }
}

#[test]
fn a_cut_value_has_one_form_only() {
    let mut image = Vec::new();
    let mut writer = ImageWriter::new(&mut image, &[0; 16]);
    writer.begin_new();
    writer.value_or_cut(1, |_| Some(Cut::WITHOUT_TEXT));
    writer.finish().unwrap();
    assert!(Image::parse(&image).is_ok());
    // a length that means "no text" with a digest, and a digest that means it with a length
    for at in [image.len() - 1, image.len() - 33] {
        let mut other = image.clone();
        other[at] ^= 1;
        assert!(Image::parse(&other).is_err(), "byte {at}");
    }
    assert_eq!(Cut::of(b"abcd"), Cut::of_parts(["ab", "", "cd"]));
}

#[test]
fn a_record_written_in_place_carries_its_images_commitment() {
    let mut out = Vec::new();
    let record = RecordWriter::begin(&mut out);
    RowLeaf {
        frame: common::frame(1),
        operation: Operation::Insert,
        shape: [4; 32],
        image_commit: [0; 32],
        record_id: Some("5"),
    }
    .encode(&mut out);
    let record = record.begin_image(&mut out).unwrap();
    let mut image = ImageWriter::new(&mut out, &[6; 16]);
    image.begin_new();
    image.value(1, b"5");
    image.finish().unwrap();
    let span = record.finish_row(&mut out).unwrap();
    let read = Records::new(&out).next().unwrap().unwrap();
    assert_eq!(read.leaf, &out[span.leaf]);
    assert_eq!(read.image, Some(&out[span.image.unwrap()]));
    let Leaf::Row(row) = Leaf::parse(read.leaf).unwrap() else {
        panic!()
    };
    assert_eq!(row.image_commit, image_commitment(read.image.unwrap()));
}

#[test]
fn long_texts_are_clipped_and_long_record_ids_hashed() {
    let long = "ä".repeat(5000);
    let bytes = encoded(&Leaf::Violation(ViolationLeaf {
        xid: 1,
        kind: ViolationKind::PositionGap,
        detail: &long,
        at: 0,
    }));
    let Leaf::Violation(leaf) = Leaf::parse(&bytes).unwrap() else {
        panic!()
    };
    assert_eq!(leaf.detail, "ä".repeat(2048));
    assert_eq!(record_id_text(&"x".repeat(1024)), "x".repeat(1024));
    let id = record_id_text(&long);
    assert_eq!(id.len(), 7 + 64);
    let bytes = encoded(&Leaf::Row(RowLeaf {
        frame: common::frame(1),
        operation: Operation::Truncate,
        shape: [4; 32],
        image_commit: [0; 32],
        record_id: Some(&long),
    }));
    let Leaf::Row(row) = Leaf::parse(&bytes).unwrap() else {
        panic!()
    };
    assert_eq!(row.record_id, Some(&*id));
}

#[test]
fn undefined_values_are_refused() {
    let truncate = RowLeaf {
        frame: common::frame(1),
        operation: Operation::Truncate,
        shape: [4; 32],
        image_commit: [0; 32],
        record_id: None,
    };
    let bytes = encoded(&Leaf::Row(truncate.clone()));
    // the operation, the mark of the record id, the commitment of a truncation and of nothing else, the source
    for (at, value) in [(91, 0), (91, 6), (92, 2), (60, 1), (91, 1), (93, 4)] {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        assert!(
            matches!(Leaf::parse(&bytes), Err(FormatError::UndefinedValue(_))),
            "{at}"
        );
    }
    // what was a context, a trailer or a statement once is nothing
    for unknown in [0x02, 0x03, 0x05, 0x7F] {
        let mut bytes = bytes.clone();
        bytes[0] = unknown;
        assert_eq!(Leaf::parse(&bytes), Err(FormatError::UnknownType(unknown)));
    }
    let text = RowLeaf {
        record_id: Some("a"),
        ..truncate
    };
    let mut bytes = encoded(&Leaf::Row(text));
    assert_eq!(bytes[95], b'a');
    bytes[95] = 0xFF;
    assert_eq!(Leaf::parse(&bytes), Err(FormatError::InvalidUtf8));
}

#[test]
fn snapshots_see_what_postgres_sees() {
    let snapshot = Snapshot {
        xmin: 10,
        xmax: 20,
        xip: vec![10, 15],
    };
    let seen: Vec<u64> = (0..25).filter(|xid| snapshot.visible(*xid)).collect();
    let expected: Vec<u64> = (0..20).filter(|xid| ![10, 15].contains(xid)).collect();
    assert_eq!(seen, expected);
    assert!(!Snapshot::default().visible(0));
    let mut bytes = Vec::new();
    snapshot.encode(&mut bytes);
    assert_eq!(Snapshot::parse(&bytes), Ok(snapshot));
    // an unordered, doubled or outlying id is not canonical
    for (at, value) in [(27, 16), (27, 15), (27, 9), (35, 20)] {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        assert!(Snapshot::parse(&bytes).is_err(), "{at} {value}");
    }
}
