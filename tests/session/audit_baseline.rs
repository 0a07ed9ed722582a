//! Rows that a table has when its audit begins.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use ward_tests::{Cluster, Stop, number, refused, run, seal_and_verify, text, texts, wait_until};

const ROWS: &str = "SELECT concat_ws(' ', operation, table_name, record_id, new_values)
    FROM ward.audit_trail WHERE operation <> 'EVENT' ORDER BY entry_id";

/// How often each row of table `t` is in the trail, other than once.
const NOT_ONCE: &str = "SELECT count(*) FROM t FULL JOIN (
        SELECT record_id, count(*) AS n FROM ward.audit_trail
        WHERE table_name = 't' AND operation IN ('SNAPSHOT', 'INSERT') GROUP BY record_id) e
    ON e.record_id = t.id::text WHERE t.id IS NULL OR e.n IS DISTINCT FROM 1";

#[test]
fn every_row_is_recorded_once_while_others_write() {
    const WRITERS: i64 = 4;
    const EACH: i64 = 30;
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id bigint PRIMARY KEY, note text);
         INSERT INTO t SELECT g, 'before' FROM generate_series(1, 2000) g",
    );
    let stop = AtomicBool::new(false);
    let written: Vec<AtomicI64> = (0..WRITERS).map(|_| AtomicI64::new(0)).collect();
    thread::scope(|scope| {
        let _stop = Stop(&stop);
        for writer in 0..WRITERS {
            let (mut client, stop, written) = (cluster.superuser(), &stop, &written);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let id = written[writer as usize].load(Ordering::Relaxed) * WRITERS + writer;
                    run(
                        &mut client,
                        &format!("INSERT INTO t VALUES ({}, 'meanwhile')", 10_000 + id),
                    );
                    written[writer as usize].fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let all_wrote = |more: &[i64]| {
            written
                .iter()
                .zip(more)
                .all(|(now, before)| now.load(Ordering::Relaxed) >= before + EACH)
        };
        wait_until("everybody wrote", || all_wrote(&[0; WRITERS as usize]));
        run(
            &mut client,
            "SELECT ward.enable_audit('t', snapshot => true)",
        );
        let before: Vec<i64> = written.iter().map(|n| n.load(Ordering::Relaxed)).collect();
        wait_until("everybody wrote again", || all_wrote(&before));
    });
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, NOT_ONCE), 0);
    for operation in ["SNAPSHOT", "INSERT"] {
        let query =
            format!("SELECT count(*) FROM ward.audit_trail WHERE operation = '{operation}'");
        assert!(number(&mut client, &query) >= EACH * WRITERS, "{operation}");
    }
    // the whole snapshot is one transaction, that of enable_audit()
    let transactions = "SELECT count(DISTINCT transaction_id) FROM ward.audit_trail
                        WHERE operation = 'SNAPSHOT' OR new_values->>'event_type' = 'audit_enabled'";
    assert_eq!(number(&mut client, transactions), 1);
}

#[test]
fn of_partitions_children_and_hidden_columns() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE p (id int PRIMARY KEY, noise text, secret text) PARTITION BY RANGE (id);
         CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE TABLE p_high PARTITION OF p FOR VALUES FROM (10) TO (20);
         INSERT INTO p VALUES (1, 'noise-canary', 'secret-canary'), (11, 'noise-canary', NULL);
         SELECT ward.enable_audit('p', exclude => '{noise}', redact => '{secret}', snapshot => true);
         CREATE TABLE f (a int); CREATE TABLE f_child (b text) INHERITS (f);
         INSERT INTO f VALUES (1); INSERT INTO f_child VALUES (2, 'x');
         SELECT ward.enable_audit('f', snapshot => true);
         CREATE TABLE empty (a int); SELECT ward.enable_audit('empty', snapshot => true);
         CREATE TABLE silent (a int); INSERT INTO silent VALUES (1);
         SELECT ward.enable_audit('silent'), ward.enable_audit('silent', snapshot => NULL)",
    );
    seal_and_verify(&mut client);
    assert_eq!(
        texts(&mut client, ROWS),
        [
            r#"SNAPSHOT p 1 {"id": 1, "secret": "[redacted]"}"#,
            r#"SNAPSHOT p 11 {"id": 11, "secret": "[redacted]"}"#,
            r#"SNAPSHOT f {"a": 1}"#,
            r#"SNAPSHOT f_child {"a": 2, "b": "x"}"#,
        ]
    );
    let trail = text(
        &mut client,
        "SELECT string_agg(a::text, '') FROM ward.audit_trail a",
    );
    assert!(!trail.unwrap_or_default().contains("canary"));
}

#[test]
fn of_rows_that_the_same_transaction_wrote_and_of_none_it_took_back() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, note text); INSERT INTO t VALUES (1, 'old'), (2, 'old')",
    );
    run(
        &mut client,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t",
    );
    // what others commit before the lock belongs to it as well, whatever this transaction sees
    run(
        &mut cluster.superuser(),
        "INSERT INTO t VALUES (3, 'other'); DELETE FROM t WHERE id = 2",
    );
    run(
        &mut client,
        "INSERT INTO t VALUES (4, 'own');
         SAVEPOINT a; INSERT INTO t VALUES (5, 'taken back'); ROLLBACK TO a;
         SELECT ward.enable_audit('t', snapshot => true);
         INSERT INTO t VALUES (6, 'later'); COMMIT",
    );
    seal_and_verify(&mut client);
    assert_eq!(
        texts(&mut client, ROWS),
        [
            r#"SNAPSHOT t 1 {"id": 1, "note": "old"}"#,
            r#"SNAPSHOT t 3 {"id": 3, "note": "other"}"#,
            r#"SNAPSHOT t 4 {"id": 4, "note": "own"}"#,
            r#"INSERT t 6 {"id": 6, "note": "later"}"#,
        ]
    );
}

#[test]
fn cancelled_it_leaves_neither_entries_nor_an_audit() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, note text);
         INSERT INTO t SELECT g, repeat('x', 100) FROM generate_series(1, 200000) g",
    );
    // a session of its own: nothing else may have to be done in that time
    let mut hasty = cluster.superuser();
    run(&mut hasty, "SET statement_timeout = '20ms'");
    let error = refused(
        &mut hasty,
        "SELECT ward.enable_audit('t', snapshot => true)",
    );
    assert_eq!(error.code().code(), "57014");
    drop(hasty);
    run(
        &mut client,
        "BEGIN; SELECT ward.enable_audit('t', snapshot => true); ROLLBACK;
         INSERT INTO t VALUES (0, 'unaudited')",
    );
    for nothing in [
        "ward.audit_trail",
        "ward.audited_tables",
        "ward.audit_table",
    ] {
        let query = format!("SELECT count(*) FROM {nothing}");
        assert_eq!(number(&mut client, &query), 0, "{nothing}");
    }
    // and a large one ends, in pieces: far more than the buffer holds
    run(
        &mut client,
        "SELECT ward.enable_audit('t', snapshot => true)",
    );
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, NOT_ONCE), 0);
}

#[test]
fn a_second_one_records_the_rows_as_they_are_then() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, n numeric); INSERT INTO t VALUES (1, 1.5);
         SELECT ward.enable_audit('t', snapshot => true);
         ALTER TABLE t ALTER n TYPE int;
         SELECT ward.enable_audit('t', snapshot => true)",
    );
    seal_and_verify(&mut client);
    assert_eq!(
        texts(&mut client, ROWS),
        [
            r#"SNAPSHOT t 1 {"n": 1.5, "id": 1}"#,
            r#"SNAPSHOT t 1 {"n": 2, "id": 1}"#
        ]
    );
}
