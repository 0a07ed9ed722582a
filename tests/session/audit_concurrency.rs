//! Many writers at once. A chain that cries "tampered" under honest load is worthless.

use crate::{ENTRIES_OF_T, audited_table};
use std::thread;
use ward_tests::{Cluster, number, run, seal_and_verify, texts};

const WRITERS: i64 = 16;
const ROUNDS: i64 = 60;

#[test]
fn sixteen_concurrent_writers_and_every_change_has_its_entry() {
    let cluster = Cluster::with_extension();
    audited_table(&mut cluster.superuser());
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let mut client = cluster.superuser();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let id = writer * ROUNDS + round;
                    run(&mut client, &format!("INSERT INTO t VALUES ({id}, 'new')"));
                    run(
                        &mut client,
                        &format!("UPDATE t SET note = 'changed' WHERE id = {id}"),
                    );
                }
            });
        }
        // sealing while they write
        let mut client = cluster.superuser();
        for _ in 0..10 {
            run(&mut client, "SELECT ward.seal_audit_trail()");
        }
    });
    let mut client = cluster.superuser();
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 2 * WRITERS * ROUNDS);
    let unsealed = "SELECT count(*) FROM ward.audit_trail WHERE entry_id IS NULL";
    assert_eq!(number(&mut client, unsealed), 0);
    let twice = "SELECT count(*) - count(DISTINCT (record_id, operation)) FROM ward.audit_trail";
    assert_eq!(number(&mut client, twice), 0);
}

#[test]
fn writers_that_all_change_the_same_row() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id bigint PRIMARY KEY, n bigint NOT NULL);
         INSERT INTO t VALUES (1, 0);
         SELECT ward.enable_audit('t')",
    );
    thread::scope(|scope| {
        for _ in 0..WRITERS {
            let mut client = cluster.superuser();
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    run(&mut client, "UPDATE t SET n = n + 1 WHERE id = 1");
                }
            });
        }
    });
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), WRITERS * ROUNDS);
    let steps = "SELECT count(*) FROM ward.audit_trail
                 WHERE (new_values->>'n')::bigint = (old_values->>'n')::bigint + 1";
    assert_eq!(number(&mut client, steps), WRITERS * ROUNDS);
}

#[test]
fn a_transaction_open_across_many_blocks_delays_nobody_and_is_complete() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    let mut slow = cluster.superuser();
    run(&mut slow, "BEGIN; INSERT INTO t VALUES (0, 'slow')");
    for id in 1..=8 {
        run(
            &mut client,
            &format!("INSERT INTO t VALUES ({id}, 'quick')"),
        );
        seal_and_verify(&mut client);
        assert_eq!(number(&mut client, ENTRIES_OF_T), id);
        run(
            &mut slow,
            &format!("INSERT INTO t VALUES ({}, 'slow')", id + 100),
        );
    }
    let blocks_before = number(&mut client, "SELECT max(block_no) FROM ward.audit_blocks");
    run(&mut slow, "COMMIT");
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 17);
    let slow_blocks = texts(
        &mut client,
        "SELECT DISTINCT block_no::text FROM ward.audit_trail
         WHERE new_values->>'note' = 'slow'",
    );
    assert_eq!(slow_blocks, [(blocks_before + 1).to_string()]);
}

#[test]
fn a_transaction_that_rolls_back_leaves_no_entry() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "BEGIN; INSERT INTO t SELECT g, 'gone' FROM generate_series(1, 20000) g; ROLLBACK;
         INSERT INTO t VALUES (1, 'kept')",
    );
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 1);
}

#[test]
fn sealing_when_nothing_happened_makes_no_block() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'once')");
    seal_and_verify(&mut client);
    let blocks = "SELECT count(*) FROM ward.audit_blocks";
    let before = number(&mut client, blocks);
    for _ in 0..3 {
        seal_and_verify(&mut client);
    }
    assert_eq!(number(&mut client, blocks), before);
}
