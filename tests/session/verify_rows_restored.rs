//! `ward.verify_current_rows()` in a restored database, where tables have other oids than the trail says.

use ward_tests::postgres::Client;
use ward_tests::{Cluster, DATABASE, number, run, seal_and_verify, texts};

const NONE: [&str; 0] = [];

/// Table, record and kind of what differs in any of the audited tables.
fn differing(client: &mut Client) -> Vec<String> {
    texts(
        client,
        "SELECT concat_ws(' ', t, v.record_id, v.kind)
         FROM unnest(ARRAY['t', 'again', 'renamed', 'p', 'late']) AS t, ward.verify_current_rows(t::regclass) v
         WHERE to_regclass(t) IS NOT NULL ORDER BY 1",
    )
}

/// Restores a dump of `from` into the new database `to` of the same cluster.
fn copy(cluster: &Cluster, from: &str, to: &str) {
    let dump = cluster.client_program("pg_dump", from).output().unwrap();
    assert!(dump.status.success(), "{dump:?}");
    let sql = format!("CREATE DATABASE {to};\n\\connect {to}\n")
        + &String::from_utf8(dump.stdout).unwrap();
    let restored = cluster.psql(&sql);
    assert!(restored.status.success(), "{restored:?}");
}

#[test]
fn rows_of_a_restored_database_are_found_in_the_trail_again() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, note text);
         CREATE TABLE again (id int PRIMARY KEY, note text);
         CREATE TABLE before (id int PRIMARY KEY, note text);
         CREATE TABLE p (id int PRIMARY KEY, note text) PARTITION BY RANGE (id);
         CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10);
         CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20);
         CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (20) TO (30);
         CREATE TABLE late (id int PRIMARY KEY, note text);
         SELECT ward.enable_audit(t) FROM unnest('{t,again,before,p,late}'::regclass[]) t;
         INSERT INTO t SELECT g, 'n' FROM generate_series(1, 5) g;
         INSERT INTO again SELECT g, 'n' FROM generate_series(1, 5) g;
         INSERT INTO before SELECT g, 'n' FROM generate_series(1, 5) g;
         INSERT INTO p SELECT g, 'n' FROM generate_series(1, 25) g;
         INSERT INTO late VALUES (1, 'n')",
    );
    seal_and_verify(&mut client);
    // what has no entry under its name, what had another table's name, and what was given away
    run(
        &mut client,
        "ALTER TABLE before RENAME TO renamed;
         DROP TABLE again; CREATE TABLE again (id int PRIMARY KEY, note text);
         SELECT ward.enable_audit('again'); INSERT INTO again VALUES (1, 'n');
         ALTER TABLE p DETACH PARTITION p3;
         DELETE FROM t WHERE id = 5; UPDATE t SET id = -4 WHERE id = 4",
    );
    assert_eq!(differing(&mut client), NONE);

    copy(&cluster, DATABASE, "copy");
    let mut copied = cluster.client("copy", "postgres");
    assert_ne!(
        number(&mut copied, "SELECT 't'::regclass::oid::bigint"),
        number(&mut client, "SELECT 't'::regclass::oid::bigint")
    );
    assert_eq!(differing(&mut copied), NONE);
    // changes go on, and a partition is emptied whose rows have entries of before only
    run(
        &mut copied,
        "UPDATE t SET note = 'm' WHERE id = 1; DELETE FROM renamed WHERE id = 1; INSERT INTO t VALUES (9, 'n');
         TRUNCATE p2",
    );
    assert_eq!(differing(&mut copied), NONE);
    seal_and_verify(&mut copied);
    assert_eq!(differing(&mut copied), NONE);
    // a copy of the copy, now with entries of three oids, and a table that is made anew there
    run(
        &mut copied,
        "INSERT INTO p VALUES (11, 'n'); DROP TABLE late; CREATE TABLE late (id int PRIMARY KEY, note text);
         SELECT ward.enable_audit('late'); INSERT INTO late VALUES (2, 'n')",
    );
    copy(&cluster, "copy", "second");
    let mut second = cluster.client("second", "postgres");
    assert_eq!(differing(&mut second), NONE);
    run(&mut second, "UPDATE p SET note = 'm' WHERE id < 5");
    seal_and_verify(&mut second);
    assert_eq!(differing(&mut second), NONE);
    run(
        &mut second,
        "ALTER TABLE t DISABLE TRIGGER ALL; ALTER TABLE p DISABLE TRIGGER ALL;
         ALTER TABLE renamed DISABLE TRIGGER ALL;
         UPDATE t SET note = 'forged' WHERE id = 2; DELETE FROM t WHERE id = 3; INSERT INTO t VALUES (5, 'n');
         UPDATE p SET note = 'forged' WHERE id = 7; DELETE FROM p WHERE id IN (6, 11);
         INSERT INTO renamed VALUES (1, 'n'), (100, 'n'); TRUNCATE late",
    );
    let wanted = [
        "p 11 missing",
        "p 6 missing",
        "p 7 changed",
        "renamed 1 unexpected",
        "renamed 100 unrecorded",
        "t 2 changed",
        "t 3 missing",
        "t 5 unexpected",
    ];
    assert_eq!(differing(&mut second), wanted);
}
