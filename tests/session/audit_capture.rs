//! Savepoints, and reading the trail while writing it. The table itself is the oracle: it only
//! ever gets rows with ascending ids, so the trail must list exactly its ids, in order.

use crate::{ENTRIES_OF_T, audited_table};
use ward_tests::postgres::Client;
use ward_tests::{Cluster, number, run, seal_and_verify, text};

/// Rows enough to overflow the buffer of the current subtransaction (more than 1 MB).
const MANY: &str = "INSERT INTO t SELECT nextval('ids'), repeat('x', 400)
                    FROM generate_series(1, 4000)";
const ONE: &str = "INSERT INTO t VALUES (nextval('ids'), 'one')";

fn prepare(cluster: &Cluster) -> Client {
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "CREATE SEQUENCE ids");
    client
}

fn assert_trail_is_the_table(client: &mut Client) {
    seal_and_verify(client);
    let table = text(
        client,
        "SELECT string_agg(id::text, ' ' ORDER BY id) FROM t",
    );
    let trail = text(
        client,
        "SELECT string_agg(record_id, ' ' ORDER BY entry_id) FROM ward.audit_trail
         WHERE table_name = 't' AND operation = 'INSERT'",
    );
    assert_eq!(trail.is_some(), table.is_some());
    assert!(trail == table, "the trail differs from the table");
}

fn transaction(steps: &[&str]) {
    let cluster = Cluster::with_extension();
    let mut client = prepare(&cluster);
    run(&mut client, "BEGIN");
    for step in steps {
        run(&mut client, step);
    }
    run(&mut client, "COMMIT");
    assert_trail_is_the_table(&mut client);
}

#[test]
fn savepoint_rolled_back_among_buffered_entries() {
    transaction(&[ONE, "SAVEPOINT a", ONE, ONE, "ROLLBACK TO a", ONE]);
}

#[test]
fn savepoint_rolled_back_after_the_buffer_was_full() {
    transaction(&[MANY, "SAVEPOINT a", MANY, ONE, "ROLLBACK TO a", ONE]);
}

#[test]
fn parent_rows_buffered_before_a_child_that_overflows_and_is_rolled_back() {
    transaction(&[ONE, "SAVEPOINT a", MANY, MANY, "ROLLBACK TO a", ONE]);
}

#[test]
fn parent_rows_buffered_before_a_child_that_overflows_and_is_released() {
    transaction(&[ONE, "SAVEPOINT a", MANY, MANY, "RELEASE a", ONE]);
}

#[test]
fn released_child_inside_a_rolled_back_parent() {
    transaction(&[
        ONE,
        "SAVEPOINT a",
        MANY,
        "SAVEPOINT b",
        MANY,
        "RELEASE b",
        ONE,
        "ROLLBACK TO a",
        ONE,
    ]);
}

#[test]
fn rolled_back_child_inside_a_released_parent() {
    transaction(&[
        ONE,
        "SAVEPOINT a",
        ONE,
        "SAVEPOINT b",
        MANY,
        "ROLLBACK TO b",
        MANY,
        "RELEASE a",
        ONE,
    ]);
}

#[test]
fn the_same_savepoint_rolled_back_again_and_again() {
    let mut steps = vec![ONE, "SAVEPOINT a"];
    for _ in 0..5 {
        steps.extend([MANY, ONE, "ROLLBACK TO a"]);
    }
    steps.push(ONE);
    transaction(&steps);
}

#[test]
fn two_hundred_nested_savepoints() {
    let mut steps = Vec::new();
    for _ in 0..200 {
        steps.extend(["SAVEPOINT a", ONE]);
    }
    steps.push("ROLLBACK TO a");
    transaction(&steps);
}

#[test]
fn exception_blocks_in_plpgsql() {
    transaction(&["DO $$
        BEGIN
          FOR round IN 1..200 LOOP
            BEGIN
              INSERT INTO t VALUES (nextval('ids'), 'in a block');
              IF round % 3 = 0 THEN RAISE EXCEPTION 'no'; END IF;
            EXCEPTION WHEN raise_exception THEN
              INSERT INTO t VALUES (nextval('ids'), 'in the handler');
            END;
          END LOOP;
        END $$"]);
}

#[test]
fn everything_rolled_back_to_the_first_savepoint_leaves_no_entry() {
    transaction(&["SAVEPOINT a", MANY, "SAVEPOINT b", ONE, "ROLLBACK TO a"]);
}

/// Random walks over INSERT, SAVEPOINT, ROLLBACK TO and RELEASE, reproducible by their seed.
#[test]
fn random_walks_through_savepoints() {
    let cluster = Cluster::with_extension();
    let mut client = prepare(&cluster);
    for seed in 1..=12u64 {
        let mut state = seed;
        let mut next = |bound: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % bound
        };
        let mut depth = 0;
        run(&mut client, "BEGIN");
        for _ in 0..80 {
            let step = match next(10) {
                0..=3 => ONE.to_owned(),
                4 => MANY.to_owned(),
                5..=7 => {
                    depth += 1;
                    format!("SAVEPOINT s{depth}")
                }
                _ if depth == 0 => ONE.to_owned(),
                8 => {
                    depth = 1 + next(depth);
                    format!("ROLLBACK TO s{depth}")
                }
                _ => {
                    depth = 1 + next(depth);
                    let step = format!("RELEASE s{depth}");
                    depth -= 1;
                    step
                }
            };
            run(&mut client, &step);
        }
        run(&mut client, "COMMIT");
    }
    assert_trail_is_the_table(&mut client);
}

#[test]
fn the_trail_read_inside_the_writing_transaction() {
    let cluster = Cluster::with_extension();
    let mut client = prepare(&cluster);
    run(&mut client, "BEGIN");
    run(&mut client, ONE);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 1);
    run(&mut client, "SAVEPOINT a");
    run(&mut client, ONE);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 2);
    run(&mut client, "ROLLBACK TO a");
    assert_eq!(number(&mut client, ENTRIES_OF_T), 1);
    run(&mut client, ONE);
    let unsealed = "SELECT count(*) FROM ward.audit_trail
                    WHERE entry_id IS NULL AND operation = 'INSERT' AND table_name = 't'";
    assert_eq!(number(&mut client, unsealed), 2);
    let mut other = cluster.superuser();
    assert_eq!(number(&mut other, ENTRIES_OF_T), 0);
    run(&mut client, "COMMIT");
    assert_eq!(number(&mut other, ENTRIES_OF_T), 2);
    assert_trail_is_the_table(&mut client);
}

#[test]
fn the_trail_read_in_a_transaction_that_rolls_back() {
    let cluster = Cluster::with_extension();
    let mut client = prepare(&cluster);
    run(&mut client, "BEGIN");
    run(&mut client, MANY);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 4000);
    run(&mut client, "ROLLBACK");
    assert_eq!(number(&mut client, ENTRIES_OF_T), 0);
    run(&mut client, ONE);
    assert_trail_is_the_table(&mut client);
}
