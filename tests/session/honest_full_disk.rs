//! A disk without space. PostgreSQL treats a file that may not grow (RLIMIT_FSIZE) as it treats a full disk, so a
//! test can fill one and make space again without rights to mount anything.

use crate::{ENTRIES_OF_T, audited_table};
use std::process::Command;
use ward_tests::postgres::{Client, NoTls};
use ward_tests::{
    Cluster, DATABASE, Options, SUPERUSER, number, run, seal_and_verify, server_identity, text,
    wait_until,
};

/// As large as a file of the write-ahead log, which must be able to grow.
const LIMIT: &str = "16777216";

/// Limits the files of all processes that the server starts from now on.
fn limit(cluster: &Cluster, bytes: &str) {
    let mut command = Command::new("prlimit");
    server_identity(&mut command);
    let output = command
        .args(["--pid", &cluster.pid().to_string()])
        .arg(format!("--fsize={bytes}:"))
        .output()
        .expect("run prlimit, which comes with util-linux");
    assert!(output.status.success(), "{output:?}");
}

fn refusals(cluster: &Cluster) -> usize {
    cluster.log().matches("could not extend file").count()
}

fn cluster() -> Cluster {
    Cluster::with_extension_and(
        Options::default()
            .set("ward.seal_interval", "100ms")
            .set("autovacuum", "off"),
    )
}

#[test]
fn the_worker_survives_a_full_disk_and_goes_on_when_there_is_space() {
    let cluster = cluster();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (0, 'before')");
    seal_and_verify(&mut client);
    let blocks = "SELECT count(*) FROM ward.audit_blocks";
    let before = number(&mut client, blocks);
    end_worker(&mut client);
    limit(&cluster, LIMIT);
    // This session was there before, so that it can write more than a worker can copy.
    run(
        &mut client,
        // digits that cannot be compressed
        "INSERT INTO t SELECT g, string_agg(md5((g * 100 + d)::text), '')
         FROM generate_series(1, 40000) g, generate_series(1, 20) d GROUP BY g",
    );
    assert!(
        client
            .batch_execute("SELECT ward.seal_audit_trail()")
            .is_err()
    );
    wait_until("the worker has tried again", || refusals(&cluster) >= 2);
    // What is there stays readable and valid.
    assert_eq!(number(&mut client, ENTRIES_OF_T), 40_001);
    assert_eq!(number(&mut client, blocks), before);
    assert!(ward_tests::verify(&mut client).is_valid);
    limit(&cluster, "unlimited");
    // It goes on by itself.
    wait_until("what was left is sealed", || {
        number(&mut client, blocks) > before
    });
    run(&mut client, "INSERT INTO t VALUES (-1, 'after')");
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 40_002);
    let unsealed = "SELECT count(*) FROM ward.audit_trail WHERE entry_id IS NULL";
    assert_eq!(number(&mut client, unsealed), 0);
}

fn end_worker(client: &mut Client) {
    let query = "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE backend_type = 'pg_ward sealer'";
    wait_until("the worker has ended", || {
        run(
            client,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_ward sealer'",
        );
        text(client, query).is_none()
    });
}

#[test]
fn a_writer_on_a_full_disk_loses_its_change_and_the_entry_together() {
    let cluster = cluster();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "CREATE TABLE t (id bigint PRIMARY KEY, n bigint NOT NULL, note text);
         INSERT INTO t VALUES (1, 0, repeat('x', 3000)); SELECT ward.enable_audit('t')",
    );
    limit(&cluster, LIMIT);
    let mut client = cluster
        .config(DATABASE, SUPERUSER)
        .connect(NoTls)
        .expect("connect");
    // The table does not grow (there is one row and nobody who still sees the old ones), the journal does: nothing is
    // sealed, or the worker, which began before the limit, would empty it.
    let mut obstacle = cluster.superuser();
    run(
        &mut obstacle,
        "BEGIN; LOCK TABLE ward.audit_block IN SHARE ROW EXCLUSIVE MODE",
    );
    let update = "UPDATE t SET n = n + 1, note = repeat('x', 3000) || n";
    let mut done = 0;
    let refused = loop {
        match client.batch_execute(&format!("BEGIN; {}; COMMIT", vec![update; 50].join("; "))) {
            Ok(()) => done += 50,
            Err(error) => break error,
        }
        run(&mut admin, "VACUUM t");
        assert!(done < 20_000, "the journal can grow on");
    };
    let message = refused
        .as_db_error()
        .expect("an error of the server")
        .message()
        .to_owned();
    assert!(message.contains("could not extend file"), "{message}");
    run(&mut client, "ROLLBACK");
    let changed = "SELECT n FROM t";
    assert_eq!(number(&mut client, changed), done);
    limit(&cluster, "unlimited");
    run(&mut obstacle, "COMMIT");
    drop(client);
    let mut client = cluster.superuser();
    run(&mut client, update);
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, changed), done + 1);
    assert_eq!(number(&mut client, ENTRIES_OF_T), done + 1);
}
