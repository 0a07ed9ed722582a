//! The context: no way around the setters, and one tenant per transaction.

use ward_tests::postgres::{Client, NoTls};
use ward_tests::{Cluster, DATABASE, SUPERUSER, number, refused, run, text};

const TENANT: &str = "SELECT ward.get_tenant_context()";

/// A database with table `orders` of tenants a and b, isolated, and an application role.
fn isolated() -> (Cluster, Client, Client) {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "CREATE TABLE orders (tenant_id text NOT NULL, id int);
         CREATE INDEX ON orders (tenant_id);
         INSERT INTO orders SELECT 'a', g FROM generate_series(1, 10) g;
         INSERT INTO orders SELECT 'b', g FROM generate_series(1, 20) g;
         SELECT ward.enable_tenant_isolation('orders');
         CREATE ROLE app LOGIN; GRANT ALL ON orders TO app",
    );
    let app = cluster.client(DATABASE, "app");
    (cluster, admin, app)
}

const ORDERS: &str = "SELECT count(*) FROM orders";

#[test]
fn without_a_context_nothing_is_visible() {
    let (_cluster, _admin, mut app) = isolated();
    assert_eq!(number(&mut app, ORDERS), 0);
    assert_eq!(text(&mut app, TENANT), None);
    assert_eq!(
        refused(&mut app, "INSERT INTO orders VALUES ('a', 0)")
            .code()
            .code(),
        "42501"
    );
}

#[test]
fn a_tenant_sees_and_changes_only_its_own_rows() {
    let (_cluster, mut admin, mut app) = isolated();
    run(&mut app, "BEGIN; SELECT ward.set_tenant_context('a')");
    assert_eq!(number(&mut app, ORDERS), 10);
    run(
        &mut app,
        "UPDATE orders SET id = -1; DELETE FROM orders WHERE tenant_id = 'b'; COMMIT",
    );
    let untouched = "SELECT count(*) FROM orders WHERE tenant_id = 'b' AND id > 0";
    assert_eq!(number(&mut admin, untouched), 20);
    for forbidden in [
        "INSERT INTO orders VALUES ('b', 0)",
        "UPDATE orders SET tenant_id = 'b'",
    ] {
        run(&mut app, "BEGIN; SELECT ward.set_tenant_context('a')");
        assert_eq!(refused(&mut app, forbidden).code().code(), "42501");
        run(&mut app, "ROLLBACK");
    }
}

#[test]
fn the_owner_of_the_table_is_subject_to_isolation_too() {
    let (_cluster, mut admin, mut app) = isolated();
    run(&mut admin, "ALTER TABLE orders OWNER TO app");
    assert_eq!(number(&mut app, ORDERS), 0);
}

#[test]
fn the_context_ends_with_the_transaction() {
    let (_cluster, _admin, mut app) = isolated();
    for end in ["COMMIT", "ROLLBACK"] {
        run(&mut app, "BEGIN; SELECT ward.set_tenant_context('a')");
        run(&mut app, end);
        assert_eq!(text(&mut app, TENANT), None, "after {end}");
    }
}

#[test]
fn a_session_context_lasts_until_it_is_cleared() {
    let (_cluster, _admin, mut app) = isolated();
    run(
        &mut app,
        "SELECT ward.set_tenant_context('a', is_local => false)",
    );
    assert_eq!(number(&mut app, ORDERS), 10);
    run(
        &mut app,
        "SELECT ward.set_tenant_context('b', is_local => false)",
    );
    assert_eq!(number(&mut app, ORDERS), 20);
    run(&mut app, "SELECT ward.clear_security_context()");
    assert_eq!(number(&mut app, ORDERS), 0);
}

#[test]
fn a_local_context_outside_a_transaction_is_an_error() {
    let (_cluster, _admin, mut app) = isolated();
    let error = refused(&mut app, "SELECT ward.set_tenant_context('a')");
    assert_eq!(error.code().code(), "25P01");
    assert!(error.hint().is_some());
}

#[test]
fn the_user_context_reads_back() {
    let (_cluster, _admin, mut app) = isolated();
    let user = "11111111-2222-3333-4444-555555555555";
    run(
        &mut app,
        &format!("BEGIN; SELECT ward.set_security_context('{user}')"),
    );
    let read = text(&mut app, "SELECT ward.get_current_user_id()::text");
    assert_eq!(read.as_deref(), Some(user));
    run(&mut app, "COMMIT");
    assert_eq!(
        text(&mut app, "SELECT ward.get_current_user_id()::text"),
        None
    );
}

/// What a context looks like as a value of the setting, learnt by a superuser.
fn stolen_context(cluster: &Cluster) -> String {
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SELECT ward.set_tenant_context('b', is_local => false)",
    );
    let shown = text(&mut admin, "SELECT current_setting('ward.context', true)");
    shown
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| "b".into())
}

#[test]
fn the_context_forged_by_set_and_set_config() {
    let (cluster, mut admin, mut app) = isolated();
    let value = stolen_context(&cluster).replace('\'', "''");
    for forged in [
        format!("SET ward.context = '{value}'"),
        format!("SET SESSION ward.context TO '{value}'"),
        format!("BEGIN; SET LOCAL ward.context = '{value}'"),
        format!("SELECT set_config('ward.context', '{value}', false)"),
        format!("SELECT set_config('ward.context', '{value}', true)"),
        format!("UPDATE pg_settings SET setting = '{value}' WHERE name = 'ward.context'"),
    ] {
        for client in [&mut app, &mut admin] {
            // an error, or a statement that changes nothing: never a context
            let _ = client.batch_execute(&forged);
            let _ = client.batch_execute("ROLLBACK");
            assert_eq!(text(client, TENANT), None, "{forged}");
        }
        assert_eq!(number(&mut app, ORDERS), 0, "{forged}");
    }
    refused(&mut app, &format!("SET ward.context = '{value}'"));
    refused(
        &mut app,
        &format!("SELECT set_config('ward.context', '{value}', false)"),
    );
}

#[test]
fn the_context_forged_inside_the_transaction_it_would_serve() {
    let (cluster, _admin, mut app) = isolated();
    let value = stolen_context(&cluster).replace('\'', "''");
    run(&mut app, "BEGIN; SAVEPOINT s");
    refused(&mut app, &format!("SET LOCAL ward.context = '{value}'"));
    run(&mut app, "ROLLBACK TO s");
    assert_eq!(number(&mut app, ORDERS), 0);
    run(&mut app, "SELECT ward.set_tenant_context('a')");
    refused(&mut app, &format!("SET LOCAL ward.context = '{value}'"));
    run(&mut app, "ROLLBACK TO s");
    assert_eq!(number(&mut app, ORDERS), 0);
}

#[test]
fn the_context_forged_by_alter_role_and_alter_database() {
    let (cluster, mut admin, _app) = isolated();
    let value = stolen_context(&cluster).replace('\'', "''");
    for target in [
        "ROLE app",
        "DATABASE app",
        "ROLE app IN DATABASE app",
        "ROLE ALL",
    ] {
        let _ = admin.batch_execute(&format!("ALTER {target} SET ward.context = '{value}'"));
        let mut later = cluster.client(DATABASE, "app");
        assert_eq!(text(&mut later, TENANT), None, "{target}");
        assert_eq!(number(&mut later, ORDERS), 0, "{target}");
        let _ = admin.batch_execute(&format!("ALTER {target} RESET ward.context"));
    }
}

#[test]
fn the_context_forged_by_connection_options() {
    let (cluster, ..) = isolated();
    let value = stolen_context(&cluster)
        .replace('\\', "\\\\")
        .replace(' ', "\\ ");
    for user in ["app", SUPERUSER] {
        let mut config = cluster.config(DATABASE, user);
        config.options(&format!("-c ward.context={value}"));
        // refused, or ineffective
        if let Ok(mut client) = config.connect(NoTls) {
            assert_eq!(text(&mut client, TENANT), None);
        }
    }
}

#[test]
fn the_context_forged_by_a_function_with_a_set_clause() {
    let (cluster, _admin, mut app) = isolated();
    let value = stolen_context(&cluster).replace('\'', "''");
    run(&mut app, "CREATE TEMPORARY TABLE seen (tenant text)");
    let made = app.batch_execute(&format!(
        "CREATE FUNCTION pg_temp.forge() RETURNS text LANGUAGE sql
           SET ward.context = '{value}' AS 'SELECT ward.get_tenant_context()'"
    ));
    if made.is_ok() {
        let seen = app.query("SELECT pg_temp.forge()", &[]);
        let seen = seen.map(|rows| rows[0].get::<_, Option<String>>(0));
        assert!(!matches!(seen, Ok(Some(_))), "{seen:?}");
    }
    assert_eq!(text(&mut app, TENANT), None);
}

#[test]
fn the_context_forged_in_postgresql_conf() {
    let (mut cluster, ..) = isolated();
    cluster.append_settings("ward.context = 'b'\n");
    cluster.stop();
    // refused, or ineffective
    if cluster.start_again().is_ok() {
        let mut app = cluster.client(DATABASE, "app");
        assert_eq!(text(&mut app, TENANT), None);
    }
}

#[test]
fn another_tenant_in_the_same_transaction() {
    let (_cluster, _admin, mut app) = isolated();
    let set_b = "SELECT ward.set_tenant_context('b')";
    for trick in [
        "",
        "RESET ward.context",
        "RESET ALL",
        "SET ward.context TO DEFAULT",
        "SELECT ward.clear_security_context()",
        "ROLLBACK TO s",
        "ROLLBACK TO s; RELEASE s",
    ] {
        run(
            &mut app,
            "BEGIN; SAVEPOINT s; SELECT ward.set_tenant_context('a'); SELECT count(*) FROM orders",
        );
        // some of these tricks are themselves refused; the latch must hold all the same
        if app.batch_execute(trick).is_err() {
            run(&mut app, "ROLLBACK TO s");
        }
        let seen = number(&mut app, ORDERS);
        assert!(seen == 0 || seen == 10, "{trick}: {seen} rows");
        refused(&mut app, set_b);
        run(&mut app, "ROLLBACK");
    }
    run(&mut app, "BEGIN");
    run(&mut app, set_b);
    assert_eq!(number(&mut app, ORDERS), 20);
    run(&mut app, "COMMIT");
}

#[test]
fn another_tenant_in_the_same_transaction_after_a_session_context_was_read() {
    let (_cluster, _admin, mut app) = isolated();
    run(
        &mut app,
        "SELECT ward.set_tenant_context('a', is_local => false)",
    );
    run(&mut app, "BEGIN; SELECT count(*) FROM orders");
    refused(&mut app, "SELECT ward.set_tenant_context('b')");
    run(&mut app, "ROLLBACK; BEGIN; SELECT count(*) FROM orders");
    refused(
        &mut app,
        "SELECT ward.set_tenant_context('b', is_local => false)",
    );
    run(&mut app, "ROLLBACK");
    assert_eq!(number(&mut app, ORDERS), 10);
}

#[test]
fn another_tenant_from_a_subquery_of_the_running_statement() {
    let (_cluster, _admin, mut app) = isolated();
    run(&mut app, "BEGIN; SELECT ward.set_tenant_context('a')");
    refused(
        &mut app,
        "SELECT * FROM orders WHERE id = 1 OR ward.set_tenant_context('b') IS NOT NULL",
    );
}

#[test]
fn the_same_tenant_again_is_no_offence() {
    let (_cluster, _admin, mut app) = isolated();
    run(
        &mut app,
        "BEGIN; SELECT ward.set_tenant_context('a'); SELECT ward.set_tenant_context('a')",
    );
    assert_eq!(number(&mut app, ORDERS), 10);
}

#[test]
fn parallel_workers_see_the_leaders_context() {
    let (_cluster, mut admin, mut app) = isolated();
    run(
        &mut admin,
        "INSERT INTO orders SELECT 'a', g FROM generate_series(1, 30000) g; ANALYZE orders",
    );
    run(
        &mut app,
        "SET max_parallel_workers_per_gather = 4; SET min_parallel_table_scan_size = 0;
         SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
         SET enable_indexscan = off; SET enable_bitmapscan = off; SET enable_indexonlyscan = off;
         BEGIN; SELECT ward.set_tenant_context('a')",
    );
    let plan = ward_tests::texts(&mut app, "EXPLAIN SELECT count(*) FROM orders").join("\n");
    assert!(plan.contains("Gather"), "{plan}");
    assert_eq!(number(&mut app, ORDERS), 30_010);
    run(&mut app, "COMMIT");
    assert_eq!(number(&mut app, ORDERS), 0);
}

#[test]
fn the_policy_uses_the_index() {
    let (_cluster, mut admin, mut app) = isolated();
    run(
        &mut admin,
        "INSERT INTO orders SELECT 't' || g, g FROM generate_series(1, 20000) g; ANALYZE orders",
    );
    run(&mut app, "BEGIN; SELECT ward.set_tenant_context('a')");
    let plan = ward_tests::texts(&mut app, "EXPLAIN SELECT * FROM orders").join("\n");
    assert!(plan.contains("Index"), "{plan}");
}

#[test]
fn an_error_passes_the_hooks_with_all_its_fields() {
    let (_cluster, _admin, mut app) = isolated();
    run(
        &mut app,
        "CREATE TEMPORARY TABLE t (id int CONSTRAINT one_each PRIMARY KEY, n int NOT NULL); INSERT INTO t VALUES (1, 1)",
    );
    let unique = refused(&mut app, "INSERT INTO t VALUES (1, 1)");
    assert_eq!(unique.constraint(), Some("one_each"));
    assert_eq!(unique.table(), Some("t"));
    let null = refused(&mut app, "INSERT INTO t VALUES (2, NULL)");
    assert_eq!(null.column(), Some("n"));
}

#[test]
fn a_uuid_given_to_a_procedure_outlives_its_transactions() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "CREATE TABLE seen (t uuid, u uuid);
         CREATE PROCEDURE outlives(t uuid, u uuid) LANGUAGE plpgsql AS $$ BEGIN
             FOR n IN 1 .. 20 LOOP
                 COMMIT;
                 PERFORM ward.set_tenant_context(gen_random_uuid()), ward.set_security_context(gen_random_uuid());
                 PERFORM ward.get_current_tenant_id(), ward.get_current_user_id();
                 INSERT INTO seen VALUES (t, u);
             END LOOP;
         END $$;
         SELECT ward.set_tenant_context('00000000-0000-4000-8000-00000000000a'::uuid, false);
         SELECT ward.set_security_context('00000000-0000-4000-8000-00000000000b', is_local => false)",
    );
    run(
        &mut admin,
        "CALL outlives(ward.get_current_tenant_id(), ward.get_current_user_id())",
    );
    let seen = "SELECT string_agg(DISTINCT right(t::text, 1) || right(u::text, 1), ' ') FROM seen";
    assert_eq!(text(&mut admin, seen).as_deref(), Some("ab"));
}
