//! The launcher and the sealing workers: what they survive, and what they must not get in the way of.

use crate::audited_table;
use std::thread;
use std::time::{Duration, Instant};
use ward_tests::postgres::Client;
use ward_tests::{
    Cluster, DATABASE, Options, SUPERUSER, number, refused, run, seal_and_verify, wait_until,
};

const WRITE: &str = "INSERT INTO t SELECT coalesce(max(id), 0) + 1, 'x' FROM t";

/// Process ids of the background workers of a type, such as `pg_ward sealer`.
fn workers(client: &mut Client, kind: &str) -> Vec<i32> {
    client
        .query(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = $1",
            &[&kind],
        )
        .expect("list the workers")
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// A database with an audited table, in which an audited write has just been made.
fn database_with_a_write(cluster: &Cluster, name: &str) {
    cluster.create_database(name);
    let mut client = cluster.client(name, SUPERUSER);
    audited_table(&mut client);
    run(&mut client, WRITE);
}

/// Sessions that failed, apart from those that came before the server was ready.
fn failures(cluster: &Cluster) -> usize {
    let failed = |line: &&str| line.contains("FATAL") && !line.contains("starting up");
    cluster.log().lines().filter(failed).count()
}

/// Fails the test unless the server soon logs nothing fatal any more for longer than a failed worker waits.
fn assert_quiet(cluster: &Cluster) {
    let quiet = (0..4).any(|_| {
        let before = failures(cluster);
        thread::sleep(Duration::from_secs(7));
        failures(cluster) == before
    });
    assert!(quiet, "{}", cluster.log());
}

#[test]
fn a_database_dropped_right_after_a_write_is_forgotten() {
    let cluster = Cluster::with_extension();
    audited_table(&mut cluster.superuser());
    let mut client = cluster.client("postgres", SUPERUSER);
    for name in ["gone_0", "gone_1", "gone_2"] {
        database_with_a_write(&cluster, name);
        run(&mut client, &format!("DROP DATABASE {name} WITH (FORCE)"));
    }
    assert_quiet(&cluster);
    let fatal = failures(&cluster);
    // a database is dropped while its worker starts, which the audit's beginning and the write both ask for
    assert!(fatal <= 12, "{fatal} failures:\n{}", cluster.log());
    run(&mut cluster.superuser(), WRITE);
    // the beginning of the audit and the write are sealed at once or one after the other
    let blocks = seal_and_verify(&mut cluster.superuser()).blocks_checked;
    assert!((1..=2).contains(&blocks), "{blocks}");
}

#[test]
fn a_database_closed_for_new_connections_is_sealed_all_the_same() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut cluster.client("postgres", SUPERUSER),
        &format!("ALTER DATABASE {DATABASE} ALLOW_CONNECTIONS false"),
    );
    run(&mut client, WRITE);
    seal_and_verify(&mut client);
}

#[test]
fn a_database_is_copied_and_dropped_while_its_writes_are_sealed() {
    let cluster = Cluster::with_extension();
    database_with_a_write(&cluster, "original");
    let mut client = cluster.client("postgres", SUPERUSER);
    run(&mut client, "CREATE DATABASE copy TEMPLATE original");
    run(&mut cluster.client("original", SUPERUSER), WRITE);
    run(&mut client, "DROP DATABASE original");
    seal_and_verify(&mut cluster.client("copy", SUPERUSER));
}

#[test]
fn a_long_interval_keeps_no_worker_in_the_database() {
    let cluster = Cluster::with_extension_and(Options::default().set("ward.seal_interval", "1h"));
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, WRITE);
    seal_and_verify(&mut client);
    let blocks = "SELECT count(*) FROM ward.audit_block";
    let before = number(&mut client, blocks);
    run(&mut client, WRITE);
    wait_until("the worker leaves", || {
        workers(&mut client, "pg_ward sealer").is_empty()
    });
    thread::sleep(Duration::from_secs(2));
    assert_eq!(
        number(&mut client, blocks),
        before,
        "sealed before its time"
    );
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, blocks), before + 1);
    wait_until("the worker leaves again", || {
        workers(&mut client, "pg_ward sealer").is_empty()
    });
    run(&mut client, WRITE);
    drop(client);
    let mut client = cluster.client("postgres", SUPERUSER);
    assert_eq!(workers(&mut client, "pg_ward sealer"), [0; 0]);
    run(&mut client, &format!("DROP DATABASE {DATABASE}"));
}

#[test]
fn a_shorter_interval_takes_effect_at_a_reload() {
    let cluster = Cluster::with_extension_and(Options::default().set("ward.seal_interval", "1h"));
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, WRITE);
    seal_and_verify(&mut client);
    let blocks = "SELECT count(*) FROM ward.audit_block";
    let before = number(&mut client, blocks);
    run(&mut client, WRITE);
    cluster.append_settings("ward.seal_interval = 100ms\n");
    cluster.reload();
    wait_until("the second write is sealed", || {
        number(&mut client, blocks) == before + 1
    });
}

#[test]
fn a_terminated_launcher_comes_back() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    let mut old = Vec::new();
    wait_until("the launcher runs", || {
        old = workers(&mut client, "pg_ward launcher");
        old.len() == 1
    });
    run(
        &mut client,
        &format!("SELECT pg_terminate_backend({}, 10000)", old[0]),
    );
    run(&mut client, WRITE);
    seal_and_verify(&mut client);
    assert_ne!(workers(&mut client, "pg_ward launcher"), old);
}

#[test]
fn without_a_free_background_worker_sealing_fails_and_says_so() {
    // The launcher warns from the server's start on.
    let start = Instant::now();
    // Two are taken by PostgreSQL's own launcher of logical replication and by pg_ward's.
    let cluster = Cluster::with_extension_and(Options::default().set("max_worker_processes", "2"));
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, WRITE);
    let error = refused(&mut client, "SELECT ward.seal_audit_trail()");
    assert_eq!(error.message(), "sealing the audit trail failed");
    refused(&mut client, "SELECT ward.seal_audit_trail()");
    let warnings = cluster
        .log()
        .matches("no background worker is free")
        .count();
    let most = 2 + start.elapsed().as_secs() / 5;
    assert!(
        (1..=most).contains(&(warnings as u64)),
        "{warnings} warnings"
    );
}

#[test]
fn without_a_launcher_sealing_fails_and_says_so() {
    let cluster = Cluster::with_extension_and(Options::default().set("max_worker_processes", "1"));
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, WRITE);
    let error = refused(&mut client, "SELECT ward.seal_audit_trail()");
    assert!(error.message().contains("launcher is not running"));
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("max_worker_processes"))
    );
}

#[test]
fn a_worker_that_waits_for_a_lock_can_be_terminated() {
    let cluster = Cluster::with_extension();
    let mut writer = cluster.superuser();
    audited_table(&mut writer);
    let mut locker = cluster.superuser();
    run(
        &mut locker,
        "BEGIN; LOCK TABLE ward.audit_block IN ACCESS EXCLUSIVE MODE",
    );
    run(&mut writer, WRITE);
    let waiting = "SELECT count(*) FROM pg_stat_activity
                   WHERE backend_type = 'pg_ward sealer' AND wait_event_type = 'Lock'";
    wait_until("the worker waits", || number(&mut writer, waiting) == 1);
    let worker = workers(&mut writer, "pg_ward sealer")[0];
    run(
        &mut writer,
        &format!("SELECT pg_terminate_backend({worker})"),
    );
    wait_until("the worker ends", || {
        !workers(&mut writer, "pg_ward sealer").contains(&worker)
    });
    run(&mut locker, "ROLLBACK");
    seal_and_verify(&mut writer);
}

#[test]
fn a_prepared_transaction_is_sealed_soon_after_its_commit() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        &format!("BEGIN; {WRITE}; PREPARE TRANSACTION 'p'"),
    );
    run(&mut client, "SELECT ward.seal_audit_trail()");
    run(&mut client, "COMMIT PREPARED 'p'");
    let start = Instant::now();
    wait_until("it is sealed", || {
        let sealed = "SELECT count(entry_id) FROM ward.audit_trail WHERE table_name = 't'";
        number(&mut client, sealed) == 1
    });
    // long before the launcher looks at everything again
    assert!(start.elapsed() < Duration::from_secs(30));
    seal_and_verify(&mut client);
}

#[test]
fn a_call_in_an_old_snapshot_answers_the_new_size() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    let mut old = cluster.superuser();
    run(
        &mut old,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t",
    );
    run(&mut client, WRITE);
    let size = number(&mut client, "SELECT ward.seal_audit_trail()");
    assert!(size > 0);
    assert_eq!(number(&mut old, "SELECT ward.seal_audit_trail()"), size);
}

#[test]
fn an_extension_made_anew_begins_a_new_log() {
    let cluster = Cluster::with_extension();
    for _ in 0..3 {
        let mut client = cluster.superuser();
        audited_table(&mut client);
        run(&mut client, WRITE);
        seal_and_verify(&mut client);
        assert_eq!(
            number(&mut client, "SELECT min(block_no) FROM ward.audit_blocks"),
            0
        );
        assert_eq!(
            number(&mut client, "SELECT count(*) FROM ward.audit_trail"),
            2
        );
        run(
            &mut client,
            "DROP TABLE t; DROP EXTENSION pg_ward CASCADE; CREATE EXTENSION pg_ward",
        );
    }
}

#[test]
fn what_was_left_before_a_restart_is_sealed_and_every_worker_leaves() {
    let mut cluster = Cluster::with_extension();
    audited_table(&mut cluster.superuser());
    run(&mut cluster.superuser(), WRITE);
    cluster.restart();
    let mut client = cluster.superuser();
    wait_until("what was left is sealed", || {
        number(&mut client, "SELECT count(*) FROM ward.audit_block") >= 1
    });
    seal_and_verify(&mut client);
    let mut other = cluster.client("postgres", SUPERUSER);
    wait_until("the workers leave", || {
        workers(&mut other, "pg_ward sealer").is_empty()
    });
    assert!(!cluster.log().contains("FATAL:  database"));
}
