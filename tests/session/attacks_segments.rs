//! Attacks by a superuser on a log of several segments.

use crate::attacks_scene::{Attacker, Finding, one};
use crate::audited_table;
use std::sync::Arc;
use ward_tests::{Cluster, Options, number, run, seal_and_verify, tamper_segment, verify};

/// How many leaves a segment has.
const SEGMENT: i64 = 1024;

/// A log of three full segments and a part of a fourth; every block but the first goes over the end of a segment.
fn attacker() -> Attacker {
    let cluster = Cluster::with_extension_and(Options::default().set("ward.seal_interval", "1h"));
    let mut client = cluster.superuser();
    run(
        &mut client,
        "INSERT INTO ward.audit_layout (segment_bits) VALUES (10)",
    );
    audited_table(&mut client);
    for first in [0, 900, 1800, 2700] {
        let rows = format!(
            "INSERT INTO t SELECT g, 'note ' || g FROM generate_series({first} + 1, {first} + 900) g"
        );
        run(&mut client, &rows);
        seal_and_verify(&mut client);
    }
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM ward.audit_segment"),
        4
    );
    Attacker::on(Arc::new(cluster))
}

fn all_at(found: &[Finding], kind: &str, from: i64, to: i64) {
    let expected: Vec<Finding> = (from..to).flat_map(|entry| one(kind, entry)).collect();
    assert_eq!(found, expected);
}

#[test]
fn segments_detached_swapped_and_mixed() {
    let mut attacker = attacker();
    for (segment, first) in [(1, SEGMENT), (2, 2 * SEGMENT)] {
        for detach in [
            "DROP TABLE ward.audit_segment_00000{}",
            "ALTER TABLE ward.audit_segment_00000{} RENAME TO away",
            "ALTER TABLE ward.audit_segment_00000{} SET SCHEMA public",
            "TRUNCATE ward.audit_segment_00000{}",
            // with every trace of it in the tables of the log
            "DROP TABLE ward.audit_segment_00000{0}; DELETE FROM ward.audit_segment WHERE segment_no = {0}",
        ] {
            let attack = detach
                .replace("{0}", "{}")
                .replace("{}", &segment.to_string());
            assert_eq!(
                attacker.tables(&attack),
                one("entry_missing", first),
                "{attack}"
            );
        }
    }
    swapped(&mut attacker);
    entries_exchanged(&mut attacker);
}

/// Two segments under each other's name.
fn swapped(attacker: &mut Attacker) {
    let swap = "ALTER TABLE ward.audit_segment_000001 RENAME TO away;
                ALTER TABLE ward.audit_segment_000002 RENAME TO audit_segment_000001;
                ALTER TABLE ward.away RENAME TO audit_segment_000002;";
    // the numbers in their rows tell
    let found = attacker.tables(swap);
    assert!(found.contains(&one("entry_missing", SEGMENT)[0]));
    let unexpected = found.iter().filter(|found| found.0 == "entry_unexpected");
    assert_eq!(unexpected.count() as i64, 2 * SEGMENT, "{}", found.len());
    // with numbers that fit, what the tree was built over tells
    let found = attacker.tables(&format!(
        "{swap} UPDATE ward.audit_segment_000001 SET entry_id = entry_id - {SEGMENT};
         UPDATE ward.audit_segment_000002 SET entry_id = entry_id + {SEGMENT}"
    ));
    all_at(&found, "entry_altered", SEGMENT, 3 * SEGMENT);
    // an older copy of one in the place of another
    let found = attacker.tables(
        "TRUNCATE ward.audit_segment_000002;
         INSERT INTO ward.audit_segment_000002 SELECT entry_id + 1024, records FROM ward.audit_segment_000001",
    );
    all_at(&found, "entry_altered", 2 * SEGMENT, 3 * SEGMENT);
}

/// Two entries change places over the border of their segments.
fn entries_exchanged(attacker: &mut Attacker) {
    let (one_entry, other) = (attacker.entry(300), attacker.entry(1200));
    assert!(one_entry < SEGMENT && (SEGMENT..2 * SEGMENT).contains(&other));
    let client = &mut attacker.client;
    run(client, "SAVEPOINT exchange");
    let keep = |name: &str, entry: i64| {
        format!(
            "CREATE TEMP TABLE {name} AS SELECT leaf, image FROM leaves WHERE entry_id = {entry}"
        )
    };
    let put = |name: &str, entry: i64| {
        format!(
            "UPDATE leaves SET leaf = {name}.leaf, image = {name}.image FROM {name} WHERE entry_id = {entry}"
        )
    };
    let (first, second) = ("ward.audit_segment_000000", "ward.audit_segment_000001");
    tamper_segment(client, second, &keep("b", other));
    tamper_segment(
        client,
        first,
        &format!("{}; {}", keep("a", one_entry), put("b", one_entry)),
    );
    assert!(verify(client).first_bad_entry == Some(one_entry));
    tamper_segment(client, second, &put("a", other));
    let found = attacker.tables("SELECT");
    assert_eq!(
        found,
        [one("entry_altered", one_entry), one("entry_altered", other)].concat()
    );
    run(&mut attacker.client, "ROLLBACK TO exchange");
}

/// A restore leaf in the place of a sealed entry, and behind the last one.
#[test]
fn a_forged_restore_leaf() {
    let mut attacker = Attacker::new();
    let entry = attacker.entry(2050);
    // type, version, flags, xid, position, context_back, time, restored_size, reason
    let restore =
        "'\\x170100'::bytea || substr(leaf, 4, 12) || int4send(1) || int8send(0) || int8send(6)
                   || int2send(6::int2) || 'honest'::bytea";
    let found = attacker.leaves(&format!(
        "UPDATE leaves SET leaf = {restore}, image = NULL WHERE entry_id = {entry}"
    ));
    assert_eq!(found, one("entry_altered", entry));
    // behind the log's last leaf, where it would excuse most
    let size = attacker.size();
    let found = attacker.leaves(&format!(
        "INSERT INTO leaves SELECT {size}, {restore}, NULL FROM leaves WHERE entry_id = {entry}"
    ));
    assert_eq!(found, one("entry_unexpected", size));
}
