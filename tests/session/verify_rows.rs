//! `ward.verify_current_rows()`: the rows as they are, and as the trail last recorded them.

use crate::audited_table;
use std::thread;
use ward_tests::postgres::Client;
use ward_tests::{Cluster, DATABASE, number, refused, run, texts};

/// Record and kind of what differs in table `t`.
fn differing(client: &mut Client, table: &str) -> Vec<String> {
    texts(
        client,
        &format!(
            "SELECT record_id || ' ' || kind FROM ward.verify_current_rows('{table}') ORDER BY 1"
        ),
    )
}

const NONE: [&str; 0] = [];

#[test]
fn what_was_changed_outside_the_trail_is_found() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id bigint PRIMARY KEY, note text, secret text, amount numeric, at timestamptz);
         SELECT ward.enable_audit('t', redact => '{secret}', exclude => '{at}');
         INSERT INTO t SELECT g, 'n', 's', g / 3.0, now() FROM generate_series(1, 100) g;
         UPDATE t SET amount = NULL WHERE id % 7 = 0;
         UPDATE t SET id = -id WHERE id % 10 = 0;
         DELETE FROM t WHERE id = 33",
    );
    for sealed in [false, true] {
        if sealed {
            run(&mut client, "SELECT ward.seal_audit_trail()");
        }
        assert_eq!(differing(&mut client, "t"), NONE);
    }
    // hidden columns are not compared: the trail does not know their values
    run(
        &mut client,
        "ALTER TABLE t DISABLE TRIGGER ALL;
         UPDATE t SET secret = 'other', at = NULL;
         UPDATE t SET note = NULL WHERE id = 1;
         UPDATE t SET note = '' WHERE id = 2;
         UPDATE t SET amount = amount + 1 WHERE id = 3;
         DELETE FROM t WHERE id = 4;
         INSERT INTO t VALUES (33), (1000);
         ALTER TABLE t ENABLE TRIGGER ALL",
    );
    let wanted = [
        "1 changed",
        "1000 unrecorded",
        "2 changed",
        "3 changed",
        "33 unexpected",
        "4 missing",
    ];
    assert_eq!(differing(&mut client, "t"), wanted);
    // what is recorded from now on is known again
    run(
        &mut client,
        "UPDATE t SET note = 'known' WHERE id IN (1, 2, 3); DELETE FROM t WHERE id IN (33, 1000)",
    );
    assert_eq!(differing(&mut client, "t"), ["4 missing"]);
    // a table with other columns is compared by those that are the same
    run(
        &mut client,
        "INSERT INTO t VALUES (4); ALTER TABLE t ADD extra int DEFAULT 7, DROP COLUMN amount,
             ALTER note TYPE varchar(100)",
    );
    assert_eq!(differing(&mut client, "t"), NONE);
    run(&mut client, "TRUNCATE t");
    assert_eq!(differing(&mut client, "t"), NONE);
}

#[test]
fn transactions_that_overlap_raise_no_alarm() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "INSERT INTO t SELECT g, '' FROM generate_series(1, 5) g",
    );
    // The older transaction has the last word on row 1, and the younger one comes last in the block.
    let mut old = cluster.client(DATABASE, "postgres");
    let mut young = cluster.client(DATABASE, "postgres");
    run(&mut old, "BEGIN; UPDATE t SET note = 'old' WHERE id = 2");
    run(
        &mut young,
        "UPDATE t SET note = 'young' WHERE id = 1; DELETE FROM t WHERE id = 3",
    );
    run(
        &mut old,
        "UPDATE t SET note = 'older' WHERE id = 1; INSERT INTO t VALUES (3, 'again')",
    );
    assert_eq!(differing(&mut client, "t"), NONE);
    run(&mut old, "COMMIT");
    assert_eq!(differing(&mut client, "t"), NONE);
    run(&mut client, "SELECT ward.seal_audit_trail()");
    assert_eq!(differing(&mut client, "t"), NONE);

    // the same for a table that was emptied in between
    run(&mut old, "BEGIN; SELECT pg_current_xact_id()");
    run(&mut young, "TRUNCATE t");
    run(
        &mut old,
        "INSERT INTO t VALUES (1, 'after'), (9, 'after'); COMMIT",
    );
    assert_eq!(differing(&mut client, "t"), NONE);
    run(&mut client, "SELECT ward.seal_audit_trail()");
    assert_eq!(differing(&mut client, "t"), NONE);
    // what this transaction has done counts, what it has rolled back does not
    run(
        &mut client,
        "BEGIN; UPDATE t SET note = 'mine' WHERE id = 1; SAVEPOINT a; DELETE FROM t; ROLLBACK TO a",
    );
    assert_eq!(differing(&mut client, "t"), NONE);
    run(&mut client, "ROLLBACK");

    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let mut client = cluster.client(DATABASE, "postgres");
            thread::spawn(move || {
                for round in 0..50 {
                    run(
                        &mut client,
                        &format!(
                            "INSERT INTO t VALUES ({0}, 'x') ON CONFLICT (id) DO UPDATE SET note = t.note || '{writer}';
                             DELETE FROM t WHERE id = {0} + 3",
                            round % 8
                        ),
                    );
                }
            })
        })
        .collect();
    while writers.iter().any(|writer| !writer.is_finished()) {
        assert_eq!(differing(&mut client, "t"), NONE);
    }
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(differing(&mut client, "t"), NONE);
}

#[test]
fn partitions_composite_keys_and_encrypted_columns_are_compared() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "SELECT ward.generate_encryption_key('k');
         CREATE TABLE p (a int, b text, v ward.encrypted_text('k'), PRIMARY KEY (a, b)) PARTITION BY RANGE (a);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
         CREATE TABLE empty (id int PRIMARY KEY) PARTITION BY RANGE (id);
         SELECT ward.enable_audit('p'), ward.enable_audit('empty');
         INSERT INTO p SELECT g, 'k' || g, 'secret' FROM generate_series(1, 19) g;
         UPDATE p SET a = a + 10 WHERE a = 5;
         UPDATE p SET b = 'other' WHERE a = 6;
         UPDATE p SET v = 'changed' WHERE a = 7;
         TRUNCATE p2;
         INSERT INTO p VALUES (12, 'k12', 'secret')",
    );
    assert_eq!(differing(&mut client, "p"), NONE);
    assert_eq!(differing(&mut client, "empty"), NONE);
    run(&mut client, "SET ward.reveal = on");
    assert_eq!(differing(&mut client, "p"), NONE);
    run(
        &mut client,
        "ALTER TABLE p DISABLE TRIGGER ALL;
         UPDATE p SET v = 'forged' WHERE a = 8; DELETE FROM p WHERE a = 6;
         ALTER TABLE p ENABLE TRIGGER ALL",
    );
    let wanted = [r#"["6","other"] missing"#, r#"["8","k8"] changed"#];
    assert_eq!(differing(&mut client, "p"), wanted);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE free (id int PRIMARY KEY);
         CREATE TABLE keyless (id int); SELECT ward.enable_audit('keyless');
         CREATE TABLE hidden (id int PRIMARY KEY); SELECT ward.enable_audit('hidden', redact => '{id}');
         CREATE ROLE auditor LOGIN",
    );
    for (table, code) in [
        ("'free'", "55000"),
        ("'keyless'", "55000"),
        ("'hidden'", "0A000"),
        ("NULL", "22004"),
        ("'nowhere'", "42P01"),
    ] {
        let error = refused(
            &mut client,
            &format!("SELECT ward.verify_current_rows({table})"),
        );
        assert_eq!(error.code().code(), code, "{table}: {error}");
    }
    // nobody may call it unless that was granted
    let mut auditor = cluster.client(DATABASE, "auditor");
    run(&mut client, "GRANT USAGE ON SCHEMA ward TO auditor");
    let call = "SELECT ward.verify_current_rows('hidden')";
    assert_eq!(refused(&mut auditor, call).code().code(), "42501");
    let health = "SELECT * FROM ward.audit_health";
    assert_eq!(refused(&mut auditor, health).code().code(), "42501");
    let behind = "SELECT * FROM ward.audit_health_state()";
    assert_eq!(refused(&mut auditor, behind).code().code(), "42501");
    audited_table(&mut client);
    run(
        &mut client,
        "GRANT EXECUTE ON FUNCTION ward.verify_current_rows(regclass) TO auditor;
         GRANT SELECT ON ward.audit_health, ward.audit_growth TO auditor;
         INSERT INTO t VALUES (1, 'n'); SELECT ward.seal_audit_trail(); BEGIN; INSERT INTO t VALUES (2, 'n'); COMMIT",
    );
    assert_eq!(
        number(
            &mut auditor,
            "SELECT count(*) FROM ward.verify_current_rows('t')"
        ),
        0
    );
    run(
        &mut auditor,
        "SELECT * FROM ward.audit_health; SELECT * FROM ward.audit_growth",
    );
}
