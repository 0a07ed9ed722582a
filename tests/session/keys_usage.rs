//! `ward.key_usage`: counts of every session, also of those that roll back, and across restarts.

use std::thread;
use std::time::Duration;
use ward_tests::postgres::Client;
use ward_tests::{Cluster, DATABASE, Options, number, refused, run, text, texts, wait_until};

const USES: &str = "SELECT name || version || ' ' || encryptions || ' ' || decryptions
                    FROM ward.key_usage ORDER BY name, version";

fn uses(client: &mut Client) -> Vec<String> {
    texts(client, USES)
}

/// Fails unless these are the counts. The worker writes them to the table whenever it comes: in that moment they are
/// seen in both places, or in none, so that another look is needed.
#[track_caller]
fn assert_uses(client: &mut Client, expected: &[&str]) {
    let seen = |client: &mut Client| uses(client) == expected;
    let soon = (0..50).any(|_| {
        seen(client) || {
            thread::sleep(Duration::from_millis(20));
            false
        }
    });
    assert!(soon, "{:?} instead of {expected:?}", uses(client));
}

#[test]
fn uses_are_counted_per_version_and_session_and_kept() {
    let mut cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SELECT ward.generate_encryption_key('a');
         SELECT ward.generate_encryption_key('b');
         CREATE TABLE vault AS SELECT ward.encrypt(i::text, 'a') AS value FROM generate_series(1, 5000) i",
    );
    assert_uses(&mut admin, &["a1 5000 0", "b1 0 0"]);
    let never = "SELECT count(*) FROM ward.key_usage WHERE last_used_at IS NULL";
    assert_eq!(number(&mut admin, never), 1);

    // Another session; what is rolled back was done all the same, also within a savepoint.
    let mut other = cluster.superuser();
    run(
        &mut other,
        "BEGIN; SELECT ward.encrypt('x', 'b');
         SAVEPOINT s; SELECT ward.encrypt('x', 'b'); ROLLBACK TO s;
         SELECT ward.decrypt(value) FROM vault LIMIT 3;
         ROLLBACK;
         SELECT ward.rotate_encryption_key('b');
         SELECT ward.encrypt('x', 'b')",
    );
    assert_uses(&mut admin, &["a1 5000 3", "b1 2 0", "b2 1 0"]);

    // Parallel workers count, too.
    run(
        &mut other,
        "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
         ALTER TABLE vault SET (parallel_workers = 2); SET parallel_leader_participation = off",
    );
    let plan = texts(
        &mut other,
        "EXPLAIN SELECT count(ward.decrypt(value)) FROM vault",
    );
    assert!(
        plan.iter().any(|line| line.contains("Workers Planned: 2")),
        "{plan:?}"
    );
    number(&mut other, "SELECT count(ward.decrypt(value)) FROM vault");
    assert_uses(&mut admin, &["a1 5000 5003", "b1 2 0", "b2 1 0"]);

    // Written down, nothing is counted twice; a flush that is rolled back loses nothing.
    run(&mut admin, "BEGIN; SELECT ward.flush_key_usage(); ROLLBACK");
    assert_uses(&mut admin, &["a1 5000 5003", "b1 2 0", "b2 1 0"]);
    run(
        &mut admin,
        "SELECT ward.flush_key_usage(); SELECT ward.flush_key_usage()",
    );
    assert_uses(&mut admin, &["a1 5000 5003", "b1 2 0", "b2 1 0"]);
    run(&mut other, "SELECT ward.encrypt('x', 'a')");
    assert_uses(&mut admin, &["a1 5001 5003", "b1 2 0", "b2 1 0"]);
    // A savepoint that is rolled back takes back what was written since, and nothing else.
    run(
        &mut admin,
        "BEGIN; SAVEPOINT r; SELECT ward.flush_key_usage(); RELEASE r; SAVEPOINT s; ROLLBACK TO s; COMMIT",
    );
    assert_uses(&mut admin, &["a1 5001 5003", "b1 2 0", "b2 1 0"]);
    run(&mut other, "SELECT ward.encrypt('x', 'a')");
    run(
        &mut admin,
        "BEGIN; SAVEPOINT s; SELECT ward.flush_key_usage(); ROLLBACK TO s; COMMIT",
    );
    assert_uses(&mut admin, &["a1 5002 5003", "b1 2 0", "b2 1 0"]);
    run(&mut admin, "SELECT ward.flush_key_usage()");
    cluster.restart();
    let mut admin = cluster.superuser();
    assert_uses(&mut admin, &["a1 5002 5003", "b1 2 0", "b2 1 0"]);
    cluster.kill9();
    cluster.start_again().unwrap();
    assert_uses(
        &mut cluster.superuser(),
        &["a1 5002 5003", "b1 2 0", "b2 1 0"],
    );
}

#[test]
fn the_worker_writes_the_counts_by_itself_also_where_nothing_is_audited() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SELECT ward.generate_encryption_key('k'); SELECT ward.encrypt('x')",
    );
    let written = "SELECT coalesce(sum(encryptions), 0)::bigint FROM ward.encryption_key_usage";
    wait_until("the worker has written it", || {
        number(&mut admin, written) == 1
    });
    assert_uses(&mut admin, &["k1 1 0"]);
    // The worker is gone again, so the database can be dropped.
    drop(admin);
    run(
        &mut cluster.client("postgres", "postgres"),
        "CREATE DATABASE copy TEMPLATE app",
    );
    let mut copy = cluster.client("copy", "postgres");
    run(&mut copy, "SELECT ward.encrypt('x')");
    assert_uses(&mut copy, &["k1 2 0"]);
    // The same key in two databases is counted apart.
    assert_uses(&mut cluster.superuser(), &["k1 1 0"]);
}

#[test]
fn only_monitors_see_how_keys_are_used() {
    let cluster = Cluster::with_extension();
    run(
        &mut cluster.superuser(),
        "SELECT ward.generate_encryption_key('k'); SELECT ward.encrypt('x');
         CREATE ROLE nosy LOGIN; CREATE ROLE monitor LOGIN IN ROLE pg_monitor",
    );
    let mut nosy = cluster.client(DATABASE, "nosy");
    for statement in [
        "SELECT * FROM ward.key_usage",
        "SELECT * FROM ward.key_usage_counts()",
        "SELECT * FROM ward.encryption_key_usage",
        "SELECT * FROM ward.key_grants",
        "SELECT * FROM ward.shredding_status",
        "SELECT ward.flush_key_usage()",
    ] {
        assert_eq!(
            refused(&mut nosy, statement).code().code(),
            "42501",
            "{statement}"
        );
    }
    let mut monitor = cluster.client(DATABASE, "monitor");
    let count = "SELECT encryptions::text FROM ward.key_usage";
    wait_until("the count is seen", || {
        text(&mut monitor, count).as_deref() == Some("1")
    });
}

#[test]
fn a_transaction_that_wrote_the_counts_cannot_be_prepared() {
    let cluster =
        Cluster::with_extension_and(Options::default().set("max_prepared_transactions", "2"));
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SELECT ward.generate_encryption_key('k'); SELECT ward.encrypt('x')",
    );
    // one more, because the worker may have written the first by now
    run(
        &mut admin,
        "BEGIN; SELECT ward.encrypt('x'); SELECT ward.flush_key_usage()",
    );
    let error = refused(&mut admin, "PREPARE TRANSACTION 'p'");
    assert_eq!(error.code().code(), "0A000");
    assert!(error.hint().unwrap().contains("a transaction of its own"));
    assert_uses(&mut admin, &["k1 2 0"]);
    // what a savepoint took back is not part of it
    run(
        &mut admin,
        "BEGIN; SAVEPOINT s; SELECT ward.flush_key_usage(); ROLLBACK TO s; PREPARE TRANSACTION 'p'",
    );
    run(&mut admin, "COMMIT PREPARED 'p'");
    run(&mut admin, "SELECT ward.flush_key_usage()");
    assert_uses(&mut admin, &["k1 2 0"]);
}

#[test]
fn a_session_that_holds_the_counts_does_not_keep_the_worker_from_sealing() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SET statement_timeout = '60s';
         SELECT ward.generate_encryption_key('k'); SELECT ward.encrypt('x'); SELECT ward.flush_key_usage();
         CREATE TABLE t (id int PRIMARY KEY); SELECT ward.enable_audit('t')",
    );
    run(&mut admin, "SELECT ward.seal_audit_trail()");
    for hold in [
        "SELECT ward.encrypt('x'); SELECT ward.flush_key_usage()",
        "SELECT * FROM ward.encryption_key_usage FOR UPDATE",
    ] {
        let mut stuck = cluster.superuser();
        run(&mut stuck, &format!("BEGIN; {hold}"));
        // a worker that has just started writes the counts at the end of its first round
        run(
            &mut admin,
            "SELECT ward.encrypt('x');
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_ward sealer'",
        );
        for _ in 0..3 {
            run(
                &mut admin,
                "INSERT INTO t SELECT coalesce(max(id), 0) + 1 FROM t",
            );
            run(&mut admin, "SELECT ward.seal_audit_trail()");
        }
        run(&mut stuck, "ROLLBACK");
    }
    let sealed =
        "SELECT count(*) FROM ward.audit_trail WHERE table_name = 't' AND entry_id IS NOT NULL";
    assert_eq!(number(&mut admin, sealed), 6);
    assert_uses(&mut admin, &["k1 4 0"]);
}
