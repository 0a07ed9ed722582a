//! Contexts from tokens: what a token sets, and for how long.

use ward_tests::postgres::Client;
use ward_tests::postgres::error::DbError;
use ward_tests::{Algorithm, Cluster, DATABASE, Issuer, number, refused, run, text};

pub const TENANT: &str = "SELECT ward.get_tenant_context()";

/// A database that accepts `issuer`'s tokens, and an application's connection.
pub fn accepting(issuer: &Issuer) -> (Cluster, Client, Client) {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "CREATE ROLE app LOGIN; GRANT CREATE ON SCHEMA public TO app",
    );
    issuer.register(&mut admin);
    let app = cluster.client(DATABASE, "app");
    (cluster, admin, app)
}

pub fn authenticate(client: &mut Client, token: &str) -> Result<(), DbError> {
    client
        .execute("SELECT ward.authenticate($1)", &[&token])
        .map(|_| ())
        .map_err(|error| error.as_db_error().expect("the server's answer").clone())
}

/// Begins a transaction, authenticates, answers the error, if any, and ends the transaction.
pub fn attempt(client: &mut Client, token: &str) -> Option<DbError> {
    run(client, "BEGIN");
    let outcome = authenticate(client, token).err();
    run(client, "ROLLBACK");
    outcome
}

pub fn tenant_of(client: &mut Client, token: &str) -> Option<String> {
    run(client, "BEGIN");
    authenticate(client, token).unwrap_or_else(|error| panic!("{error:?}"));
    let tenant = text(client, TENANT);
    run(client, "COMMIT");
    tenant
}

#[test]
fn tokens_of_every_algorithm_by_pem_and_by_jwk() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    use Algorithm::*;
    for algorithm in [RS256, RS384, RS512, PS256, ES256, ES384, EdDSA] {
        let pem = Issuer::new(algorithm).with_kid(&format!("{algorithm:?}-pem"));
        pem.register(&mut admin);
        let jwk = Issuer::new(algorithm).with_kid(&format!("{algorithm:?}-jwk"));
        admin
            .query(
                "SELECT ward.add_jwt_key($1, NULL, $2, ARRAY[$3], 'db')",
                &[&jwk.name, &jwk.jwk().to_string(), &jwk.algorithm_name()],
            )
            .unwrap();
        for issuer in [pem, jwk] {
            let tenant = tenant_of(&mut admin, &issuer.token("a"));
            assert_eq!(tenant.as_deref(), Some("a"), "{}", issuer.kid);
        }
    }
}

#[test]
fn a_token_sets_tenant_user_session_roles_and_permissions() {
    let issuer = Issuer::new(Algorithm::ES256);
    let (_cluster, _admin, mut app) = accepting(&issuer);
    run(&mut app, "BEGIN");
    authenticate(&mut app, &issuer.token("a")).unwrap();
    let row = app
        .query_one(
            "SELECT ward.get_tenant_context(), ward.get_current_user_id()::text, ward.has_role('writer'),
                    ward.has_role('owner'), ward.has_role(NULL), ward.has_permission('orders:read'),
                    ward.has_permission('orders'), ward.current_claims()->>'sub'",
            &[],
        )
        .unwrap();
    assert_eq!(row.get::<_, &str>(0), "a");
    assert_eq!(
        row.get::<_, &str>(1),
        "11111111-2222-3333-4444-555555555555"
    );
    let held: Vec<bool> = (2..7).map(|at| row.get(at)).collect();
    assert_eq!(held, [true, false, false, true, false]);
    assert_eq!(row.get::<_, &str>(7), "user-1");
    run(&mut app, "COMMIT");
    // It ended with the transaction.
    assert_eq!(text(&mut app, TENANT), None);
    assert_eq!(
        text(
            &mut app,
            "SELECT (ward.has_role('writer') OR ward.has_permission('orders:read'))::text"
        )
        .as_deref(),
        Some("false")
    );
    assert_eq!(text(&mut app, "SELECT ward.current_claims()::text"), None);
}

#[test]
fn a_token_for_the_session_until_discard_all_or_a_rolled_back_savepoint() {
    let issuer = Issuer::new(Algorithm::EdDSA);
    let (_cluster, _admin, mut app) = accepting(&issuer);
    let token = issuer.token("a");
    app.execute("SELECT ward.authenticate($1, false)", &[&token])
        .unwrap();
    assert_eq!(text(&mut app, TENANT).as_deref(), Some("a"));
    run(&mut app, "DISCARD ALL");
    assert_eq!(text(&mut app, TENANT), None);
    run(&mut app, "BEGIN; SAVEPOINT s");
    authenticate(&mut app, &token).unwrap();
    run(&mut app, "ROLLBACK TO s");
    assert_eq!(text(&mut app, TENANT), None);
    run(&mut app, "ROLLBACK");
    // Outside a transaction block a context for the transaction would end unused.
    assert_eq!(
        refused(&mut app, &format!("SELECT ward.authenticate('{token}')"))
            .code()
            .code(),
        "25P01"
    );
}

#[test]
fn parallel_workers_see_the_tokens_tenant_roles_and_claims() {
    let issuer = Issuer::new(Algorithm::ES256);
    let (_cluster, mut admin, mut app) = accepting(&issuer);
    run(
        &mut admin,
        "CREATE TABLE t AS SELECT CASE WHEN n % 2 = 0 THEN 'a' ELSE 'b' END AS tenant FROM generate_series(1, 1000) n;
         ANALYZE t; GRANT SELECT ON t TO app; ALTER DATABASE app SET ward.context_mode = token",
    );
    drop(std::mem::replace(
        &mut app,
        _cluster.client(DATABASE, "app"),
    ));
    run(
        &mut app,
        "SET parallel_leader_participation = off; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
         SET min_parallel_table_scan_size = 0; BEGIN",
    );
    authenticate(&mut app, &issuer.token("a")).unwrap();
    let query = "SELECT count(*) FROM t WHERE tenant = ward.get_tenant_context()
                 AND ward.has_role(CASE tenant WHEN 'a' THEN 'writer' END)
                 AND ward.current_claims()->>'tenant_id' = tenant";
    let plan = ward_tests::texts(&mut app, &format!("EXPLAIN {query}")).join("\n");
    assert!(plan.contains("Parallel"), "{plan}");
    assert_eq!(number(&mut app, query), 500);
}
