//! The index of an isolated table, built in the background while the table is in use.

use ward_tests::postgres::Client;
use ward_tests::{Cluster, DATABASE, Options, number, run, text, texts, wait_until};

fn state(admin: &mut Client, table: &str) -> Option<String> {
    text(
        admin,
        &format!("SELECT index_state FROM ward.check_rls_status() WHERE tablename = '{table}'"),
    )
}

fn status(admin: &mut Client, table: &str) -> Option<String> {
    text(
        admin,
        &format!("SELECT status FROM ward.check_rls_status() WHERE tablename = '{table}'"),
    )
}

fn indexes(admin: &mut Client, pattern: &str) -> Vec<String> {
    texts(
        admin,
        &format!(
            "SELECT concat_ws(' ', c.relname, r.rolname, CASE WHEN NOT i.indisvalid THEN 'invalid' END,
                              obj_description(c.oid, 'pg_class'))
             FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_roles r ON r.oid = c.relowner
             WHERE i.indrelid::regclass::text ~ '{pattern}' ORDER BY 1"
        ),
    )
}

fn builders(admin: &mut Client) -> i64 {
    number(
        admin,
        "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pg_ward index builder'",
    )
}

const MARK: &str = "Created by pg_ward for isolation.";

/// Holds an old snapshot, for which CREATE INDEX CONCURRENTLY waits before its last phase.
fn hold_snapshot(cluster: &Cluster) -> Client {
    let mut reader = cluster.superuser();
    run(
        &mut reader,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class",
    );
    reader
}

#[test]
fn an_index_is_built_while_the_table_is_written() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "CREATE ROLE keeper; CREATE ROLE app LOGIN; CREATE SCHEMA s AUTHORIZATION keeper;
         SET ROLE keeper; SET search_path = s;
         CREATE TABLE orders (tenant_id text, id int);
         INSERT INTO orders SELECT 'a', g FROM generate_series(1, 1000) g;
         CREATE TABLE \"odd 'Name\" (\"The \"\"Tenant\" int);
         GRANT USAGE ON SCHEMA s TO app; GRANT ALL ON orders TO app",
    );
    let mut reader = hold_snapshot(&cluster);
    run(
        &mut admin,
        "SELECT ward.enable_tenant_isolation('orders', create_index => 'concurrently')",
    );
    wait_until("the build has begun", || {
        state(&mut admin, "orders").as_deref() == Some("building")
    });
    assert!(status(&mut admin, "orders").is_some_and(|said| said == "index building"));
    // Nobody has to wait meanwhile, and rows of that time are in the index.
    let mut app = cluster.client(DATABASE, "app");
    run(
        &mut app,
        "BEGIN; SELECT ward.set_tenant_context('a'); INSERT INTO s.orders VALUES ('a', 0); COMMIT",
    );
    run(&mut reader, "COMMIT");
    wait_until("the index is valid", || {
        state(&mut admin, "orders").as_deref() == Some("valid")
    });
    wait_until("the builder has left", || builders(&mut admin) == 0);
    assert_eq!(
        indexes(&mut admin, "orders"),
        [format!("orders_tenant_id_idx keeper {MARK}")]
    );
    run(&mut app, "BEGIN; SELECT ward.set_tenant_context('a')");
    run(&mut app, "SET enable_seqscan = off");
    assert_eq!(number(&mut app, "SELECT count(*) FROM s.orders"), 1001);
    let plan = texts(&mut app, "EXPLAIN SELECT * FROM s.orders").join("\n");
    assert!(plan.contains("orders_tenant_id_idx"), "{plan}");
    run(&mut app, "COMMIT");

    // Any name works.
    run(
        &mut admin,
        "SELECT ward.enable_tenant_isolation('\"odd ''Name\"', 'The \"Tenant', 'concurrently')",
    );
    wait_until("the other index is valid", || {
        state(&mut admin, "odd ''Name").as_deref() == Some("valid")
    });
    wait_until("the builder has left", || builders(&mut admin) == 0);
    run(
        &mut admin,
        "SELECT ward.disable_isolation('orders'), ward.disable_isolation('\"odd ''Name\"')",
    );
    assert!(indexes(&mut admin, "orders|odd").is_empty());
}

#[test]
fn a_build_that_was_rolled_back_interrupted_or_repeated() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    for statements in [
        "CREATE TABLE one (tenant_id text); CREATE TABLE two (tenant_id text); CREATE TABLE three (tenant_id text)",
        "BEGIN; SELECT ward.enable_tenant_isolation('one', create_index => 'concurrently'); ROLLBACK",
        "BEGIN; SAVEPOINT s; SELECT ward.enable_tenant_isolation('two', create_index => 'concurrently'); ROLLBACK TO s;
         SELECT ward.enable_tenant_isolation('three', create_index => 'concurrently');
         SELECT ward.enable_tenant_isolation('three', create_index => 'concurrently'); COMMIT",
    ] {
        run(&mut admin, statements);
    }
    wait_until("what was committed is built", || {
        state(&mut admin, "three").as_deref() == Some("valid")
    });
    wait_until("the builder has left", || builders(&mut admin) == 0);
    assert_eq!(
        indexes(&mut admin, "^(one|two|three)$"),
        [format!("three_tenant_id_idx postgres {MARK}")]
    );

    let mut reader = hold_snapshot(&cluster);
    run(
        &mut admin,
        "SELECT ward.enable_tenant_isolation('one', create_index => 'concurrently')",
    );
    wait_until("the build has begun", || {
        state(&mut admin, "one").as_deref() == Some("building")
    });
    run(
        &mut admin,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_ward index builder'",
    );
    wait_until("the builder has left", || builders(&mut admin) == 0);
    assert_eq!(state(&mut admin, "one").as_deref(), Some("invalid"));
    run(&mut reader, "COMMIT");
    run(
        &mut admin,
        "SELECT ward.enable_tenant_isolation('one', create_index => 'concurrently')",
    );
    wait_until("it is built anew", || {
        state(&mut admin, "one").as_deref() == Some("valid")
    });
    wait_until("the builder has left", || builders(&mut admin) == 0);
    assert_eq!(
        status(&mut admin, "one").as_deref(),
        Some("drop the invalid index public.one_tenant_id_idx")
    );
    run(&mut admin, "DROP INDEX one_tenant_id_idx");
    assert_eq!(status(&mut admin, "one").as_deref(), Some("ok"));
}

#[test]
fn the_index_of_a_partitioned_table_is_built_partition_by_partition() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "CREATE TABLE part (n int, tenant_id text) PARTITION BY RANGE (n);
         CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
         CREATE TABLE part_2 (tenant_id text, n int) PARTITION BY RANGE (n);
         CREATE TABLE part_2_1 PARTITION OF part_2 FOR VALUES FROM (10) TO (20);
         ALTER TABLE part ATTACH PARTITION part_2 FOR VALUES FROM (10) TO (20);
         SELECT ward.enable_tenant_isolation('part', create_index => 'concurrently')",
    );
    wait_until("the index is valid", || {
        state(&mut admin, "part").as_deref() == Some("valid")
    });
    wait_until("the builder has left", || builders(&mut admin) == 0);
    assert_eq!(
        indexes(&mut admin, "^part"),
        [
            format!("part_1_tenant_id_idx postgres {MARK}"),
            format!("part_2_1_tenant_id_idx postgres {MARK}"),
            "part_2_tenant_id_idx postgres".to_owned(),
            format!("part_tenant_id_idx postgres {MARK}"),
        ]
    );
    run(&mut admin, "SELECT ward.disable_isolation('part')");
    assert!(indexes(&mut admin, "^part").is_empty());
    // An index of the owner's own is used, and outlives isolation.
    run(
        &mut admin,
        "CREATE INDEX mine ON part_1 (tenant_id);
         SELECT ward.enable_tenant_isolation('part', create_index => 'concurrently')",
    );
    wait_until("the index is valid", || {
        state(&mut admin, "part").as_deref() == Some("valid")
    });
    wait_until("the builder has left", || builders(&mut admin) == 0);
    run(&mut admin, "SELECT ward.disable_isolation('part')");
    assert!(indexes(&mut admin, "^part_1$").contains(&"mine postgres".to_owned()));
}

#[test]
fn without_a_free_worker_the_table_is_isolated_and_the_missing_index_is_told() {
    // The launchers of pg_ward and of logical replication take both.
    let mut options = Options::default();
    options
        .settings
        .push(("max_worker_processes".to_owned(), "2".to_owned()));
    let cluster = Cluster::with_extension_and(options);
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "CREATE TABLE t (tenant_id text);
         SELECT ward.enable_tenant_isolation('t', create_index => 'concurrently')",
    );
    assert_eq!(status(&mut admin, "t").as_deref(), Some("index missing"));
    assert!(cluster.log().contains("no background worker is free"));
}
