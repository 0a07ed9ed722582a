//! Whose word counts: the application's or only a token's, and nobody who is no superuser decides that.

use ward_tests::postgres::{Client, NoTls};
use ward_tests::{Algorithm, Cluster, DATABASE, Issuer, number, refused, run, text};

const TENANT: &str = "SELECT ward.get_tenant_context()";
const MODE: &str = "SHOW ward.context_mode";

/// A database in token mode, with table `orders` of tenants a and b, and an application role.
fn token_mode() -> (Cluster, Client, Issuer) {
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
         CREATE ROLE app LOGIN; CREATE ROLE support LOGIN;
         GRANT ALL ON orders TO app, support; GRANT CREATE ON SCHEMA public TO app;
         GRANT EXECUTE ON FUNCTION ward.override_tenant_context(text, text) TO support;
         ALTER DATABASE app SET ward.context_mode = token",
    );
    (cluster, admin, issuer)
}

const ORDERS: &str = "SELECT count(*) FROM orders";

fn authenticate(client: &mut Client, token: &str) {
    client
        .execute("SELECT ward.authenticate($1)", &[&token])
        .unwrap();
}

#[test]
fn in_token_mode_only_a_token_sets_a_context() {
    let (cluster, _admin, issuer) = token_mode();
    let mut app = cluster.client(DATABASE, "app");
    for setter in [
        "SELECT ward.set_tenant_context('a')",
        "SELECT ward.set_tenant_context('a', false)",
        "SELECT ward.set_tenant_context(gen_random_uuid())",
        "SELECT ward.set_security_context(gen_random_uuid())",
        "SELECT ward.set_security_context(NULL, service_name => 'x', roles => '{admin}')",
    ] {
        let error = refused(&mut app, setter);
        assert_eq!(error.code().code(), "42501", "{setter}");
        assert!(error.hint().unwrap().contains("authenticate"));
    }
    assert_eq!(number(&mut app, ORDERS), 0);
    run(&mut app, "BEGIN");
    authenticate(&mut app, &issuer.token("a"));
    assert_eq!(number(&mut app, ORDERS), 10);
    // Nor can the application add to what the token says, or leave the tenant.
    for setter in [
        "SELECT ward.set_security_context(gen_random_uuid(), roles => '{admin}')",
        "SELECT ward.set_tenant_context('a')",
        "SELECT ward.override_tenant_context('b', 'because')",
    ] {
        run(&mut app, "SAVEPOINT s");
        assert_eq!(refused(&mut app, setter).code().code(), "42501", "{setter}");
        run(&mut app, "ROLLBACK TO s");
    }
    run(&mut app, "COMMIT");
    // A stacked COMMIT; BEGIN gains nothing without another token.
    run(&mut app, "BEGIN");
    authenticate(&mut app, &issuer.token("a"));
    refused(
        &mut app,
        "COMMIT; BEGIN; SELECT ward.set_tenant_context('b'); SELECT * FROM orders",
    );
    run(&mut app, "ROLLBACK");
}

#[test]
fn the_mode_loosened_by_a_client() {
    let (cluster, mut admin, _) = token_mode();
    run(&mut admin, "ALTER DATABASE app OWNER TO app");
    let mut app = cluster.client(DATABASE, "app");
    for attempt in [
        "SET ward.context_mode = trusted",
        "SET SESSION ward.context_mode = trusted",
        "BEGIN; SET LOCAL ward.context_mode = trusted",
        "SELECT set_config('ward.context_mode', 'trusted', false)",
        "SELECT set_config('ward.context_mode', 'trusted', true)",
        "UPDATE pg_settings SET setting = 'trusted' WHERE name = 'ward.context_mode'",
        "RESET ward.context_mode",
        "ALTER ROLE app SET ward.context_mode = trusted",
        "ALTER DATABASE app SET ward.context_mode = trusted",
        "ALTER DATABASE app RESET ward.context_mode",
        "ALTER SYSTEM SET ward.context_mode = trusted",
        "CREATE FUNCTION f() RETURNS text LANGUAGE sql SET ward.context_mode = trusted AS 'SELECT 1::text'",
        "GRANT SET ON PARAMETER ward.context_mode TO app",
        "LOAD 'pg_ward'; RESET ALL; SELECT 1/0",
    ] {
        let _ = refused(&mut app, attempt);
        run(&mut app, "ROLLBACK");
        assert_eq!(text(&mut app, MODE).as_deref(), Some("token"), "{attempt}");
        let mut later = cluster.client(DATABASE, "app");
        assert_eq!(
            text(&mut later, MODE).as_deref(),
            Some("token"),
            "{attempt}"
        );
    }
    // These are allowed, and change nothing.
    for attempt in [
        "RESET ALL",
        "DISCARD ALL",
        "ALTER ROLE app RESET ALL",
        "ALTER DATABASE app RESET ALL",
    ] {
        run(&mut app, attempt);
        let mut later = cluster.client(DATABASE, "app");
        for client in [&mut app, &mut later] {
            assert_eq!(text(client, MODE).as_deref(), Some("token"), "{attempt}");
        }
    }
    // Connection options that are no superuser's.
    for options in [
        "-c ward.context_mode=trusted",
        "--ward.context_mode=trusted",
    ] {
        let mut config = cluster.config(DATABASE, "app");
        match config.options(options).connect(NoTls) {
            Err(error) => assert_eq!(error.as_db_error().unwrap().code().code(), "42501"),
            Ok(mut client) => panic!("{options}: {:?}", text(&mut client, MODE)),
        }
    }
}

#[test]
fn a_mode_of_its_own_for_a_role() {
    let (cluster, mut admin, _) = token_mode();
    run(
        &mut admin,
        "CREATE ROLE batch LOGIN; GRANT SELECT ON orders TO batch;
         ALTER ROLE batch IN DATABASE app SET ward.context_mode = trusted",
    );
    let mut batch = cluster.client(DATABASE, "batch");
    run(&mut batch, "BEGIN; SELECT ward.set_tenant_context('a')");
    assert_eq!(number(&mut batch, ORDERS), 10);
}

#[test]
fn a_trusted_context_does_not_survive_a_stricter_mode() {
    let (_cluster, mut admin, issuer) = token_mode();
    run(
        &mut admin,
        "SELECT ward.set_tenant_context('a', false); SELECT ward.get_tenant_context();
         SET ward.context_mode = token",
    );
    assert_eq!(text(&mut admin, TENANT), None);
    run(&mut admin, "BEGIN");
    authenticate(&mut admin, &issuer.token("b"));
    assert_eq!(text(&mut admin, TENANT).as_deref(), Some("b"));
    run(&mut admin, "ROLLBACK");
    // Within one transaction as well; and what was read binds it in the new mode.
    run(&mut admin, "SET ward.context_mode = trusted");
    run(
        &mut admin,
        "BEGIN; SELECT ward.get_tenant_context(); SET LOCAL ward.context_mode = token",
    );
    assert_eq!(text(&mut admin, TENANT), None);
    let token = issuer.token("b");
    let error = refused(&mut admin, &format!("SELECT ward.authenticate('{token}')"));
    assert_eq!(error.code().code(), "42501");
    run(&mut admin, "ROLLBACK");
    assert_eq!(text(&mut admin, TENANT).as_deref(), Some("a"));
}

#[test]
fn the_first_tenant_stays_between_application_and_token() {
    let (_cluster, mut client, issuer) = token_mode();
    let (token, same) = (issuer.token("b"), issuer.token("a"));
    // The application first, then a token.
    run(&mut client, "BEGIN; SELECT ward.set_tenant_context('a')");
    let error = refused(&mut client, &format!("SELECT ward.authenticate('{token}')"));
    assert_eq!(error.code().code(), "42501");
    run(
        &mut client,
        "ROLLBACK; BEGIN; SELECT ward.set_tenant_context('a')",
    );
    authenticate(&mut client, &same);
    run(&mut client, "COMMIT");
    // A token first, then the application, or another token.
    for second in [
        "SELECT ward.set_tenant_context('a')".to_owned(),
        format!("SELECT ward.authenticate('{same}')"),
        "RESET ward.context; SELECT ward.set_tenant_context('a')".to_owned(),
        format!("SELECT ward.clear_security_context(); SELECT ward.authenticate('{same}', false)"),
    ] {
        run(&mut client, "BEGIN");
        authenticate(&mut client, &token);
        assert_eq!(
            refused(&mut client, &second).code().code(),
            "42501",
            "{second}"
        );
        run(&mut client, "ROLLBACK");
    }
    // What the application says replaces a token's word; nothing of the token is left beside it.
    run(&mut client, "BEGIN");
    authenticate(&mut client, &token);
    run(
        &mut client,
        "SELECT ward.set_security_context('99999999-2222-3333-4444-555555555555')",
    );
    let left =
        "SELECT concat(ward.get_tenant_context(), ward.has_role('reader'), ward.current_claims())";
    assert_eq!(text(&mut client, left).as_deref(), Some("f"));
    run(&mut client, "ROLLBACK");
}

#[test]
fn an_override_by_a_role_that_may() {
    let (cluster, mut admin, issuer) = token_mode();
    let mut support = cluster.client(DATABASE, "support");
    let override_b = "SELECT ward.override_tenant_context('b', 'case 7')";
    run(&mut support, "BEGIN");
    authenticate(&mut support, &issuer.token("a"));
    assert_eq!(number(&mut support, ORDERS), 10);
    run(&mut support, override_b);
    assert_eq!(number(&mut support, ORDERS), 20);
    // Who acts stays, what he may do in his own tenant does not.
    let who =
        "SELECT concat(ward.get_user_context(), ward.has_role('reader'), ward.current_claims())";
    assert_eq!(
        text(&mut support, who).as_deref(),
        Some("11111111-2222-3333-4444-555555555555f")
    );
    // Nobody gets back without another override.
    let back = format!("SELECT ward.authenticate('{}')", issuer.token("a"));
    assert_eq!(refused(&mut support, &back).code().code(), "42501");
    run(&mut support, "ROLLBACK");
    assert_eq!(text(&mut support, TENANT), None);
    // Without any context before it, and rolled back with a savepoint: no tenant rather than a wrong one.
    run(&mut support, "BEGIN");
    authenticate(&mut support, &issuer.token("a"));
    run(
        &mut support,
        &format!("SAVEPOINT s; {override_b}; ROLLBACK TO s"),
    );
    assert_eq!(number(&mut support, ORDERS), 0);
    run(
        &mut support,
        "SELECT ward.override_tenant_context('a', 'back')",
    );
    assert_eq!(number(&mut support, ORDERS), 10);
    run(&mut support, "COMMIT; BEGIN");
    run(&mut support, override_b);
    assert_eq!(number(&mut support, ORDERS), 20);
    run(&mut support, "COMMIT");
    for (call, code) in [
        ("ward.override_tenant_context('b', NULL)", "22004"),
        ("ward.override_tenant_context('b', ' ')", "22004"),
        (
            "ward.override_tenant_context('b', repeat('x', 1025))",
            "22001",
        ),
        ("ward.override_tenant_context(NULL, 'x')", "22004"),
        ("ward.override_tenant_context('', 'x')", "22023"),
        (
            "ward.override_tenant_context(repeat('x', 256), 'x')",
            "22001",
        ),
        ("ward.override_tenant_context('b', 'x')", "25P01"),
    ] {
        let error = refused(&mut support, &format!("SELECT {call}"));
        assert_eq!(error.code().code(), code, "{call}");
    }
    let public = "SELECT has_function_privilege('app', 'ward.override_tenant_context(text, text)', 'execute')::text";
    assert_eq!(text(&mut admin, public).as_deref(), Some("false"));
}
