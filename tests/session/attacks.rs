//! Attacks on sealed entries by a superuser. Each is reported at its place, in SQL and by `ward-verify`.

use crate::attacks_scene::{Attacker, one};

/// Flips a bit of a byte of column `bytes`.
fn flip(bytes: &str, at: impl std::fmt::Display) -> String {
    format!("UPDATE leaves SET {bytes} = set_byte({bytes}, {at}, get_byte({bytes}, {at}) # 1)")
}

/// The fields of a row leaf (docs/log-format.md, 2.1 and 2.2), each with the place of one of its bytes.
const ROW_FIELDS: [(&str, u32); 14] = [
    ("type", 0),
    ("version", 1),
    ("flags", 2),
    ("transaction", 10),
    ("position", 14),
    ("context", 18),
    ("time", 26),
    ("table", 58),
    ("image commitment, first byte", 59),
    ("image commitment", 90),
    ("operation", 91),
    ("presence of a record id", 92),
    ("length of the record id", 94),
    ("record id", 98),
];

#[test]
fn any_field_of_an_entry_edited() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(2050);
    for (field, at) in ROW_FIELDS {
        let found = attacker.leaves(&format!("{} WHERE entry_id = {entry}", flip("leaf", at)));
        assert_eq!(found, one("entry_altered", entry), "{field}");
    }
}

#[test]
fn any_leaf_that_is_no_change_edited() {
    let mut attacker = Attacker::new();
    // shape, seal, incarnation
    for kind in [0x04, 0x10, 0x11] {
        let which = format!(
            "entry_id = (SELECT max(entry_id) FROM leaves WHERE get_byte(leaf, 0) = {kind})"
        );
        let entry = attacker.number_of(&which);
        for at in ["2", "length(leaf) / 2", "length(leaf) - 1"] {
            let found = attacker.leaves(&format!("{} WHERE {which}", flip("leaf", at)));
            assert_eq!(
                found,
                one("entry_altered", entry),
                "leaf of type {kind}, byte {at}"
            );
        }
    }
}

#[test]
fn any_part_of_a_trailer_edited() {
    let mut attacker = Attacker::new();
    let which = "entry_id = (SELECT max(entry_id) FROM leaves WHERE get_byte(leaf, 0) = 1 AND get_byte(leaf, 2) & 2 = 2)";
    let entry = attacker.number_of(which);
    for (part, back) in [
        ("incarnation", 88),
        ("chain", 72),
        ("key id", 40),
        ("MAC", 1),
    ] {
        let edit = flip("leaf", format!("length(leaf) - {back}"));
        let found = attacker.leaves(&format!("{edit} WHERE {which}"));
        assert_eq!(found, one("entry_altered", entry), "{part}");
    }
}

#[test]
fn a_tenant_edited_in_a_context() {
    let mut attacker = Attacker::new();
    let which = "position('tenant-b'::bytea IN leaf) > 0";
    let entry = attacker.number_of(which);
    let found = attacker.leaves(&format!(
        "UPDATE leaves SET leaf = overlay(leaf PLACING 'tenant-a'::bytea FROM position('tenant-b'::bytea IN leaf))
         WHERE {which}"
    ));
    assert_eq!(found, one("entry_altered", entry));
}

#[test]
fn the_format_version_downgraded() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(2050);
    for version in [0, 2, 255] {
        let found = attacker.leaves(&format!(
            "UPDATE leaves SET leaf = set_byte(leaf, 1, {version}) WHERE entry_id = {entry}"
        ));
        assert_eq!(found, one("entry_altered", entry));
    }
}

#[test]
fn any_part_of_an_image_edited() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(2050);
    // salt, flags, length of the new row, a column's number, its length, its value
    for at in ["0", "15", "16", "20", "22", "26", "length(image) - 1"] {
        let found = attacker.leaves(&format!("{} WHERE entry_id = {entry}", flip("image", at)));
        assert_eq!(found, one("image_altered", entry), "byte {at}");
    }
}

#[test]
fn an_image_removed_cut_or_lengthened() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(2050);
    for (image, kind) in [
        ("NULL", "image_missing"),
        ("''", "image_altered"),
        ("substr(image, 1, length(image) - 1)", "image_altered"),
        ("image || '\\x00'", "image_altered"),
    ] {
        let found = attacker.leaves(&format!(
            "UPDATE leaves SET image = {image} WHERE entry_id = {entry}"
        ));
        assert_eq!(found, one(kind, entry), "{image}");
    }
}

#[test]
fn an_image_laid_beside_a_leaf_that_has_none() {
    let mut attacker = Attacker::new();
    let which = "entry_id = (SELECT max(entry_id) FROM leaves WHERE get_byte(leaf, 0) = 4)";
    let shape = attacker.number_of(which);
    let found = attacker.leaves(&format!("UPDATE leaves SET image = '\\x00' WHERE {which}"));
    assert_eq!(found, one("image_altered", shape));
}

/// The length of a NULL, and that of an empty text.
const NULL: &str = "'\\xffffffff'::bytea";
const EMPTY: &str = "'\\x00000000'::bytea";

#[test]
fn null_and_empty_swapped() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(1050);
    for (old, new) in [(NULL, EMPTY), (EMPTY, NULL)] {
        let image =
            format!("overlay(image PLACING {new} FROM position({old} IN substr(image, 22)) + 21)");
        let found = attacker.leaves(&format!(
            "UPDATE leaves SET image = {image} WHERE entry_id = {entry}"
        ));
        assert_eq!(found, one("image_altered", entry));
    }
}

/// Makes the commitment that a row leaf holds that of the image beside it.
fn commit(entry: i64) -> String {
    format!(
        "; UPDATE leaves SET leaf = overlay(leaf PLACING sha256('ward/image/v1'::bytea || image) FROM 60)
         WHERE entry_id = {entry}"
    )
}

#[test]
fn a_field_boundary_shifted_in_an_image() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(1051);
    // ('ab', 'c') becomes ('a', 'bc'): the same texts one after the other
    let columns = |first: &str, second: &str| {
        format!(
            "(int2send(2::int2) || int4send(length('{first}')) || '{first}'::bytea
              || int2send(3::int2) || int4send(length('{second}')) || '{second}'::bytea)"
        )
    };
    let (old, new) = (columns("ab", "c"), columns("a", "bc"));
    let shift = format!(
        "UPDATE leaves SET image = overlay(image PLACING {new} FROM position({old} IN image)) WHERE entry_id = {entry}"
    );
    assert_eq!(attacker.leaves(&shift), one("image_altered", entry));
    let found = attacker.leaves(&(shift + &commit(entry)));
    assert_eq!(found, one("entry_altered", entry));
}

#[test]
fn an_entry_deleted() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(2050);
    let delete = format!("DELETE FROM leaves WHERE entry_id = {entry}");
    assert_eq!(attacker.leaves(&delete), one("entry_missing", entry));
    let found = attacker.leaves(&format!(
        "{delete}; UPDATE leaves SET entry_id = entry_id - 1 WHERE entry_id > {entry}"
    ));
    assert_eq!(found[0], one("entry_altered", entry)[0]);
}

#[test]
fn an_entry_inserted() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(2050);
    let found = attacker.leaves(&format!(
        "UPDATE leaves SET entry_id = entry_id + 1 WHERE entry_id >= {entry};
         INSERT INTO leaves SELECT {entry}, leaf, image FROM leaves WHERE entry_id = {entry} - 1"
    ));
    assert_eq!(found[0], one("entry_altered", entry)[0]);
}

#[test]
fn an_entry_duplicated() {
    let mut attacker = Attacker::new();
    let (entry, size) = (attacker.entry(2050), attacker.size());
    let again = |number: i64| {
        format!(
            "INSERT INTO leaves SELECT {number}, leaf, image FROM leaves WHERE entry_id = {entry}"
        )
    };
    for (number, kind) in [
        (entry, "entry_duplicated"),
        (entry + 1, "entry_duplicated"),
        (size, "entry_unexpected"),
        (size + 5, "entry_unexpected"),
        (-1, "entry_unexpected"),
        (i64::MAX - 1, "entry_unexpected"),
    ] {
        let found = attacker.leaves(&again(number));
        // what lies beyond the segment it is in is shown as the last number there is
        let shown = if number >> 20 == 0 { number } else { i64::MAX };
        assert_eq!(found, one(kind, shown), "as number {number}");
    }
}

#[test]
fn entries_reordered() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(2050);
    let found = attacker.leaves(&format!(
        "UPDATE leaves SET entry_id = 2 * {entry} + 5 - entry_id WHERE entry_id IN ({entry}, {entry} + 5)"
    ));
    let both = [one("entry_altered", entry), one("entry_altered", entry + 5)];
    assert_eq!(found, both.concat());
    let found = attacker.leaves(&format!(
        "UPDATE leaves a SET image = b.image FROM leaves b
         WHERE a.entry_id IN ({entry}, {entry} + 5) AND b.entry_id = 2 * {entry} + 5 - a.entry_id"
    ));
    let both = [one("image_altered", entry), one("image_altered", entry + 5)];
    assert_eq!(found, both.concat());
}

#[test]
fn an_entry_moved_to_another_transaction() {
    let mut attacker = Attacker::new();
    let (from, to) = (attacker.entry(1040), attacker.entry(2050));
    // with the other transaction's number and position, in its place
    let found = attacker.leaves(&format!(
        "UPDATE leaves SET leaf = substr(leaves.leaf, 1, 3) || substr(other.leaf, 4, 16) || substr(leaves.leaf, 20)
         FROM leaves other WHERE leaves.entry_id = {from} AND other.entry_id = {to};
         UPDATE leaves SET entry_id = {from} + {to} - entry_id WHERE entry_id IN ({from}, {to})"
    ));
    let both = [one("entry_altered", from), one("entry_altered", to)];
    assert_eq!(found, both.concat());
}

#[test]
fn an_entry_moved_to_another_table() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(2050);
    let found = attacker.leaves(&format!(
        "UPDATE leaves SET leaf = overlay(leaf PLACING
           (SELECT substr(leaf, 28, 32) FROM leaves WHERE entry_id =
              (SELECT max(entry_id) FROM ward.audit_trail WHERE table_name = 'u')) FROM 28)
         WHERE entry_id = {entry}"
    ));
    assert_eq!(found, one("entry_altered", entry));
}

#[test]
fn an_entry_moved_to_another_tenant_or_user() {
    let mut attacker = Attacker::new();
    // the last entry of the one user points back behind that of the other
    let entry = attacker.entry(1101);
    let found = attacker.leaves(&format!(
        "UPDATE leaves SET leaf = overlay(leaf PLACING int4send(entry_id::int - (SELECT min(entry_id)::int
             FROM leaves WHERE position('tenant-a'::bytea IN leaf) > 0)) FROM 16)
         WHERE entry_id = {entry}"
    ));
    assert_eq!(found, one("entry_altered", entry));
    let entry = attacker.entry(2001);
    let found = attacker.leaves(&format!(
        "UPDATE leaves SET leaf = overlay(leaf PLACING int4send(entry_id::int - (SELECT max(entry_id)::int
             FROM leaves WHERE position('tenant-a'::bytea IN leaf) > 0)) FROM 16)
         WHERE entry_id = {entry}"
    ));
    assert_eq!(found, one("entry_altered", entry));
}

#[test]
fn a_whole_transaction_replaced_by_another_one() {
    let mut attacker = Attacker::new();
    let first = attacker.number_of("position('tenant-b'::bytea IN leaf) > 0");
    // the rows of tenant-a once more, in the place of tenant-b's
    let found = attacker.leaves(&format!(
        "UPDATE leaves SET leaf = other.leaf, image = other.image FROM leaves other
         WHERE leaves.entry_id BETWEEN {first} AND {first} + 50 AND other.entry_id =
           leaves.entry_id - {first} + (SELECT min(entry_id) FROM leaves WHERE position('tenant-a'::bytea IN leaf) > 0)"
    ));
    assert_eq!(found.len(), 51);
    assert_eq!(found[0], one("entry_altered", first)[0]);
}

#[test]
fn an_entry_edited_together_with_its_stored_hash() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(2050);
    let edit = flip("leaf", 26);
    let found = attacker.leaves(&format!(
        "{edit} WHERE entry_id = {entry}; UPDATE ward.audit_tile SET hashes = overlay(hashes PLACING
               (SELECT sha256('\\x00'::bytea || leaf) FROM leaves WHERE entry_id = {entry}) FROM {} )
             WHERE level = 0 AND index = {}",
        1 + 32 * (entry % 256),
        entry / 256
    ));
    // Which entry it was cannot be told any more, but the block, which the next one confirms, and the transaction.
    assert_eq!(found[0].0, "chain_broken");
    assert_eq!(found[1..], [("entry_altered".to_owned(), None)]);
    assert_eq!(attacker.blocks, [Some(1), Some(1)]);
}
