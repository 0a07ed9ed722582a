//! Every kind of statement against isolated tables, as an application sends them.

use ward_tests::postgres::Client;
use ward_tests::{Cluster, DATABASE, number, refused, run, text, texts};

fn code(client: &mut Client, statement: &str) -> String {
    run(client, "SAVEPOINT s");
    let code = refused(client, statement).code().code().to_owned();
    run(client, "ROLLBACK TO s");
    code
}

fn plan(client: &mut Client, statement: &str) -> String {
    texts(client, &format!("EXPLAIN (COSTS OFF) {statement}")).join("\n")
}

/// Isolated tables with rows of tenants a and b, and the application in the context of a.
fn as_tenant_a() -> (Cluster, Client, Client) {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "CREATE ROLE app LOGIN; CREATE ROLE owner; GRANT CREATE ON SCHEMA public TO owner; SET ROLE owner;
         CREATE TABLE orders (tenant_id text NOT NULL, id int PRIMARY KEY, n int);
         CREATE TABLE line (id int, orders int REFERENCES orders ON DELETE CASCADE);
         INSERT INTO orders SELECT CASE WHEN g % 2 = 0 THEN 'a' ELSE 'b' END, g, 0 FROM generate_series(1, 20000) g;
         INSERT INTO line SELECT id, id FROM orders;
         CREATE INDEX ON orders (tenant_id, id);
         SELECT ward.enable_tenant_isolation('orders'), ward.enable_parent_isolation('line', 'orders');
         GRANT SELECT, INSERT, UPDATE, DELETE ON orders, line TO app;
         CREATE VIEW of_owner AS SELECT * FROM orders; GRANT SELECT ON of_owner TO app; RESET ROLE;
         CREATE VIEW of_superuser AS SELECT * FROM orders;
         CREATE VIEW of_caller WITH (security_invoker) AS SELECT * FROM orders;
         CREATE MATERIALIZED VIEW snapshot AS SELECT * FROM orders;
         GRANT SELECT ON of_superuser, of_caller, snapshot TO app; ANALYZE",
    );
    let mut app = cluster.client(DATABASE, "app");
    run(&mut app, "BEGIN; SELECT ward.set_tenant_context('a')");
    (cluster, admin, app)
}

#[test]
fn statements_that_read_and_write_at_once() {
    let (_cluster, mut admin, mut app) = as_tenant_a();
    // MERGE finds only own rows, and inserts only own rows.
    run(
        &mut app,
        "MERGE INTO orders o USING (VALUES (1), (2), (50000)) v(id) ON o.id = v.id
         WHEN MATCHED THEN UPDATE SET n = 1
         WHEN NOT MATCHED AND v.id > 20000 THEN INSERT VALUES ('a', v.id, 1)",
    );
    assert_eq!(
        texts(
            &mut app,
            "SELECT id::text FROM orders WHERE n = 1 ORDER BY id"
        ),
        ["2", "50000"]
    );
    let for_other = "MERGE INTO orders o USING (VALUES (60000)) v(id) ON o.id = v.id
                     WHEN NOT MATCHED THEN INSERT VALUES ('b', v.id, 1)";
    assert_eq!(code(&mut app, for_other), "42501");
    let give = "MERGE INTO orders o USING (VALUES (2)) v(id) ON o.id = v.id
                WHEN MATCHED THEN UPDATE SET tenant_id = 'b'";
    assert_eq!(code(&mut app, give), "42501");
    // ON CONFLICT with the row of another tenant: refused or nothing, never a change.
    let upsert = "INSERT INTO orders VALUES ('a', 1, 9) ON CONFLICT (id) DO UPDATE SET n = 9";
    assert_eq!(code(&mut app, upsert), "42501");
    run(
        &mut app,
        "INSERT INTO orders VALUES ('a', 1, 9) ON CONFLICT DO NOTHING",
    );
    run(
        &mut app,
        "INSERT INTO orders VALUES ('a', 2, 9) ON CONFLICT (id) DO UPDATE SET n = 9",
    );
    assert_eq!(
        number(&mut app, "SELECT n::bigint FROM orders WHERE id = 2"),
        9
    );
    // RETURNING, data-modifying CTE, UPDATE ... FROM, DELETE ... USING.
    assert_eq!(
        number(
            &mut app,
            "WITH gone AS (DELETE FROM orders o USING (VALUES (3), (4)) v(id) WHERE o.id = v.id RETURNING o.id)
             SELECT count(*) FROM gone"
        ),
        1
    );
    assert_eq!(
        code(&mut app, "INSERT INTO line VALUES (1, 1) RETURNING *"),
        "42501"
    );
    // A file goes in by INSERT only; what comes out is the tenant's own.
    assert_eq!(code(&mut app, "COPY orders FROM STDIN"), "0A000");
    assert_eq!(code(&mut app, "TRUNCATE orders"), "42501");
    assert_eq!(
        code(
            &mut app,
            "LOCK orders IN ACCESS EXCLUSIVE MODE; TRUNCATE orders"
        ),
        "42501"
    );
    let mut copied = Vec::new();
    std::io::Read::read_to_end(
        &mut app.copy_out("COPY orders TO STDOUT").expect("copy"),
        &mut copied,
    )
    .expect("read");
    assert!(!copied.is_empty());
    assert!(
        String::from_utf8_lossy(&copied)
            .lines()
            .all(|line| line.starts_with("a\t"))
    );
    run(&mut app, "COMMIT");
    assert_eq!(
        number(
            &mut admin,
            "SELECT count(*) FROM orders WHERE tenant_id = 'b' AND n = 0"
        ),
        10000
    );
}

#[test]
fn views_read_with_the_rights_of_their_owner() {
    let (_cluster, mut admin, mut app) = as_tenant_a();
    let count = |view: &str| format!("SELECT count(*) FROM {view} WHERE tenant_id = 'b'");
    assert_eq!(number(&mut app, &count("of_owner")), 0);
    assert_eq!(
        code(
            &mut app,
            &count("of_caller").replace("of_caller", "of_nobody")
        ),
        "42P01"
    );
    assert_eq!(number(&mut app, &count("of_caller")), 0);
    // PostgreSQL's own limit, in the threat model.
    assert_eq!(number(&mut app, &count("of_superuser")), 10000);
    assert_eq!(number(&mut app, &count("snapshot")), 10000);
    run(&mut app, "COMMIT");
    run(&mut admin, "ALTER VIEW of_superuser SET (security_invoker)");
    run(&mut app, "BEGIN; SELECT ward.set_tenant_context('a')");
    assert_eq!(number(&mut app, &count("of_superuser")), 0);
}

#[test]
fn plans_use_the_index_and_parallel_workers() {
    let (_cluster, _admin, mut app) = as_tenant_a();
    let by_index = plan(
        &mut app,
        "SELECT * FROM orders WHERE id BETWEEN 100 AND 110",
    );
    assert!(by_index.contains("Index Cond"), "{by_index}");
    let own = plan(
        &mut app,
        "SELECT count(*) FROM orders WHERE tenant_id >= ''",
    );
    for planned in [&by_index, &own] {
        assert!(
            !planned.contains("SubPlan") && !planned.contains("InitPlan"),
            "{planned}"
        );
    }
    run(&mut app, "SET LOCAL enable_seqscan = off");
    let all = plan(&mut app, "SELECT * FROM orders");
    assert!(
        all.contains("Index Cond: (tenant_id = ward.get_tenant_context())"),
        "{all}"
    );
    run(
        &mut app,
        "SET LOCAL enable_seqscan = on; SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off;
         SET LOCAL enable_indexonlyscan = off; SET LOCAL parallel_setup_cost = 0; SET LOCAL parallel_tuple_cost = 0;
         SET LOCAL min_parallel_table_scan_size = 0; SET LOCAL max_parallel_workers_per_gather = 2",
    );
    for table in ["orders", "line"] {
        let count = format!("SELECT count(*) FROM {table}");
        let parallel = plan(&mut app, &count);
        assert!(parallel.contains("Gather"), "{parallel}");
        assert_eq!(number(&mut app, &count), 10000, "{table}");
    }
}

#[test]
fn a_prepared_statement_and_a_trial_follow_the_context_not_the_plan() {
    let (_cluster, mut admin, mut app) = as_tenant_a();
    run(
        &mut app,
        "SET plan_cache_mode = force_generic_plan; PREPARE mine AS SELECT count(*) FROM orders WHERE n = 0",
    );
    assert_eq!(number(&mut app, "SELECT count(*) FROM orders"), 10000);
    run(
        &mut app,
        "EXECUTE mine; DELETE FROM orders WHERE id > 10; COMMIT",
    );
    run(&mut app, "BEGIN; SELECT ward.set_tenant_context('b')");
    assert_eq!(number(&mut app, "SELECT count(*) FROM orders"), 10000);
    run(&mut app, "COMMIT");
    // A trial leaves audit trail and table as they were.
    run(
        &mut admin,
        "SELECT ward.enable_audit('orders'); INSERT INTO orders VALUES ('b', 70000, 1)",
    );
    let tried = "SELECT count(*) FROM ward.test_isolation('orders', 'app', 'a', 'b') WHERE isolated IS NOT TRUE";
    assert_eq!(number(&mut admin, tried), 0);
    run(
        &mut admin,
        "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0",
    );
    assert_eq!(number(&mut admin, tried), 0);
    run(&mut admin, "BEGIN; DELETE FROM orders WHERE id = 70000");
    assert_eq!(number(&mut admin, tried), 0);
    run(&mut admin, "COMMIT; SELECT ward.seal_audit_trail()");
    assert_eq!(
        texts(
            &mut admin,
            "SELECT operation FROM ward.audit_trail WHERE table_name = 'orders' ORDER BY entry_id"
        ),
        ["INSERT", "DELETE"]
    );
    assert_eq!(
        text(
            &mut admin,
            "SELECT is_valid::text FROM ward.verify_audit_trail_integrity()"
        )
        .as_deref(),
        Some("true")
    );
}

#[test]
fn a_row_that_somebody_else_changes_is_not_tried_with() {
    let (cluster, mut admin, mut app) = as_tenant_a();
    run(&mut app, "DELETE FROM orders WHERE id <> 2; COMMIT");
    let mut other = cluster.client(DATABASE, "app");
    run(
        &mut other,
        "BEGIN; SELECT ward.set_tenant_context('a'); UPDATE orders SET n = 1",
    );
    let said = texts(
        &mut admin,
        "SELECT DISTINCT detail FROM ward.test_isolation('orders', 'app', 'a', 'b') WHERE isolated IS NULL",
    );
    assert_eq!(said, ["context a has no row that could be locked"]);
    run(&mut other, "COMMIT");
    assert_eq!(
        number(
            &mut admin,
            "SELECT count(*) FROM ward.test_isolation('orders', 'app', 'a', 'b') WHERE isolated"
        ),
        15
    );
}
