//! Honest load: many writers, retries after serialization failures and deadlocks, commits that fail at the
//! last moment. Every change that was committed has one entry, and nothing that was not has any.

use crate::{ENTRIES_OF_T, audited_table};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread;
use ward_tests::postgres::error::SqlState;
use ward_tests::postgres::{Client, Error};
use ward_tests::{Cluster, Stop, number, run, seal_and_verify, text, texts};

const WRITERS: i64 = 64;
const ROUNDS: i64 = 12;

#[test]
fn sixty_four_concurrent_writers_and_as_many_entries_as_rows_changed() {
    let cluster = Cluster::with_extension();
    audited_table(&mut cluster.superuser());
    let changed = AtomicI64::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let stop = Stop(&done);
        let sealer = scope.spawn(|| {
            let mut client = cluster.superuser();
            while !done.load(Ordering::Acquire) {
                seal_and_verify(&mut client);
            }
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let mut client = cluster.superuser();
                let changed = &changed;
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        changed.fetch_add(step(&mut client, writer, round), Ordering::AcqRel);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("the writer ends");
        }
        drop(stop);
        sealer.join().expect("the sealer ends");
    });
    let mut client = cluster.superuser();
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), changed.into_inner());
    let unsealed = "SELECT count(*) FROM ward.audit_trail WHERE entry_id IS NULL";
    assert_eq!(number(&mut client, unsealed), 0);
    // A writer changes its own rows only, one transaction after the other: the last entry is what is there now.
    let differing = "SELECT count(*) FROM t FULL JOIN
          (SELECT DISTINCT ON (record_id) record_id::bigint AS id, operation, new_values->>'note' AS note
           FROM ward.audit_trail WHERE table_name = 't' ORDER BY record_id, entry_id DESC) last USING (id)
        WHERE (t.note IS NULL) <> (last.operation = 'DELETE') OR t.note <> last.note";
    assert_eq!(number(&mut client, differing), 0);
}

/// One transaction of a writer; answers how many rows it changed for good.
fn step(client: &mut Client, writer: i64, round: i64) -> i64 {
    let first = writer * 1000;
    let own = format!("id BETWEEN {first} AND {first} + 999");
    let mut rows = |statement: String| client.execute(&statement, &[]).expect("write") as i64;
    match round % 4 {
        0 => rows(format!(
            "INSERT INTO t SELECT {first} + {round} * 10 + g, 'new' FROM generate_series(1, 3) g"
        )),
        1 => rows(format!("UPDATE t SET note = 'round {round}' WHERE {own}")),
        2 => {
            run(
                client,
                &format!(
                    "BEGIN; INSERT INTO t VALUES ({first} + {round} * 10, 'kept');
                     SAVEPOINT a; DELETE FROM t WHERE {own}; ROLLBACK TO a; COMMIT"
                ),
            );
            1
        }
        _ => rows(format!(
            "DELETE FROM t WHERE id = (SELECT min(id) FROM t WHERE {own})"
        )),
    }
}

/// A table of counters, all at zero.
fn counters(cluster: &Cluster) -> Client {
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id bigint PRIMARY KEY, n bigint NOT NULL);
         INSERT INTO t SELECT g, 0 FROM generate_series(1, 4) g;
         SELECT ward.enable_audit('t')",
    );
    client
}

fn assert_code(outcome: Result<(), Error>, code: &SqlState) {
    let error = outcome.expect_err("the server lets it pass");
    assert_eq!(error.code(), Some(code), "{error:?}");
}

/// Each counter as it is now has as many entries, every one a step by one.
fn assert_steps(client: &mut Client, total: i64) {
    seal_and_verify(client);
    assert_eq!(number(client, "SELECT sum(n)::bigint FROM t"), total);
    assert_eq!(number(client, ENTRIES_OF_T), total);
    let steps = "SELECT count(DISTINCT (record_id, new_values->>'n')) FROM ward.audit_trail
                 WHERE (new_values->>'n')::bigint = (old_values->>'n')::bigint + 1";
    assert_eq!(number(client, steps), total);
}

#[test]
fn transactions_that_fail_to_serialize_and_are_tried_again() {
    let cluster = Cluster::with_extension();
    let mut one = counters(&cluster);
    let mut two = cluster.superuser();
    // an update of a row that somebody else has updated since
    run(
        &mut one,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT n FROM t; UPDATE t SET n = n + 1 WHERE id = 2",
    );
    run(&mut two, "UPDATE t SET n = n + 1 WHERE id = 1");
    let update = "UPDATE t SET n = n + 1 WHERE id = 1";
    assert_code(
        one.batch_execute(update),
        &SqlState::T_R_SERIALIZATION_FAILURE,
    );
    run(&mut one, &format!("ROLLBACK; {update}"));
    assert_steps(&mut two, 2);
    // write skew: the second fails while it commits, when its entries are written already
    let begin = "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT sum(n) FROM t WHERE id IN (3, 4)";
    run(&mut one, begin);
    run(&mut two, begin);
    run(&mut one, "UPDATE t SET n = n + 1 WHERE id = 3");
    run(&mut two, "UPDATE t SET n = n + 1 WHERE id = 4");
    run(&mut one, "COMMIT");
    assert_code(
        two.batch_execute("COMMIT"),
        &SqlState::T_R_SERIALIZATION_FAILURE,
    );
    assert_steps(&mut one, 3);
    run(
        &mut two,
        &format!("{begin}; UPDATE t SET n = n + 1 WHERE id = 4; COMMIT"),
    );
    assert_steps(&mut one, 4);
}

#[test]
fn transactions_that_deadlock_and_are_tried_again() {
    let cluster = Cluster::with_extension();
    let mut one = counters(&cluster);
    let mut two = cluster.superuser();
    let update = |id: i64| format!("UPDATE t SET n = n + 1 WHERE id = {id}");
    for (client, id) in [(&mut one, 1), (&mut two, 2)] {
        run(client, "SET deadlock_timeout = '50ms'");
        run(client, &format!("BEGIN; {}", update(id)));
    }
    let outcomes = thread::scope(|scope| {
        let crossing = scope.spawn(|| one.batch_execute(&update(2)));
        let second = two.batch_execute(&update(1));
        [crossing.join().expect("the session ends"), second]
    });
    let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
    assert_eq!(failed, 1, "{outcomes:?}");
    for (outcome, client) in outcomes.into_iter().zip([&mut one, &mut two]) {
        match outcome {
            Ok(()) => run(client, "COMMIT"),
            Err(_) => {
                assert_code(outcome, &SqlState::T_R_DEADLOCK_DETECTED);
                run(client, "ROLLBACK");
            }
        }
    }
    assert_steps(&mut one, 2);
    run(
        &mut two,
        &format!("BEGIN; {}; {}; COMMIT", update(1), update(2)),
    );
    assert_steps(&mut one, 4);
}

#[test]
fn a_commit_that_a_deferred_constraint_refuses() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id bigint PRIMARY KEY, n bigint UNIQUE DEFERRABLE INITIALLY DEFERRED, note text);
         SELECT ward.enable_audit('t'); INSERT INTO t VALUES (1, 1, 'kept')",
    );
    run(
        &mut client,
        "BEGIN; INSERT INTO t SELECT g + 1, g, repeat('x', 400) FROM generate_series(1, 2000) g",
    );
    assert_code(client.batch_execute("COMMIT"), &SqlState::UNIQUE_VIOLATION);
    run(&mut client, "INSERT INTO t VALUES (2, 2, 'kept')");
    seal_and_verify(&mut client);
    let kept = "SELECT record_id FROM ward.audit_trail WHERE table_name = 't' ORDER BY entry_id";
    assert_eq!(texts(&mut client, kept), ["1", "2"]);
}

#[test]
fn a_statement_cancelled_halfway() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "CREATE FUNCTION slow(n bigint) RETURNS text LANGUAGE plpgsql AS $$
         BEGIN IF n > 3000 THEN PERFORM pg_sleep(600); END IF; RETURN repeat('x', 400); END $$;
         BEGIN; INSERT INTO t VALUES (0, 'kept'); SAVEPOINT a; SET LOCAL statement_timeout = '1s'",
    );
    let insert = "INSERT INTO t SELECT g, slow(g) FROM generate_series(1, 4000) g";
    assert_code(client.batch_execute(insert), &SqlState::QUERY_CANCELED);
    run(
        &mut client,
        "ROLLBACK TO a; INSERT INTO t VALUES (1, 'kept'); COMMIT",
    );
    seal_and_verify(&mut client);
    let ids = "SELECT string_agg(record_id, ' ' ORDER BY entry_id) FROM ward.audit_trail";
    assert_eq!(text(&mut client, ids).as_deref(), Some("0 1"));
}
