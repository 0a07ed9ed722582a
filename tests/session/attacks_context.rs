//! Attacks on the separation of tenants, by whoever can send statements under an application's role.
//! What PostgreSQL itself does not prevent is shown as it is: `docs/threat-model.md` says so.

use ward_tests::postgres::{Client, SimpleQueryMessage};
use ward_tests::{Cluster, DATABASE, number, refused, run, text, texts};

const ORDERS: &str = "SELECT count(*) FROM orders";
const TENANT: &str = "SELECT ward.get_tenant_context()";

/// Table `orders` with 10 rows of tenant a and 20 of tenant b, isolated; the roles app and other.
fn isolated() -> (Cluster, Client, Client) {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "CREATE TABLE orders (tenant_id text NOT NULL, id int, secret text);
         CREATE INDEX ON orders (tenant_id);
         INSERT INTO orders SELECT 'a', g, 'mine' FROM generate_series(1, 10) g;
         INSERT INTO orders SELECT 'b', g, 'canary' FROM generate_series(1, 20) g;
         SELECT ward.enable_tenant_isolation('orders');
         CREATE ROLE app LOGIN; CREATE ROLE other; GRANT other TO app;
         GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO app, other;
         GRANT CREATE ON SCHEMA public TO app",
    );
    let app = cluster.client(DATABASE, "app");
    (cluster, admin, app)
}

fn as_tenant_a(app: &mut Client) {
    run(app, "BEGIN; SELECT ward.set_tenant_context('a')");
}

/// All rows of all results of a batch sent in one message of the simple protocol.
fn batch(client: &mut Client, statements: &str) -> Vec<String> {
    let messages = client.simple_query(statements).expect("run the batch");
    messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        })
        .collect()
}

#[test]
fn a_function_that_takes_the_context_from_its_creator() {
    let (_cluster, _admin, mut app) = isolated();
    as_tenant_a(&mut app);
    let made = app.batch_execute(
        "CREATE FUNCTION keep() RETURNS text LANGUAGE sql SET ward.context FROM CURRENT
         AS 'SELECT ward.get_tenant_context()'",
    );
    run(&mut app, "ROLLBACK");
    // Refused, or the function cannot be called: never a context that outlives its transaction.
    if made.is_ok() {
        as_tenant_a(&mut app);
        let _ = app.batch_execute(
            "CREATE FUNCTION keep() RETURNS text LANGUAGE sql SET ward.context FROM CURRENT
             AS 'SELECT ward.get_tenant_context()'",
        );
        run(&mut app, "COMMIT");
        let seen = app.query("SELECT keep()", &[]);
        assert!(!matches!(
            seen.map(|rows| rows[0].get::<_, Option<String>>(0)),
            Ok(Some(_))
        ));
    }
    assert_eq!(text(&mut app, TENANT), None);
}

#[test]
fn reset_and_reset_all_then_set() {
    let (_cluster, _admin, mut app) = isolated();
    for reset in [
        "RESET ward.context",
        "RESET ALL",
        "SET ward.context TO DEFAULT",
    ] {
        as_tenant_a(&mut app);
        assert_eq!(number(&mut app, ORDERS), 10);
        run(&mut app, reset);
        let error = refused(&mut app, "SELECT ward.set_tenant_context('b')");
        assert_eq!(error.code().code(), "42501", "{reset}");
        run(&mut app, "ROLLBACK");
    }
    // DISCARD ALL does not run inside a transaction at all
    as_tenant_a(&mut app);
    assert_eq!(refused(&mut app, "DISCARD ALL").code().code(), "25001");
    run(&mut app, "ROLLBACK");
}

#[test]
fn a_cursor_opened_under_one_tenant_and_read_under_another() {
    let (_cluster, _admin, mut app) = isolated();
    // inside the transaction the tenant cannot change; a holdable cursor keeps what it may
    as_tenant_a(&mut app);
    run(
        &mut app,
        "DECLARE kept CURSOR WITH HOLD FOR SELECT tenant_id FROM orders; COMMIT;
         BEGIN; SELECT ward.set_tenant_context('b')",
    );
    let rows = texts(&mut app, "FETCH ALL FROM kept");
    assert!(
        rows.len() == 10 && rows.iter().all(|tenant| tenant == "a"),
        "{rows:?}"
    );
    run(&mut app, "COMMIT; CLOSE kept");

    // a cursor that is not read before its transaction's tenant is set shows nothing of others
    run(
        &mut app,
        "BEGIN; DECLARE early CURSOR FOR SELECT tenant_id FROM orders;
         SELECT ward.set_tenant_context('a')",
    );
    let rows = texts(&mut app, "FETCH ALL FROM early");
    assert!(rows.iter().all(|tenant| tenant == "a"), "{rows:?}");
    run(&mut app, "ROLLBACK");
}

#[test]
fn a_prepared_statement_and_a_plan_cached_under_another_tenant() {
    let (_cluster, _admin, mut app) = isolated();
    run(
        &mut app,
        "SET plan_cache_mode = force_generic_plan;
         PREPARE everything AS SELECT tenant_id FROM orders",
    );
    for (tenant, rows) in [("a", 10), ("b", 20), ("a", 10)] {
        run(
            &mut app,
            &format!("BEGIN; SELECT ward.set_tenant_context('{tenant}')"),
        );
        let seen = texts(&mut app, "EXECUTE everything");
        assert_eq!(seen.len(), rows);
        assert!(seen.iter().all(|seen| seen == tenant));
        run(&mut app, "COMMIT");
    }
    assert!(texts(&mut app, "EXECUTE everything").is_empty());
}

#[test]
fn commit_and_begin_in_one_batch_documented_limit_of_trusted_mode() {
    let (_cluster, _admin, mut app) = isolated();
    let seen = batch(
        &mut app,
        "BEGIN; SELECT ward.set_tenant_context('a'); COMMIT;
         BEGIN; SELECT ward.set_tenant_context('b'); SELECT count(*) FROM orders; COMMIT",
    );
    assert_eq!(seen.last().map(String::as_str), Some("20"));
}

#[test]
fn one_implicit_transaction_of_a_batch_has_one_tenant() {
    let (_cluster, _admin, mut app) = isolated();
    let error = refused(
        &mut app,
        "SELECT ward.set_tenant_context('a'); SELECT count(*) FROM orders;
         SELECT ward.set_tenant_context('b')",
    );
    assert_eq!(error.code().code(), "42501");
}

#[test]
fn another_role_by_set_role_keeps_the_tenant() {
    let (_cluster, _admin, mut app) = isolated();
    for switch in ["SET ROLE other", "SET LOCAL ROLE other"] {
        as_tenant_a(&mut app);
        run(&mut app, switch);
        assert_eq!(number(&mut app, ORDERS), 10, "{switch}");
        refused(&mut app, "SELECT ward.set_tenant_context('b')");
        run(&mut app, "ROLLBACK; RESET ROLE");
    }
}

#[test]
fn a_superuser_who_becomes_the_application_keeps_the_tenant() {
    let (_cluster, mut admin, _app) = isolated();
    run(
        &mut admin,
        "SET SESSION AUTHORIZATION app; BEGIN; SELECT ward.set_tenant_context('a')",
    );
    assert_eq!(number(&mut admin, ORDERS), 10);
    run(&mut admin, "SET LOCAL SESSION AUTHORIZATION DEFAULT");
    refused(&mut admin, "SELECT ward.set_tenant_context('b')");
    run(&mut admin, "ROLLBACK; RESET SESSION AUTHORIZATION");
}

#[test]
fn a_captured_context_replayed_in_another_session() {
    let (cluster, mut admin, mut app) = isolated();
    // the best that can be captured: what a superuser can read of the setting, and of its memory form
    run(&mut admin, "BEGIN; SELECT ward.set_tenant_context('b')");
    let captured = text(&mut admin, "SELECT current_setting('ward.context')").unwrap();
    run(&mut admin, "COMMIT");
    for value in [
        captured.as_str(),
        "b",
        r#"{"source":"trusted","tenant":"b","user_id":null,"session_id":null,"service_name":null,"client_ip":null,"user_agent":null,"transaction_local":false}"#,
    ] {
        let forged = format!("SET ward.context = '{}'", value.replace('\'', "''"));
        assert!(app.batch_execute(&forged).is_err(), "{value}");
        let mut later = cluster.client(DATABASE, "app");
        assert!(later.batch_execute(&forged).is_err(), "{value}");
        assert_eq!(number(&mut later, ORDERS), 0);
    }
}

#[test]
fn a_parallel_query_after_a_rollback_to_another_tenant() {
    let (_cluster, mut admin, mut app) = isolated();
    run(
        &mut admin,
        "INSERT INTO orders SELECT 'b', g, 'canary' FROM generate_series(1, 30000) g; ANALYZE orders",
    );
    run(
        &mut app,
        "SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
         SET enable_indexscan = off; SET enable_bitmapscan = off;
         SELECT ward.set_tenant_context('b', is_local => false)",
    );
    run(&mut app, "BEGIN; SAVEPOINT s");
    // the session's tenant is b; this transaction never reads it, and binds itself to a
    run(
        &mut app,
        "RESET ward.context; SELECT ward.set_tenant_context('a')",
    );
    assert_eq!(number(&mut app, ORDERS), 10);
    run(&mut app, "ROLLBACK TO s");
    match app.query(ORDERS, &[]) {
        Ok(rows) => assert!([0, 10].contains(&rows[0].get::<_, i64>(0)), "{rows:?}"),
        Err(error) => assert_eq!(error.code().unwrap().code(), "42501"),
    }
    run(&mut app, "ROLLBACK");
}

#[test]
fn a_security_definer_function_reads_under_the_callers_tenant() {
    let (_cluster, mut admin, mut app) = isolated();
    run(
        &mut admin,
        "CREATE ROLE batch NOLOGIN; GRANT SELECT ON orders TO batch; GRANT CREATE ON SCHEMA public TO batch;
         SET ROLE batch;
         CREATE FUNCTION all_orders() RETURNS bigint LANGUAGE sql SECURITY DEFINER
             SET search_path = pg_catalog, public, pg_temp AS 'SELECT count(*) FROM public.orders';
         RESET ROLE",
    );
    assert_eq!(number(&mut app, "SELECT all_orders()"), 0);
    as_tenant_a(&mut app);
    assert_eq!(number(&mut app, "SELECT all_orders()"), 10);
    run(&mut app, "COMMIT");
    // one that belongs to a superuser is subject to no policy: PostgreSQL's own limit
    run(&mut admin, "ALTER FUNCTION all_orders() OWNER TO postgres");
    assert_eq!(number(&mut app, "SELECT all_orders()"), 30);
}

#[test]
fn a_leaky_function_or_operator_in_where_sees_no_row_of_another_tenant() {
    let (_cluster, _admin, mut app) = isolated();
    run(
        &mut app,
        "CREATE FUNCTION leak(text) RETURNS bool LANGUAGE plpgsql COST 0.0000001
             AS $$ BEGIN RAISE NOTICE 'leaked %', $1; RETURN true; END $$;
         CREATE FUNCTION leak_op(text, text) RETURNS bool LANGUAGE plpgsql COST 0.0000001
             AS $$ BEGIN IF $1 = 'canary' THEN RAISE EXCEPTION 'leaked'; END IF; RETURN true; END $$;
         CREATE OPERATOR <<< (LEFTARG = text, RIGHTARG = text, FUNCTION = leak_op)",
    );
    for query in [
        "SELECT count(*) FROM orders WHERE secret <<< 'x'",
        "SELECT count(*) FROM orders WHERE leak(secret) AND secret <<< 'x'",
        "SELECT count(*) FROM orders WHERE 1 / (CASE WHEN secret = 'canary' THEN 0 ELSE 1 END) = 1",
        "SELECT count(*) FROM orders WHERE secret::text <<< 'x' OR secret <<< 'y'",
        "SELECT count(*) FROM (SELECT * FROM orders OFFSET 0) o WHERE secret <<< 'x'",
    ] {
        as_tenant_a(&mut app);
        assert_eq!(number(&mut app, query), 10, "{query}");
        run(&mut app, "ROLLBACK");
        assert_eq!(number(&mut app, query), 0, "{query}");
    }
}

#[test]
fn explain_tells_nothing_of_another_tenants_values() {
    let (_cluster, mut admin, mut app) = isolated();
    run(&mut admin, "ANALYZE orders");
    as_tenant_a(&mut app);
    let plan = texts(
        &mut app,
        "EXPLAIN (ANALYZE, VERBOSE, COSTS off, TIMING off, SUMMARY off)
         SELECT * FROM orders WHERE secret > ''",
    )
    .join("\n");
    assert!(
        plan.contains("rows=10") && !plan.contains("canary"),
        "{plan}"
    );
    run(&mut app, "COMMIT");
    // the statistics of an isolated table are not shown to those a policy applies to
    let shown = "SELECT count(*) FROM pg_stats WHERE tablename = 'orders'";
    assert_eq!(number(&mut app, shown), 0);
    assert!(number(&mut admin, shown) > 0);
}

#[test]
fn copy_shows_and_stores_only_the_tenants_own() {
    let (_cluster, _admin, mut app) = isolated();
    as_tenant_a(&mut app);
    let mut copied = String::new();
    std::io::Read::read_to_string(
        &mut app.copy_out("COPY orders TO STDOUT").unwrap(),
        &mut copied,
    )
    .unwrap();
    assert_eq!(copied.lines().count(), 10);
    assert!(!copied.contains("canary"));
    let error = refused(&mut app, "COPY orders FROM STDIN");
    assert_eq!(error.code().code(), "0A000");
    run(&mut app, "ROLLBACK");
}

#[test]
fn truncate_needs_a_right_of_its_own() {
    let (_cluster, mut admin, mut app) = isolated();
    as_tenant_a(&mut app);
    assert_eq!(refused(&mut app, "TRUNCATE orders").code().code(), "42501");
    run(&mut app, "ROLLBACK");
    assert_eq!(number(&mut admin, ORDERS), 30);
}

#[test]
fn foreign_key_and_unique_probes_documented_limit() {
    let (_cluster, mut admin, mut app) = isolated();
    run(
        &mut admin,
        "CREATE TABLE account (id int PRIMARY KEY, tenant_id text NOT NULL);
         CREATE INDEX ON account (tenant_id);
         INSERT INTO account VALUES (1, 'a'), (2, 'b');
         CREATE TABLE invoice (tenant_id text NOT NULL, account_id int REFERENCES account);
         CREATE INDEX ON invoice (tenant_id);
         SELECT ward.enable_tenant_isolation('account'), ward.enable_tenant_isolation('invoice');
         GRANT ALL ON account, invoice TO app",
    );
    as_tenant_a(&mut app);
    assert_eq!(
        number(&mut app, "SELECT count(*) FROM account WHERE id = 2"),
        0
    );
    // PostgreSQL checks keys beneath all policies, so both tell that the other tenant has account 2
    run(&mut app, "SAVEPOINT s");
    let error = refused(&mut app, "INSERT INTO account VALUES (2, 'a')");
    assert_eq!(error.code().code(), "23505");
    run(
        &mut app,
        "ROLLBACK TO s; INSERT INTO invoice VALUES ('a', 2); ROLLBACK",
    );
    // keys that include the tenant close it
    run(
        &mut admin,
        "ALTER TABLE invoice DROP CONSTRAINT invoice_account_id_fkey;
         ALTER TABLE account DROP CONSTRAINT account_pkey, ADD PRIMARY KEY (tenant_id, id);
         ALTER TABLE invoice ADD FOREIGN KEY (tenant_id, account_id) REFERENCES account (tenant_id, id)",
    );
    as_tenant_a(&mut app);
    run(&mut app, "INSERT INTO account VALUES (2, 'a'); ROLLBACK");
    as_tenant_a(&mut app);
    let error = refused(&mut app, "INSERT INTO invoice VALUES ('a', 2)");
    assert_eq!(error.code().code(), "23503");
    let told = format!("{:?}", error.detail());
    run(&mut app, "ROLLBACK");
    assert!(!told.contains("canary"));
}

#[test]
fn a_materialized_view_holds_every_tenants_rows_documented_limit() {
    let (_cluster, mut admin, mut app) = isolated();
    run(
        &mut admin,
        "CREATE MATERIALIZED VIEW summary AS SELECT * FROM orders; GRANT SELECT ON summary TO app;
         CREATE VIEW theirs AS SELECT * FROM orders; GRANT SELECT ON theirs TO app;
         CREATE VIEW mine WITH (security_invoker) AS SELECT * FROM orders; GRANT SELECT ON mine TO app",
    );
    as_tenant_a(&mut app);
    // of a superuser: past the policy, as docs/threat-model.md says
    assert_eq!(number(&mut app, "SELECT count(*) FROM summary"), 30);
    assert_eq!(number(&mut app, "SELECT count(*) FROM theirs"), 30);
    assert_eq!(number(&mut app, "SELECT count(*) FROM mine"), 10);
}

#[test]
fn rows_moved_to_or_merged_into_another_tenant() {
    let (_cluster, mut admin, mut app) = isolated();
    run(&mut admin, "ALTER TABLE orders ADD UNIQUE (tenant_id, id)");
    for stolen in [
        "UPDATE orders SET tenant_id = 'b'",
        "INSERT INTO orders VALUES ('b', 99, 'x')",
        "INSERT INTO orders VALUES ('b', 1, 'x') ON CONFLICT (tenant_id, id) DO UPDATE SET secret = 'x'",
        "MERGE INTO orders o USING (VALUES ('b', 1)) v (t, i) ON o.tenant_id = v.t AND o.id = v.i
         WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (v.t, v.i, 'x')",
    ] {
        as_tenant_a(&mut app);
        assert!(app.batch_execute(stolen).is_err(), "{stolen}");
        run(&mut app, "ROLLBACK");
    }
    let untouched = "SELECT count(*) FROM orders WHERE tenant_id = 'b' AND secret = 'canary'";
    assert_eq!(number(&mut admin, untouched), 20);
}

#[test]
fn a_tenant_name_that_only_looks_the_same() {
    let (_cluster, _admin, mut app) = isolated();
    for name in ["A", "a ", " a", "а", "a\u{200b}", "a'--", "%", "a_"] {
        run(&mut app, "BEGIN");
        app.execute("SELECT ward.set_tenant_context($1::text)", &[&name])
            .unwrap();
        assert_eq!(number(&mut app, ORDERS), 0, "{name:?}");
        run(&mut app, "ROLLBACK");
    }
}
