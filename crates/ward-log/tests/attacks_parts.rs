//! Attacks on the context and the trailer in an entry, by one who rebuilds what lies above the leaves, or has the
//! audit key and writes what no writer writes.

mod common;

use common::{
    Builder, INCARNATION, KEY, KEY_ID, Log, TRAILER_LEN, Writer, context, edit_row, event, insert,
    one, options, other_context, resign, seen,
};
use ward_log::{ContextPlace, EntryFrame, Operation, image_commitment};

const FORGED: [u8; 32] = [8; 32];

/// Leaves 0 to 3 are a block that holds the shape, 4 to 6 are transactions of one leaf each, 7 is their seal.
fn of_one_leaf() -> Log {
    let mut builder = Builder::new();
    builder.transaction(100, &[insert(1)]);
    builder.seal(seen(110));
    for xid in [110, 115, 120] {
        builder.transaction(xid, &[insert(xid)]);
    }
    builder.seal(seen(121));
    assert_eq!(builder.log.size(), 8);
    builder.log
}

/// The transaction of one leaf in the middle.
const AT: u64 = 5;

#[test]
fn a_transaction_of_one_leaf_verifies() {
    let log = of_one_leaf();
    let (summary, found) = log.verify_with(options());
    assert_eq!(found, []);
    assert_eq!((summary.entries, summary.leaves), (4, 8));
    let leaf = log.leaf(AT);
    let frame = leaf.frame().unwrap();
    assert_eq!((frame.xid, frame.position), (115, 0));
    assert_eq!(frame.context, ContextPlace::Here(context()));
    assert!(frame.trailer.is_some());
}

/// What may be found, and nothing else, when a bit is flipped in a byte of the leaf and the tree rebuilt over it.
fn expected(byte: usize, len: usize) -> &'static [&'static [&'static str]] {
    let trailer = len - TRAILER_LEN;
    match byte {
        // type, version, flags
        0..3 => &[&["entry_unreadable"]],
        // position
        11..15 => &[&["chain_broken"]],
        // context_back
        15..19 => &[&["entry_unreadable"]],
        // occurred_at
        19..27 => &[&["trailer_forged"]],
        27..59 => &[&["trailer_forged", "shape_unknown"]],
        59..91 => &[&["image_altered", "trailer_forged"]],
        // operation, record id, context: what reads is forged
        91.. if byte < trailer => &[&["trailer_forged"], &["entry_unreadable"]],
        _ => match byte - trailer {
            0..16 => &[&["incarnation_unknown"]],
            16..48 => &[&["chain_broken"]],
            _ => &[&["trailer_forged"]],
        },
    }
}

#[test]
fn flip_any_bit_of_a_transaction_of_one_leaf() {
    let honest = of_one_leaf();
    let len = honest.entries[AT as usize].leaf.len();
    // what lies behind 91 and reads again
    let mut forged = 0;
    for bit in (0..len * 8).filter(|bit| !(3..11).contains(&(bit / 8))) {
        let mut log = honest.clone();
        log.entries[AT as usize].leaf[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(log.found(), one("entry_altered", 1, AT), "bit {bit}");
        log.rebuild();
        let found = log.found();
        let here =
            |found: &(_, Option<u64>, Option<u64>)| (found.1, found.2) == (Some(1), Some(AT));
        assert!(found.iter().all(here), "bit {bit}: {found:?}");
        let kinds: Vec<_> = found.iter().map(|found| found.0).collect();
        let expected = expected(bit / 8, len);
        assert!(expected.contains(&&kinds[..]), "bit {bit}: {kinds:?}");
        forged += usize::from(bit / 8 >= 91 && kinds == ["trailer_forged"]);
    }
    // the MAC and the key's id alone are 320; texts are most of the rest
    assert!(forged > 320 + 100, "{forged}");
}

#[test]
fn flip_any_bit_of_the_transactions_id() {
    let honest = of_one_leaf();
    for bit in 0..64 {
        let mut log = honest.clone();
        edit_row(&mut log, AT, |row| row.frame.xid ^= 1 << bit);
        log.rebuild();
        // forged, unless it comes before the one it follows, or is that one
        let kind = match 115_u64 ^ (1 << bit) {
            xid if xid <= 110 => "order_broken",
            _ => "trailer_forged",
        };
        let found = log.found();
        assert!(found.contains(&one(kind, 1, AT)[0]), "{bit}: {found:?}");
    }
}

#[test]
fn another_image_with_the_commitment_that_fits() {
    let mut log = of_one_leaf();
    let image = log.entries[6].image.clone().unwrap();
    edit_row(&mut log, AT, |row| {
        row.image_commit = image_commitment(&image)
    });
    log.entries[AT as usize].image = Some(image);
    log.rebuild();
    assert_eq!(log.found(), one("trailer_forged", 1, AT));
    // signed anew with some other key, that of the log's id or of another
    for id in [KEY_ID, *b"otherkey"] {
        resign(&mut log, AT, AT, INCARNATION, (id, &FORGED));
        log.rebuild();
        assert_eq!(log.found(), one("trailer_forged", 1, AT));
    }
}

#[test]
fn a_trailer_moved_to_another_transaction_of_one_leaf() {
    let mut log = of_one_leaf();
    let [first, second] = [4, AT as usize].map(|at| {
        let leaf = &mut log.entries[at].leaf;
        leaf.split_off(leaf.len() - TRAILER_LEN)
    });
    log.entries[4].leaf.extend_from_slice(&second);
    log.entries[AT as usize].leaf.extend_from_slice(&first);
    log.rebuild();
    let expected = [one("trailer_forged", 1, 4), one("trailer_forged", 1, AT)];
    assert_eq!(log.found(), expected.concat());
}

/// Two transactions of three rows, or of one, that act as different tenants.
fn of_two_tenants(rows: u64) -> Log {
    let mut builder = Builder::new();
    builder.transaction(100, &[insert(1)]);
    builder.seal(seen(101));
    for (xid, acting) in [(110, context()), (111, other_context())] {
        let mut writer = builder.writer(xid);
        writer.act_as(acting);
        let rows: Vec<_> = (0..rows).map(insert).collect();
        builder.rows(&mut writer, &rows);
        writer.close(&KEY);
        builder.commit(writer);
    }
    builder.seal(seen(112));
    assert_eq!(builder.log.found(), []);
    builder.log
}

#[test]
fn a_context_moved_to_another_transaction() {
    let swapped = |rows: u64| {
        let mut log = of_two_tenants(rows);
        let first = 4;
        for (at, other) in [(first, other_context()), (first + rows, context())] {
            edit_row(&mut log, at, |row| {
                assert_ne!(row.frame.context, ContextPlace::Here(other));
                row.frame.context = ContextPlace::Here(other);
            });
        }
        log.rebuild();
        log.found()
    };
    let both = |kind, first, second| [one(kind, 1, first), one(kind, 1, second)].concat();
    // the last entry of each transaction tells
    assert_eq!(swapped(3), both("chain_broken", 6, 9));
    assert_eq!(swapped(1), both("trailer_forged", 4, 5));
    // the whole entry: it says whose it is
    let mut log = of_two_tenants(3);
    log.entries.swap(4, 7);
    log.rebuild();
    assert!(!log.found().is_empty());
    // with a chain that fits
    let mut log = of_two_tenants(3);
    edit_row(&mut log, 4, |row| {
        row.frame.context = ContextPlace::Here(other_context())
    });
    resign(&mut log, 4, 6, INCARNATION, (KEY_ID, &FORGED));
    log.rebuild();
    assert_eq!(log.found(), one("trailer_forged", 1, 6));
}

/// A block of one transaction, signed with the log's key.
fn written(write: impl FnOnce(&mut Writer)) -> Log {
    let mut builder = Builder::new();
    let mut writer = builder.writer(100);
    write(&mut writer);
    writer.close(&KEY);
    builder.commit(writer);
    builder.seal(seen(101));
    builder.log
}

/// An event that says where its context is.
fn event_at(writer: &mut Writer, context: ContextPlace<'static>) {
    writer.entry(None, |frame, out| {
        event(EntryFrame { context, ..frame }).encode(out);
    });
}

#[test]
fn an_entry_that_points_at_an_older_context_than_the_last() {
    let log = |back| {
        written(|writer| {
            event_at(writer, ContextPlace::Here(context()));
            event_at(writer, ContextPlace::Here(other_context()));
            event_at(writer, ContextPlace::Back(back));
        })
    };
    assert_eq!(log(1).found(), []);
    assert_eq!(log(2).found(), one("context_broken", 0, 3));
    // where the last context is no other one either
    let same = written(|writer| {
        event_at(writer, ContextPlace::Here(context()));
        event_at(writer, ContextPlace::Here(context()));
        event_at(writer, ContextPlace::Back(2));
    });
    assert_eq!(same.found(), one("context_broken", 0, 3));
}

#[test]
fn entries_that_point_at_what_holds_no_context() {
    // nothing, the shape, another pointing entry, and what lies behind
    let first = written(|writer| event_at(writer, ContextPlace::Back(1)));
    assert_eq!(first.found(), one("context_broken", 0, 1));
    let content = common::shape().encode_content().unwrap();
    let shape = written(|writer| {
        writer.shape(&content);
        event_at(writer, ContextPlace::Back(1));
    });
    assert_eq!(shape.found(), one("context_broken", 0, 2));
    let chained = written(|writer| {
        event_at(writer, ContextPlace::Here(context()));
        event_at(writer, ContextPlace::Back(1));
        event_at(writer, ContextPlace::Back(1));
    });
    assert_eq!(chained.found(), one("context_broken", 0, 3));
    let behind = written(|writer| {
        event_at(writer, ContextPlace::Back(u32::MAX));
        event_at(writer, ContextPlace::Here(context()));
    });
    assert_eq!(behind.found(), one("context_broken", 0, 1));
    // the context of the transaction before is not this one's
    let mut builder = Builder::new();
    builder.order(100, &KEY, |frame, out| event(frame).encode(out));
    builder.order(101, &KEY, |frame, out| {
        let context = ContextPlace::Back(1);
        event(EntryFrame { context, ..frame }).encode(out);
    });
    builder.seal(seen(102));
    assert_eq!(builder.log.found(), one("context_broken", 0, 2));
}

#[test]
fn a_change_of_context_taken_out() {
    let mut builder = Builder::new();
    let mut writer = builder.writer(100);
    builder.rows(&mut writer, &[insert(1)]);
    writer.act_as(other_context());
    builder.rows(&mut writer, &[insert(2), insert(3)]);
    writer.close(&KEY);
    builder.commit(writer);
    builder.seal(seen(101));
    let mut log = builder.log;
    assert_eq!(log.found(), []);
    // rows 2, 3 and 4: the second now seems to act as the first, and the third with it
    edit_row(&mut log, 3, |row| row.frame.context = ContextPlace::Back(1));
    edit_row(&mut log, 4, |row| row.frame.context = ContextPlace::Back(2));
    log.rebuild();
    assert_eq!(log.found(), one("chain_broken", 0, 4));
    resign(&mut log, 1, 4, INCARNATION, (KEY_ID, &FORGED));
    log.rebuild();
    assert_eq!(log.found(), one("trailer_forged", 0, 4));
}

/// Leaves 1 to 4: a shape, two rows of which the second has a trailer, and two that came later, with another.
fn superseded(first_key: &[u8; 32]) -> Log {
    let mut builder = Builder::new();
    let mut writer = builder.writer(100);
    builder.rows(&mut writer, &[insert(1), insert(2)]);
    writer.close(first_key);
    builder.rows(&mut writer, &[insert(3), insert(4)]);
    writer.close(&KEY);
    builder.commit(writer);
    builder.seal(seen(101));
    builder.log
}

const EARLIER: u64 = 3;
const LATER: u64 = 5;

#[test]
fn a_superseded_trailer_is_verified() {
    assert_eq!(superseded(&KEY).found(), []);
    assert_eq!(
        superseded(&FORGED).found(),
        one("trailer_forged", 0, EARLIER)
    );
    // all else is right, with the audit key
    let resigned = |incarnation, id, key| {
        let mut log = superseded(&KEY);
        resign(&mut log, 1, EARLIER, incarnation, (id, key));
        resign(&mut log, 1, LATER, INCARNATION, (KEY_ID, &KEY));
        log.rebuild();
        log.found()
    };
    assert_eq!(resigned(INCARNATION, KEY_ID, &KEY), []);
    let unknown = resigned(INCARNATION, *b"otherkey", &KEY);
    assert_eq!(unknown, one("trailer_forged", 0, EARLIER));
    let foreign = resigned([3; 16], KEY_ID, &KEY);
    assert_eq!(foreign, one("incarnation_unknown", 0, EARLIER));
    // over other leaves than those before it
    let mut log = superseded(&KEY);
    resign(&mut log, 2, EARLIER, INCARNATION, (KEY_ID, &KEY));
    resign(&mut log, 1, LATER, INCARNATION, (KEY_ID, &KEY));
    log.rebuild();
    assert_eq!(log.found(), one("chain_broken", 0, EARLIER));
}

#[test]
fn a_superseded_trailer_altered_or_taken_off_by_one_without_the_key() {
    let honest = superseded(&KEY);
    let trailer = honest.entries[EARLIER as usize].leaf.len() - TRAILER_LEN;
    for (byte, kind) in [
        (20, "trailer_forged"),
        (trailer, "incarnation_unknown"),
        (trailer + 16, "chain_broken"),
        (trailer + 48, "trailer_forged"),
        (trailer + 56, "trailer_forged"),
    ] {
        let mut log = honest.clone();
        log.entries[EARLIER as usize].leaf[byte] ^= 1;
        log.rebuild();
        assert_eq!(log.found(), one(kind, 0, EARLIER), "{byte}");
    }
    // an entry before it
    let mut log = honest.clone();
    edit_row(&mut log, 2, |row| row.operation = Operation::Delete);
    log.rebuild();
    assert_eq!(log.found(), one("chain_broken", 0, EARLIER));
    // without it, and an entry between the two
    let mut log = honest.clone();
    common::remove_trailer(&mut log.entries[EARLIER as usize].leaf);
    log.rebuild();
    assert_eq!(log.found(), one("chain_broken", 0, LATER));
    let mut log = honest.clone();
    edit_row(&mut log, 4, |row| row.operation = Operation::Delete);
    log.rebuild();
    assert_eq!(log.found(), one("chain_broken", 0, LATER));
    // what came later without its end
    let mut log = honest;
    common::remove_trailer(&mut log.entries[LATER as usize].leaf);
    log.rebuild();
    assert_eq!(log.found(), one("trailer_missing", 0, LATER));
}

/// As where a whole transaction is left out: the earlier trailer is genuine, and nothing in the transaction says that
/// more came later.
#[test]
fn what_came_behind_a_superseded_trailer_left_out_needs_a_checkpoint() {
    let mut log = superseded(&KEY);
    let honest = log.blocks[&0].clone();
    log.entries.drain(4..6);
    log.rebuild();
    assert_eq!(log.found(), []);
    let mut held = options();
    held.heads = vec![(honest.tree_size, honest.root)];
    let (_, found) = log.verify_with(held);
    assert_eq!(found[0].kind.as_str(), "checkpoint_mismatch");
}
