//! Attacks by a superuser on what holds the sealed entries together: blocks, tiles, segments and the tables beside
//! them. Each is reported, in SQL and by `ward-verify`.

use crate::attacks_scene::{Attacker, one};
use ward_tests::{number, refused, run, text, texts, verify};

/// Flips a bit of the first byte of a column.
fn flip(column: &str) -> String {
    format!("{column} = set_byte({column}, 0, get_byte({column}, 0) # 1)")
}

/// Lets a superuser store what the table's constraints forbid.
const UNCONSTRAINED: &str = "ALTER TABLE ward.audit_block DROP CONSTRAINT audit_block_check,
    DROP CONSTRAINT audit_block_root_check, DROP CONSTRAINT audit_block_first_leaf_check,
    DROP CONSTRAINT audit_block_block_no_check";

#[test]
fn any_column_of_a_block_edited() {
    let mut attacker = Attacker::new();
    run(&mut attacker.client, UNCONSTRAINED);
    for block in 0..3 {
        for change in [
            &flip("root"),
            "root = ''",
            "root = '\\x00'",
            "tree_size = tree_size - 1",
            "tree_size = tree_size + 1",
            "tree_size = 4611686018427387904",
            "tree_size = -1",
            "first_leaf = first_leaf + 1",
            "first_leaf = -1",
            "snapshot = set_byte(snapshot, 7, get_byte(snapshot, 7) # 1)",
            "snapshot = ''",
            "sealed_at = sealed_at - interval '1 hour'",
            "sealed_at = 'infinity'",
            "sealed_at = '290000-01-01'",
            "block_no = 1000",
            "block_no = -1",
            "block_no = 4611686018427387904",
        ] {
            let found = attacker.tables(&format!(
                "UPDATE ward.audit_block SET {change} WHERE block_no = {block}"
            ));
            let moved = change.starts_with("block_no");
            let kind = if moved {
                "block_missing"
            } else {
                "block_altered"
            };
            assert_eq!(found, [(kind.to_owned(), None)], "block {block}, {change}");
            assert_eq!(attacker.blocks, [Some(block)], "{change}");
        }
    }
}

#[test]
fn a_block_deleted() {
    let mut attacker = Attacker::new();
    for (which, first) in [
        ("block_no = 0", 0),
        ("block_no = 1", 1),
        ("block_no = 2", 2),
        ("block_no > 0", 1),
        ("true", 0),
    ] {
        let found = attacker.tables(&format!("DELETE FROM ward.audit_block WHERE {which}"));
        assert_eq!(found[0], ("block_missing".to_owned(), None), "{which}");
        assert_eq!(attacker.blocks[0], Some(first), "{which}");
    }
}

#[test]
fn an_old_block_replayed() {
    let mut attacker = Attacker::new();
    let size = attacker.size();
    // block 1 once more at the end, with a row of its own
    let found = attacker.leaves(&format!(
        "INSERT INTO leaves SELECT {size} + entry_id - b.first_leaf, leaf, image FROM leaves, ward.audit_block b
           WHERE b.block_no = 1 AND entry_id BETWEEN b.first_leaf AND b.tree_size - 1;
         INSERT INTO ward.audit_block SELECT 3, {size}, {size} + tree_size - first_leaf, root, snapshot, sealed_at
           FROM ward.audit_block WHERE block_no = 1"
    ));
    assert!(
        found.contains(&("snapshot_mismatch".to_owned(), Some(size))),
        "{found:?}"
    );
    assert!(attacker.blocks.iter().all(|block| *block == Some(3)));
    // the row of block 1 in the place of block 2's
    attacker.tables(
        "DELETE FROM ward.audit_block WHERE block_no = 2;
         UPDATE ward.audit_block SET block_no = 2 WHERE block_no = 1",
    );
    assert_eq!(attacker.blocks, [Some(1), Some(2)]);
}

#[test]
fn rows_of_blocks_that_the_log_does_not_have() {
    let mut attacker = Attacker::new();
    run(&mut attacker.client, UNCONSTRAINED);
    for number in [3, 1000, -1] {
        run(
            &mut attacker.client,
            &format!(
                "SAVEPOINT before; INSERT INTO ward.audit_block
                   SELECT {number}, first_leaf, tree_size, root, snapshot, sealed_at
                   FROM ward.audit_block WHERE block_no = 2"
            ),
        );
        assert!(!verify(&mut attacker.client).is_valid, "block {number}");
        run(&mut attacker.client, "ROLLBACK TO before");
    }
}

#[test]
fn a_tile_edited() {
    let mut attacker = Attacker::new();
    let tiles = "SELECT level || ' ' || index FROM ward.audit_tile ORDER BY level, index";
    for tile in texts(&mut attacker.client, tiles) {
        let (level, index) = tile.split_once(' ').expect("two numbers");
        let first_leaf = match level {
            "0" => index.parse::<i64>().expect("a number") * 256,
            _ => 0,
        };
        for change in [
            format!("UPDATE ward.audit_tile SET {}", flip("hashes")),
            "UPDATE ward.audit_tile SET hashes = substr(hashes, 1, length(hashes) - 32)".to_owned(),
            "UPDATE ward.audit_tile SET hashes = substr(hashes, 1, length(hashes) - 1)".to_owned(),
            "UPDATE ward.audit_tile SET index = index + 100".to_owned(),
            "DELETE FROM ward.audit_tile".to_owned(),
        ] {
            let found = attacker.tables(&format!(
                "ALTER TABLE ward.audit_tile DROP CONSTRAINT audit_tile_hashes_check;
                 {change} WHERE level = {level} AND index = {index}"
            ));
            assert_eq!(found.len(), 1, "{tile}: {change}");
            assert_eq!(found[0].0, "tile_altered", "{tile}: {change}");
            // a cut one is wrong at its end
            let cut = change.contains("- 32");
            assert!(cut || found[0].1 == Some(first_leaf), "{tile}: {change}");
        }
    }
}

const SEGMENT: &str = "ward.audit_segment_000000";

#[test]
fn a_segment_detached() {
    let mut attacker = Attacker::new();
    for attack in [
        format!("ALTER TABLE {SEGMENT} RENAME TO away"),
        format!("ALTER TABLE {SEGMENT} SET SCHEMA public"),
        format!("DROP TABLE {SEGMENT}"),
        format!("TRUNCATE {SEGMENT}"),
        format!("CREATE ROLE mallory; ALTER TABLE {SEGMENT} OWNER TO mallory"),
        format!(
            "ALTER TABLE {SEGMENT} RENAME TO away; CREATE VIEW {SEGMENT} AS SELECT * FROM ward.away"
        ),
    ] {
        let found = attacker.tables(&attack);
        assert_eq!(found[0], one("entry_missing", 0)[0], "{attack}");
    }
}

#[test]
fn a_segment_swapped_for_another_table() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(2050);
    let swap = |copy: &str| {
        format!("ALTER TABLE {SEGMENT} RENAME TO away; CREATE TABLE {SEGMENT} AS {copy};")
    };
    // an older copy of it
    let last = "(SELECT first_leaf FROM ward.audit_block WHERE block_no = 2)";
    let first = number(&mut attacker.client, &format!("SELECT {last}"));
    let found = attacker.tables(&swap(&format!(
        "SELECT * FROM ward.away WHERE entry_id < {last}"
    )));
    assert_eq!(found, one("entry_missing", first));
    // a copy in which one byte is another
    let found = attacker.tables(&swap(&format!(
        "SELECT entry_id, CASE WHEN entry_id = (SELECT max(entry_id) FROM ward.away WHERE entry_id <= {entry})
           THEN set_byte(records, 40, get_byte(records, 40) # 1) ELSE records END AS records FROM ward.away"
    )));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "entry_altered");
    // an exact copy is no change of what the log says
    run(&mut attacker.client, "SAVEPOINT before");
    run(
        &mut attacker.client,
        &swap("SELECT * FROM ward.away ORDER BY random()"),
    );
    assert!(verify(&mut attacker.client).is_valid);
}

#[test]
fn a_segment_of_another_form() {
    let mut attacker = Attacker::new();
    for columns in [
        "entry_id bigint, records int",
        "entry_id bytea, records bytea",
        "entry_id bigint",
        "a bytea, b bytea, c bytea",
    ] {
        run(&mut attacker.client, "SAVEPOINT before");
        run(
            &mut attacker.client,
            &format!("ALTER TABLE {SEGMENT} RENAME TO away; CREATE TABLE {SEGMENT} ({columns})"),
        );
        let error = refused(
            &mut attacker.client,
            "SELECT * FROM ward.verify_audit_trail_integrity()",
        );
        assert!(
            error.message().contains("does not have the columns"),
            "{error:?}"
        );
        run(&mut attacker.client, "ROLLBACK TO before");
    }
}

#[test]
fn an_entry_moved_to_another_segment() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(2050);
    for (number, name) in [(1, "000001"), (4_000_000_000_i64, "4000000000")] {
        let found = attacker.leaves(&format!(
            "CREATE TABLE ward.audit_segment_{name} AS SELECT entry_id, int4send(length(leaf)) || leaf
               || int4send(length(image) + 1) || image AS records FROM leaves WHERE entry_id = {entry};
             INSERT INTO ward.audit_segment VALUES ({number}, 'audit_segment_{name}');
             DELETE FROM leaves WHERE entry_id = {entry}"
        ));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.contains(&one("entry_missing", entry)[0]), "{found:?}");
        assert!(
            found.contains(&one("entry_unexpected", i64::MAX)[0]),
            "{found:?}"
        );
    }
}

#[test]
fn rows_of_a_segment_that_hold_no_records() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(2050);
    let nullable =
        format!("ALTER TABLE {SEGMENT} ALTER entry_id DROP NOT NULL, ALTER records DROP NOT NULL");
    run(&mut attacker.client, &nullable);
    let at = |attacker: &mut Attacker, which: &str| {
        number(
            &mut attacker.client,
            &format!("SELECT {which} FROM {SEGMENT}"),
        )
    };
    let first = at(
        &mut attacker,
        &format!("max(entry_id) FILTER (WHERE entry_id <= {entry})"),
    );
    let next = at(
        &mut attacker,
        &format!("min(entry_id) FILTER (WHERE entry_id > {entry})"),
    );
    for (change, kind, place) in [
        ("records = NULL", "entry_altered", first),
        ("records = ''", "entry_altered", first),
        ("records = '\\x00'", "entry_altered", first),
        ("records = '\\xffffffff'", "entry_altered", first),
        ("entry_id = NULL", "entry_missing", first),
        ("entry_id = entry_id + 1", "entry_missing", first),
        (
            "records = substr(records, 1, length(records) - 1)",
            "entry_altered",
            next - 1,
        ),
        ("records = records || '\\x00'", "entry_duplicated", next),
        ("records = records || records", "entry_altered", next),
    ] {
        let found = attacker.tables(&format!(
            "UPDATE {SEGMENT} SET {change} WHERE entry_id = {first}"
        ));
        // a gap is noticed when the next leaf comes, or at the end
        assert!(found.contains(&one(kind, place)[0]), "{change}: {found:?}");
    }
}

#[test]
fn descriptions_of_tables_edited_beside_the_log() {
    let mut attacker = Attacker::new();
    let read = "SELECT md5(string_agg(a::text, ' ' ORDER BY entry_id)) FROM ward.audit_trail a";
    let before = text(&mut attacker.client, read);
    // They are a copy of what leaves say. Edited, they are not believed.
    for edit in [
        "UPDATE ward.audit_shape SET content = overlay(content PLACING 'eton'::bytea FROM position('note'::bytea IN content))",
        "UPDATE ward.audit_shape SET content = ''",
        "DELETE FROM ward.audit_shape",
    ] {
        run(&mut attacker.client, &format!("SAVEPOINT before; {edit}"));
        assert_eq!(text(&mut attacker.client, read), before, "{edit}");
        assert!(verify(&mut attacker.client).is_valid);
        run(&mut attacker.client, "ROLLBACK TO before");
    }
}

#[test]
fn the_logs_own_tables_renamed() {
    let mut attacker = Attacker::new();
    for table in ["audit_block", "audit_tile"] {
        run(
            &mut attacker.client,
            &format!("SAVEPOINT before; ALTER TABLE ward.{table} RENAME TO away"),
        );
        let verified = attacker
            .client
            .batch_execute("SELECT * FROM ward.verify_audit_trail_integrity()");
        assert!(verified.is_err(), "{table}");
        run(&mut attacker.client, "ROLLBACK TO before");
    }
}
