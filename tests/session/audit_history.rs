//! What befalls the log's own tables without anybody attacking them: copies of the database,
//! maintenance that rewrites tables, reinstalling the extension. None of it may lose an entry or
//! raise an alarm.

use crate::{ENTRIES_OF_T, audited_table};
use ward_tests::{Cluster, DATABASE, SUPERUSER, number, run, seal_and_verify, wait_until};

#[test]
fn a_database_copied_with_its_log() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'before')");
    seal_and_verify(&mut client);
    run(
        &mut client,
        "INSERT INTO t VALUES (2, 'perhaps not sealed yet')",
    );
    drop(client);
    let copy = format!("CREATE DATABASE copy TEMPLATE {DATABASE}");
    wait_until("the worker has left", || {
        cluster
            .client("postgres", SUPERUSER)
            .batch_execute(&copy)
            .is_ok()
    });
    for (database, incarnations) in [("copy", 2), (DATABASE, 1)] {
        let mut client = cluster.client(database, SUPERUSER);
        run(&mut client, "INSERT INTO t VALUES (3, 'after')");
        seal_and_verify(&mut client);
        assert_eq!(number(&mut client, ENTRIES_OF_T), 3, "{database}");
        let known = number(&mut client, "SELECT count(*) FROM ward.audit_log");
        assert_eq!(known, incarnations, "{database}");
    }
}

#[test]
fn vacuum_full_of_the_journals_and_everything_else() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "BEGIN; INSERT INTO t SELECT g, 'void' FROM generate_series(1, 5000) g; ROLLBACK",
    );
    seal_and_verify(&mut client);
    run(&mut client, "VACUUM FULL");
    run(
        &mut client,
        "INSERT INTO t SELECT g, 'kept' FROM generate_series(1, 300) g",
    );
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 300);
    run(&mut client, "VACUUM FULL");
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 300);
}

#[test]
fn maintenance_of_the_log_while_a_transaction_is_open() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "BEGIN; INSERT INTO t VALUES (1, 'a')");
    run(&mut cluster.superuser(), "VACUUM ANALYZE ward.audit_log");
    run(&mut client, "INSERT INTO t VALUES (2, 'b'); COMMIT");
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 2);
}

#[test]
fn a_transaction_older_than_the_log() {
    let cluster = Cluster::with_extension();
    let mut old = cluster.superuser();
    run(
        &mut old,
        "CREATE TABLE t (id bigint PRIMARY KEY, note text)",
    );
    run(&mut old, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1");
    run(&mut cluster.superuser(), "SELECT ward.enable_audit('t')");
    run(&mut old, "INSERT INTO t VALUES (1, 'old'); COMMIT");
    seal_and_verify(&mut old);
    assert_eq!(number(&mut old, ENTRIES_OF_T), 1);
}

#[test]
fn the_extension_dropped_and_created_again() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'first life')");
    seal_and_verify(&mut client);
    run(
        &mut client,
        "DROP EXTENSION pg_ward CASCADE; CREATE EXTENSION pg_ward; SELECT ward.enable_audit('t');
         INSERT INTO t VALUES (2, 'second life')",
    );
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 1);
}

#[test]
fn tables_of_the_logs_names_without_the_extension_mean_nothing() {
    let cluster = Cluster::with_extension();
    run(&mut cluster.superuser(), "CREATE ROLE mallory LOGIN");
    run(
        &mut cluster.client("postgres", SUPERUSER),
        "CREATE DATABASE trap",
    );
    run(
        &mut cluster.client("trap", SUPERUSER),
        "GRANT CREATE ON DATABASE trap TO mallory",
    );
    let mut mallory = cluster.client("trap", "mallory");
    run(
        &mut mallory,
        "CREATE SCHEMA ward;
         CREATE TABLE ward.caught (by text);
         CREATE FUNCTION ward.trap() RETURNS uuid LANGUAGE sql AS
           'INSERT INTO ward.caught VALUES (current_user) RETURNING gen_random_uuid()';
         CREATE VIEW ward.audit_log AS SELECT ward.trap() AS incarnation, NULL::uuid AS previous,
           0::numeric AS system_identifier, 0::oid AS database_oid, 0::bigint AS timeline",
    );
    drop(mallory);
    let mut cluster = cluster;
    cluster.restart();
    audited_table(&mut cluster.superuser());
    seal_and_verify(&mut cluster.superuser());
    let mut trap = cluster.client("trap", SUPERUSER);
    assert_eq!(number(&mut trap, "SELECT count(*) FROM ward.caught"), 0);
    let refused = ward_tests::refused(&mut trap, "CREATE EXTENSION pg_ward");
    assert!(refused.message().contains("belongs to another role"));
}

#[test]
fn the_extension_dropped_in_a_transaction_that_wrote() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "BEGIN; INSERT INTO t VALUES (1, 'goes with the log'); SAVEPOINT a; DROP EXTENSION pg_ward CASCADE;
         ROLLBACK TO a; INSERT INTO t VALUES (2, 'too'); COMMIT",
    );
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 2);
    run(
        &mut client,
        "BEGIN; INSERT INTO t VALUES (3, 'lost'); DROP EXTENSION pg_ward CASCADE; CREATE EXTENSION pg_ward;
         SELECT ward.enable_audit('t'); INSERT INTO t VALUES (4, 'in the new log'); COMMIT",
    );
    seal_and_verify(&mut client);
    let ids =
        "SELECT record_id FROM ward.audit_trail WHERE table_name = 't' AND operation = 'INSERT'";
    assert_eq!(ward_tests::texts(&mut client, ids), ["4"]);
    run(
        &mut client,
        "BEGIN; INSERT INTO t VALUES (5, 'lost'); DROP EXTENSION pg_ward CASCADE; COMMIT",
    );
    assert_eq!(number(&mut client, "SELECT count(*) FROM t"), 5);
}
