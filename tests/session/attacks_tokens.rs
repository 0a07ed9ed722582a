//! Attacks on the separation of tenants where only tokens count, by whoever can send statements under an
//! application's role. Those on the mode itself are in `context_mode`, those on tokens in `context_refusals`.

use ward_tests::postgres::Client;
use ward_tests::{Algorithm, Cluster, DATABASE, Issuer, number, refused, run, text};

const ORDERS: &str = "SELECT count(*) FROM orders";
const TENANT: &str = "SELECT ward.get_tenant_context()";

/// Table `orders` with 10 rows of tenant a and 20 of tenant b in token mode, and the roles app and other.
fn token_mode() -> (Cluster, Client, Client, Issuer) {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    let issuer = Issuer::new(Algorithm::ES256);
    issuer.register(&mut admin);
    run(
        &mut admin,
        "CREATE TABLE orders (tenant_id text NOT NULL, id int);
         INSERT INTO orders SELECT 'a', g FROM generate_series(1, 10) g;
         INSERT INTO orders SELECT 'b', g FROM generate_series(1, 20) g;
         SELECT ward.enable_tenant_isolation('orders');
         CREATE ROLE app LOGIN; CREATE ROLE other; GRANT other TO app;
         GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO app, other; GRANT CREATE ON SCHEMA public TO app;
         ALTER ROLE other SET ward.context_mode = trusted; ALTER ROLE app SET ward.context_mode = token",
    );
    let app = cluster.client(DATABASE, "app");
    (cluster, admin, app, issuer)
}

fn as_tenant(client: &mut Client, issuer: &Issuer, tenant: &str) {
    run(client, "BEGIN");
    client
        .execute("SELECT ward.authenticate($1)", &[&issuer.token(tenant)])
        .unwrap();
}

#[test]
fn commit_and_begin_in_one_batch() {
    let (_cluster, _admin, mut app, issuer) = token_mode();
    for stacked in [
        "SELECT ward.set_tenant_context('b')",
        "SELECT ward.set_tenant_context('b', is_local => false)",
        "SELECT ward.set_security_context(NULL, service_name => 'b')",
        "SELECT set_config('ward.context', '{\"source\":\"token\",\"tenant\":\"b\"}', true)",
        "SET LOCAL ward.context_mode = trusted",
        "SELECT ward.override_tenant_context('b', 'why not')",
    ] {
        as_tenant(&mut app, &issuer, "a");
        assert_eq!(number(&mut app, ORDERS), 10);
        let batch = format!("COMMIT; BEGIN; {stacked}; INSERT INTO orders SELECT 'b', 99");
        refused(&mut app, &batch);
        run(&mut app, "ROLLBACK");
        // The token ended with its transaction.
        assert_eq!(number(&mut app, ORDERS), 0, "{stacked}");
    }
    as_tenant(&mut app, &issuer, "a");
    run(&mut app, "COMMIT; BEGIN");
    assert_eq!(number(&mut app, ORDERS), 0);
    run(&mut app, "ROLLBACK");
}

#[test]
fn another_role_with_a_looser_mode_by_set_role() {
    let (_cluster, mut admin, mut app, issuer) = token_mode();
    for switch in ["SET ROLE other", "BEGIN; SET LOCAL ROLE other"] {
        run(&mut app, switch);
        let error = refused(&mut app, "SELECT ward.set_tenant_context('b')");
        assert_eq!(error.code().code(), "42501", "{switch}");
        run(&mut app, "ROLLBACK; RESET ROLE");
    }
    as_tenant(&mut app, &issuer, "a");
    run(&mut app, "SET LOCAL ROLE other");
    assert_eq!(number(&mut app, ORDERS), 10);
    refused(&mut app, "SELECT ward.set_tenant_context('b')");
    run(&mut app, "ROLLBACK");
    // A superuser's session that becomes the application has the superuser's mode, not a looser one.
    run(
        &mut admin,
        "SET ward.context_mode = token; SET SESSION AUTHORIZATION other",
    );
    refused(&mut admin, "SELECT ward.set_tenant_context('b')");
    refused(&mut admin, "SET ward.context_mode = trusted");
}

#[test]
fn a_captured_context_of_a_token_replayed_in_another_session() {
    let (cluster, mut admin, mut app, issuer) = token_mode();
    as_tenant(&mut app, &issuer, "b");
    let captured = text(&mut app, "SELECT current_setting('ward.context')").unwrap();
    assert!(!captured.contains('b'), "{captured}");
    run(&mut app, "COMMIT");
    let mut later = cluster.client(DATABASE, "app");
    for value in [
        captured.as_str(),
        r#"{"source":"token","tenant":"b","transaction_local":true}"#,
        r#"{"source":"override","tenant":"b"}"#,
    ] {
        for forged in [
            format!("SET ward.context = '{value}'"),
            format!("BEGIN; SET LOCAL ward.context = '{value}'"),
            format!("SELECT set_config('ward.context', '{value}', false)"),
            format!(
                "CREATE FUNCTION f() RETURNS text LANGUAGE sql SET ward.context = '{value}' AS 'SELECT 1::text'"
            ),
            format!("ALTER ROLE app SET ward.context = '{value}'"),
        ] {
            refused(&mut later, &forged);
            run(&mut later, "ROLLBACK");
            assert_eq!(number(&mut later, ORDERS), 0, "{forged}");
        }
        // Not by a superuser either.
        refused(&mut admin, &format!("SET ward.context = '{value}'"));
    }
}

#[test]
fn a_token_for_the_session_after_discard_reset_and_savepoints() {
    let (_cluster, _admin, mut app, issuer) = token_mode();
    for end in [
        "DISCARD ALL",
        "RESET ALL",
        "RESET ward.context",
        "SET ward.context TO DEFAULT",
        "SELECT ward.clear_security_context()",
    ] {
        app.execute("SELECT ward.authenticate($1, false)", &[&issuer.token("b")])
            .unwrap();
        assert_eq!(number(&mut app, ORDERS), 20);
        run(&mut app, end);
        assert_eq!(text(&mut app, TENANT), None, "{end}");
    }
    // Rolled back to a tenant that this transaction is not bound to: none rather than another.
    app.execute("SELECT ward.authenticate($1, false)", &[&issuer.token("b")])
        .unwrap();
    run(&mut app, "BEGIN; SAVEPOINT s");
    app.execute("SELECT ward.authenticate($1)", &[&issuer.token("a")])
        .unwrap();
    assert_eq!(number(&mut app, ORDERS), 10);
    run(&mut app, "ROLLBACK TO s");
    assert_eq!(number(&mut app, ORDERS), 0);
    run(&mut app, "ROLLBACK");
    assert_eq!(number(&mut app, ORDERS), 20);
}

#[test]
fn a_statement_prepared_and_a_cursor_opened_under_another_token() {
    let (_cluster, _admin, mut app, issuer) = token_mode();
    run(
        &mut app,
        "SET plan_cache_mode = force_generic_plan; PREPARE everything AS SELECT count(*) FROM orders",
    );
    for (tenant, rows) in [("a", 10), ("b", 20), ("a", 10)] {
        as_tenant(&mut app, &issuer, tenant);
        assert_eq!(number(&mut app, "EXECUTE everything"), rows);
        run(&mut app, "COMMIT");
        assert_eq!(number(&mut app, "EXECUTE everything"), 0);
    }
    run(
        &mut app,
        "BEGIN; DECLARE early CURSOR FOR SELECT count(*) FROM orders",
    );
    app.execute("SELECT ward.authenticate($1)", &[&issuer.token("a")])
        .unwrap();
    assert!([0, 10].contains(&number(&mut app, "FETCH ALL FROM early")));
    refused(
        &mut app,
        &format!("SELECT ward.authenticate('{}')", issuer.token("b")),
    );
}
