//! Restarts and crashes: no committed change without its entry, and no false alarm afterwards.

use crate::{ENTRIES_OF_T, audited_table};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};
use ward_tests::{Cluster, number, run, seal_and_verify, texts};

const IDS_OF_T: &str = "SELECT id::text FROM t ORDER BY t.id";
const IDS_OF_TRAIL: &str = "SELECT record_id FROM ward.audit_trail
                            WHERE table_name = 't' AND operation = 'INSERT'
                            ORDER BY record_id::bigint";

#[test]
fn kill_9_under_load_and_every_acknowledged_row_has_its_entry() {
    let mut cluster = Cluster::with_extension();
    audited_table(&mut cluster.superuser());
    let acknowledged = Mutex::new(Vec::new());
    for round in 0..2i64 {
        let clients: Vec<_> = (0..8).map(|_| cluster.superuser()).collect();
        thread::scope(|scope| {
            for (writer, mut client) in (0i64..).zip(clients) {
                let acknowledged = &acknowledged;
                scope.spawn(move || {
                    for step in 0i64.. {
                        let id = ((round * 8 + writer) * 1_000_000 + step) * 2;
                        let statement = if writer % 2 == 0 {
                            format!("INSERT INTO t VALUES ({id}, 'one')")
                        } else {
                            format!(
                                "BEGIN; INSERT INTO t VALUES ({id}, 'first');
                                 SAVEPOINT a; INSERT INTO t VALUES ({id} + 1, 'gone');
                                 ROLLBACK TO a; COMMIT"
                            )
                        };
                        if client.batch_execute(&statement).is_err() {
                            return;
                        }
                        acknowledged.lock().unwrap().push(id);
                    }
                });
            }
            thread::sleep(Duration::from_millis(2500));
            // not by wait_until: the writers end only when the server does
            let deadline = Instant::now() + Duration::from_secs(60);
            let enough = 100 * (round as usize + 1);
            while acknowledged.lock().unwrap().len() <= enough && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(20));
            }
            cluster.kill9();
        });
        cluster.start_again().unwrap();
    }
    let mut client = cluster.superuser();
    run(&mut client, "INSERT INTO t VALUES (-1, 'after the crash')");
    seal_and_verify(&mut client);
    let table = texts(&mut client, IDS_OF_T);
    let trail = texts(&mut client, IDS_OF_TRAIL);
    assert!(
        table == trail,
        "{} rows, {} entries",
        table.len(),
        trail.len()
    );
    let trail: std::collections::HashSet<i64> =
        trail.iter().map(|id| id.parse().unwrap()).collect();
    let acknowledged = acknowledged.into_inner().unwrap();
    assert!(acknowledged.len() > 100, "hardly any load");
    assert!(acknowledged.iter().all(|id| trail.contains(id)));
}

#[test]
fn kill_9_between_commit_and_seal() {
    let mut cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "INSERT INTO t SELECT g, 'a' FROM generate_series(1, 100) g",
    );
    seal_and_verify(&mut client);
    run(
        &mut client,
        "INSERT INTO t SELECT g, 'b' FROM generate_series(101, 200) g",
    );
    cluster.kill9();
    cluster.start_again().unwrap();
    let mut client = cluster.superuser();
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 200);
}

#[test]
fn an_orderly_restart_seals_what_was_left() {
    let mut cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    for round in 0..3 {
        run(
            &mut client,
            &format!("INSERT INTO t SELECT {round} * 10 + g, 'a' FROM generate_series(1, 10) g"),
        );
        cluster.restart();
        client = cluster.superuser();
    }
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 30);
}

#[test]
fn prepared_transactions_across_a_restart() {
    let mut cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "BEGIN; INSERT INTO t VALUES (1, 'prepared'); SAVEPOINT a;
         INSERT INTO t SELECT g, repeat('x', 400) FROM generate_series(10, 4000) g;
         RELEASE a; PREPARE TRANSACTION 'kept';",
    );
    run(
        &mut client,
        "BEGIN; INSERT INTO t VALUES (2, 'given up'); PREPARE TRANSACTION 'given up'",
    );
    run(&mut client, "INSERT INTO t VALUES (3, 'meanwhile')");
    seal_and_verify(&mut client);
    cluster.restart();
    let mut client = cluster.superuser();
    run(&mut client, "INSERT INTO t VALUES (4, 'after the restart')");
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 2);
    run(&mut client, "COMMIT PREPARED 'kept'");
    run(&mut client, "ROLLBACK PREPARED 'given up'");
    seal_and_verify(&mut client);
    assert_eq!(
        texts(&mut client, IDS_OF_T),
        texts(&mut client, IDS_OF_TRAIL)
    );
    assert_eq!(number(&mut client, ENTRIES_OF_T), 3994);
}

#[test]
fn prepared_transaction_across_kill_9() {
    let mut cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "BEGIN; INSERT INTO t VALUES (1, 'prepared'); PREPARE TRANSACTION 'kept'",
    );
    cluster.kill9();
    cluster.start_again().unwrap();
    let mut client = cluster.superuser();
    run(&mut client, "COMMIT PREPARED 'kept'");
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 1);
}
