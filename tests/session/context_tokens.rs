//! Contexts from tokens: what is accepted, what each refusal is about, and how long a token counts.

use serde_json::{Value, json};
use ward_tests::postgres::Client;
use ward_tests::postgres::error::DbError;
use ward_tests::{
    Algorithm, Cluster, DATABASE, Issuer, now, number, refused, run, text, wait_until,
};

const TENANT: &str = "SELECT ward.get_tenant_context()";

/// A database that accepts `issuer`'s tokens, and an application's connection.
fn accepting(issuer: &Issuer) -> (Cluster, Client, Client) {
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

fn authenticate(client: &mut Client, token: &str) -> Result<(), DbError> {
    client
        .execute("SELECT ward.authenticate($1)", &[&token])
        .map(|_| ())
        .map_err(|error| error.as_db_error().expect("the server's answer").clone())
}

/// Begins a transaction, authenticates, answers the error, if any, and ends the transaction.
fn attempt(client: &mut Client, token: &str) -> Option<DbError> {
    run(client, "BEGIN");
    let outcome = authenticate(client, token).err();
    run(client, "ROLLBACK");
    outcome
}

fn tenant_of(client: &mut Client, token: &str) -> Option<String> {
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

/// What is wrong with a token, the token, and what the refusal says.
type Case = (&'static str, String, &'static str);

fn header_cases(issuer: &Issuer) -> Vec<Case> {
    let with = |changes: Value| issuer.token_with_header(changes);
    let honest = issuer.token("a");
    let (_, rest) = honest.split_once('.').unwrap();
    let claims = issuer.claims("a");
    let raw = |header: &str| issuer.sign_raw(header.as_bytes(), claims.to_string().as_bytes());
    let jwk = Issuer::new(Algorithm::ES256).jwk();
    vec![
        (
            "no algorithm",
            with(json!({"alg": null})),
            "algorithm is not accepted",
        ),
        (
            "algorithm none",
            with(json!({"alg": "none"})),
            "algorithm is not accepted",
        ),
        (
            "algorithm none, unsigned",
            format!(
                "{}.",
                issuer
                    .token_with_header(json!({"alg": "none"}))
                    .rsplit_once('.')
                    .unwrap()
                    .0
            ),
            "algorithm is not accepted",
        ),
        (
            "an algorithm with a shared secret",
            with(json!({"alg": "HS256"})),
            "algorithm is not accepted",
        ),
        (
            "an algorithm in another case",
            with(json!({"alg": "es256"})),
            "algorithm is not accepted",
        ),
        (
            "an accepted algorithm that the key is not for",
            with(json!({"alg": "ES384"})),
            "is not for its algorithm",
        ),
        (
            "no key id",
            with(json!({"kid": null})),
            "does not name its key",
        ),
        (
            "a key id that is no text",
            with(json!({"kid": 7})),
            "does not name its key",
        ),
        (
            "a huge key id",
            with(json!({"kid": "k".repeat(256)})),
            "does not name its key",
        ),
        (
            "an unknown key id",
            with(json!({"kid": "k2"})),
            "no key of its issuer",
        ),
        (
            "another type",
            with(json!({"typ": "logout+jwt"})),
            "its type (typ)",
        ),
        (
            "a type that is no text",
            with(json!({"typ": ["JWT"]})),
            "its type (typ)",
        ),
        (
            "a critical extension",
            with(json!({"crit": ["exp"], "exp": 1})),
            "parameter crit",
        ),
        (
            "a critical extension that is nothing",
            raw(r#"{"alg":"ES256","kid":"k1","crit":null}"#),
            "parameter crit",
        ),
        (
            "unencoded payload",
            with(json!({"b64": false})),
            "parameter b64",
        ),
        (
            "a key of its own",
            with(json!({"jwk": jwk})),
            "parameter jwk",
        ),
        (
            "the address of a key",
            with(json!({"jku": "https://evil.example/keys"})),
            "parameter jku",
        ),
        (
            "the address of a certificate",
            with(json!({"x5u": "https://evil.example/cert"})),
            "parameter x5u",
        ),
        (
            "a certificate of its own",
            with(json!({"x5c": ["MII"]})),
            "parameter x5c",
        ),
        ("compressed", with(json!({"zip": "DEF"})), "parameter zip"),
        (
            "a header name twice",
            raw(r#"{"alg":"ES256","kid":"k1","kid":"k1"}"#),
            "a name twice",
        ),
        (
            "a header that is no object",
            raw(r#"["ES256"]"#),
            "not a signed JSON Web Token",
        ),
        (
            "a header that is no JSON",
            raw("{"),
            "not a signed JSON Web Token",
        ),
        (
            "a header that is no base64url",
            format!("e30=.{rest}"),
            "not a signed JSON Web Token",
        ),
    ]
}

fn claim_cases(issuer: &Issuer) -> Vec<Case> {
    let with = |changes: Value| issuer.token_with(changes);
    let raw =
        |claims: &str| issuer.sign_raw(issuer.header().to_string().as_bytes(), claims.as_bytes());
    let twice = issuer
        .claims("a")
        .to_string()
        .replacen('{', r#"{"tenant_id":"b","#, 1);
    let deep = issuer
        .claims("a")
        .to_string()
        .replacen('{', r#"{"x":{"y":1,"y":2},"#, 1);
    let now = now();
    vec![
        ("no issuer", with(json!({"iss": null})), "no claim iss"),
        (
            "an issuer that is a list",
            with(json!({"iss": [issuer.name]})),
            "claim iss is not",
        ),
        (
            "an issuer the key does not serve",
            with(json!({"iss": "https://other.example"})),
            "no key of its issuer",
        ),
        ("no audience", with(json!({"aud": null})), "no claim aud"),
        (
            "another audience",
            with(json!({"aud": "web"})),
            "another audience",
        ),
        (
            "other audiences",
            with(json!({"aud": ["web", "app"]})),
            "another audience",
        ),
        (
            "no audience in a list",
            with(json!({"aud": []})),
            "another audience",
        ),
        (
            "an audience that is a number",
            with(json!({"aud": 1})),
            "claim aud is not",
        ),
        (
            "audiences with a number among them",
            with(json!({"aud": ["db", 1]})),
            "claim aud is not",
        ),
        ("no subject", with(json!({"sub": null})), "no claim sub"),
        (
            "an empty subject",
            with(json!({"sub": ""})),
            "claim sub is not",
        ),
        (
            "a subject that is a number",
            with(json!({"sub": 1})),
            "claim sub is not",
        ),
        ("no expiry", with(json!({"exp": null})), "no claim exp"),
        (
            "an expiry that is a text",
            with(json!({"exp": "4102444800"})),
            "claim exp is not",
        ),
        (
            "an expiry beyond all time",
            with(json!({"exp": 1e300})),
            "claim exp is not",
        ),
        (
            "a negative expiry",
            with(json!({"exp": -1})),
            "claim exp is not",
        ),
        (
            "expired",
            with(json!({"iat": now - 900, "exp": now - 60})),
            "has expired",
        ),
        (
            "no time of issue",
            with(json!({"iat": null})),
            "no claim iat",
        ),
        (
            "a time of issue that is a text",
            with(json!({"iat": "1"})),
            "claim iat is not",
        ),
        (
            "issued in the future",
            with(json!({"iat": now + 120})),
            "issued in the future",
        ),
        (
            "expired before it was issued",
            with(json!({"iat": now - 10, "exp": now - 10})),
            "expires before it was issued",
        ),
        (
            "valid for too long",
            with(json!({"exp": now + 3700})),
            "the limit is 3600",
        ),
        (
            "not valid yet",
            with(json!({"nbf": now + 120})),
            "not valid yet",
        ),
        (
            "a beginning that is a text",
            with(json!({"nbf": "now"})),
            "claim nbf is not",
        ),
        (
            "a tenant that is an object",
            with(json!({"tenant_id": {"id": "a"}})),
            "claim tenant_id is not",
        ),
        (
            "a tenant that is a fraction",
            with(json!({"tenant_id": 1.5})),
            "claim tenant_id is not",
        ),
        (
            "an empty tenant",
            with(json!({"tenant_id": " "})),
            "claim tenant_id is not",
        ),
        (
            "a huge tenant",
            with(json!({"tenant_id": "t".repeat(256)})),
            "claim tenant_id is not",
        ),
        (
            "a user that is a list",
            with(json!({"user_id": ["u"]})),
            "claim user_id is not",
        ),
        (
            "roles that are numbers",
            with(json!({"roles": [1]})),
            "claim roles is not",
        ),
        (
            "roles that are an object",
            with(json!({"roles": {"admin": true}})),
            "claim roles is not",
        ),
        (
            "too many permissions",
            with(json!({"permissions": vec!["p"; 257]})),
            "claim permissions is not",
        ),
        (
            "a token id that is a number",
            with(json!({"jti": 1})),
            "claim jti is not",
        ),
        ("a claim twice", raw(&twice), "a name twice"),
        ("a claim twice, deep inside", raw(&deep), "a name twice"),
        (
            "claims that are no object",
            raw("[]"),
            "not a signed JSON Web Token",
        ),
        (
            "claims that are no UTF-8",
            issuer.sign_raw(
                issuer.header().to_string().as_bytes(),
                b"{\"iss\":\"\xff\"}",
            ),
            "not a signed JSON Web Token",
        ),
        (
            "a claim that jsonb cannot hold",
            with(json!({"note": "\u{0}"})),
            "jsonb can hold",
        ),
    ]
}

fn text_cases(issuer: &Issuer) -> Vec<Case> {
    let honest = issuer.token("a");
    let (signed, signature) = honest.rsplit_once('.').unwrap();
    let (_, other_signature) = {
        let other = issuer.token("b");
        let (other, signature) = other.rsplit_once('.').unwrap();
        (other.to_owned(), signature.to_owned())
    };
    let stranger = Issuer::new(issuer.algorithm);
    vec![
        ("empty", String::new(), "it is empty"),
        (
            "one word",
            "token".to_owned(),
            "not a signed JSON Web Token",
        ),
        (
            "no signature",
            signed.to_owned(),
            "not a signed JSON Web Token",
        ),
        (
            "an empty signature",
            format!("{signed}."),
            "signature is wrong",
        ),
        (
            "a fourth part",
            format!("{honest}.x"),
            "not a signed JSON Web Token",
        ),
        (
            "another token's signature",
            format!("{signed}.{other_signature}"),
            "signature is wrong",
        ),
        (
            "a cut signature",
            honest[..honest.len() - 2].to_owned(),
            "signature is wrong",
        ),
        (
            "a signature of zeros",
            format!("{signed}.{}", "A".repeat(signature.len())),
            "signature is wrong",
        ),
        (
            "signed by a stranger",
            stranger.token("a"),
            "signature is wrong",
        ),
        (
            "white space around",
            format!(" {honest}\n"),
            "not a signed JSON Web Token",
        ),
        (
            "not ASCII",
            format!("{honest}\u{e9}"),
            "not a signed JSON Web Token",
        ),
        (
            "huge",
            format!("{honest}{}", "A".repeat(16 * 1024)),
            "the limit is 16384",
        ),
        (
            "hostile",
            "'; DROP TABLE t; --".to_owned(),
            "not a signed JSON Web Token",
        ),
    ]
}

#[test]
fn a_token_that_breaks_a_rule() {
    let issuer = Issuer::new(Algorithm::ES256);
    let (_cluster, mut admin, mut app) = accepting(&issuer);
    // A second issuer of the same server does not help.
    Issuer::new(Algorithm::RS256)
        .with_name("https://other.example")
        .with_kid("other")
        .register(&mut admin);
    let mut wrong = Vec::new();
    let cases = [
        header_cases(&issuer),
        claim_cases(&issuer),
        text_cases(&issuer),
    ];
    for (what, token, says) in cases.into_iter().flatten() {
        match attempt(&mut app, &token) {
            None => wrong.push(format!("{what}: accepted")),
            Some(error) if error.code().code() != "28000" || !error.message().contains(says) => {
                wrong.push(format!("{what}: {error:?}"));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let null = refused(&mut app, "SELECT ward.authenticate(NULL)");
    assert_eq!(null.code().code(), "22004");
    // The honest neighbours of these tokens are accepted.
    for honest in [
        issuer.token("a"),
        issuer.token_with_header(json!({"typ": null})),
        issuer.token_with_header(json!({"typ": "at+jwt", "x5t": "abc", "unknown": 1})),
        issuer.token_with(json!({"aud": ["web", "db"]})),
        issuer.token_with(json!({"exp": now() + 3590, "iat": now() + 2, "nbf": now() + 2})),
        issuer.token_with(json!({"exp": now() as f64 + 60.5})),
        issuer.token_with(json!({"exp": now() - 2, "iat": now() - 60})),
    ] {
        assert_eq!(attempt(&mut app, &honest), None, "{honest}");
    }
    // Bytes that are no text in any encoding cannot be sent as a parameter of type text.
    assert_eq!(
        refused(
            &mut app,
            "SELECT ward.authenticate(convert_from('\\xff', 'UTF8'))"
        )
        .code()
        .code(),
        "22021"
    );
}

#[test]
fn claims_under_other_names_and_in_other_forms() {
    let issuer = Issuer::new(Algorithm::ES256);
    let (_cluster, mut admin, mut app) = accepting(&issuer);
    let reads = |app: &mut Client, token: &str, query: &str| {
        run(app, "BEGIN");
        authenticate(app, token).unwrap();
        let read = text(app, query);
        run(app, "COMMIT");
        read
    };
    let nested = issuer.token_with(json!({
        "tenant_id": "outer", "app_metadata": {"tenant": {"id": "inner"}, "roles": ["x"]},
        "https://example.com/tenant": "namespaced", "scope": "read write", "sub": "auth0|1", "user_id": null,
    }));
    for (setting, token, query, expected) in [
        (
            "ward.token_tenant_claim = 'tenant_id'",
            nested.clone(),
            TENANT,
            Some("outer"),
        ),
        (
            "ward.token_tenant_claim = 'app_metadata.tenant.id'",
            nested.clone(),
            TENANT,
            Some("inner"),
        ),
        (
            "ward.token_tenant_claim = 'https://example.com/tenant'",
            nested.clone(),
            TENANT,
            Some("namespaced"),
        ),
        (
            "ward.token_tenant_claim = 'app_metadata.missing.id'",
            nested.clone(),
            TENANT,
            None,
        ),
        ("ward.token_tenant_claim = ''", nested.clone(), TENANT, None),
        (
            "ward.token_user_claim = 'sub'",
            nested.clone(),
            "SELECT ward.get_user_context()",
            Some("auth0|1"),
        ),
        (
            "ward.token_user_claim = 'sub'",
            nested.clone(),
            "SELECT ward.get_current_user_id()::text",
            None,
        ),
        (
            "ward.token_roles_claim = 'app_metadata.roles'",
            nested.clone(),
            "SELECT ward.has_role('x')::text",
            Some("true"),
        ),
        (
            "ward.token_permissions_claim = 'scope'",
            nested.clone(),
            "SELECT ward.has_permission('write')::text",
            Some("true"),
        ),
        (
            "ward.token_tenant_claim = 'tenant_id'",
            issuer.token_with(json!({"tenant_id": 42})),
            "SELECT ward.get_current_tenant_number()::text",
            Some("42"),
        ),
        (
            "ward.token_user_claim = 'user_id'",
            issuer.token_with(json!({"user_id": 42})),
            "SELECT ward.get_current_user_number()::text",
            Some("42"),
        ),
        (
            "ward.token_tenant_claim = 'tenant_id'",
            issuer.token_with(json!({"tenant_id": null})),
            TENANT,
            None,
        ),
    ] {
        // In the session that has verified the token before: a setting counts at once.
        run(&mut admin, &format!("SET {setting}"));
        let read = reads(&mut admin, &token, query);
        assert_eq!(read.as_deref(), expected, "{setting}: {query}");
    }
    for setting in [
        "ward.token_tenant_claim",
        "ward.token_leeway",
        "ward.token_max_lifetime",
        "ward.token_single_use",
        "ward.audit_context",
    ] {
        let error = refused(&mut app, &format!("SET {setting} = 1"));
        assert_eq!(error.code().code(), "42501", "{setting}");
    }
    for beyond in [
        "ward.token_leeway = 31",
        "ward.token_leeway = -1",
        "ward.token_max_lifetime = 86401",
    ] {
        assert_eq!(
            refused(&mut admin, &format!("SET {beyond}")).code().code(),
            "22023"
        );
    }
}

#[test]
fn a_token_that_runs_out_inside_a_session() {
    let issuer = Issuer::new(Algorithm::ES256);
    let (_cluster, mut admin, mut app) = accepting(&issuer);
    run(
        &mut admin,
        "ALTER ROLE app SET ward.token_leeway = 0; CREATE TABLE t (id int PRIMARY KEY, tenant_id text);
         INSERT INTO t VALUES (1, 'a'); SELECT ward.enable_tenant_isolation('t');
         CREATE TABLE noted (id int PRIMARY KEY); SELECT ward.enable_audit('noted');
         GRANT ALL ON t, noted TO app",
    );
    let mut app = {
        drop(std::mem::replace(
            &mut app,
            _cluster.client(DATABASE, "app"),
        ));
        app
    };
    let token = issuer.token_with(json!({"exp": now() + 3}));
    app.execute("SELECT ward.authenticate($1, false)", &[&token])
        .unwrap();
    assert_eq!(number(&mut app, "SELECT count(*) FROM t"), 1);
    run(&mut app, "BEGIN");
    wait_until("the token runs out", || {
        now() > 3 + 1 && {
            let left = text(
                &mut admin,
                "SELECT (clock_timestamp() > to_timestamp(0))::text",
            );
            left.is_some() && app_expired(&token)
        }
    });
    // Inside the transaction it was read in, too, and loudly: an empty answer could be believed.
    for query in [
        TENANT,
        "SELECT count(*) FROM t",
        "SELECT ward.has_role('reader')",
        "SELECT ward.get_current_user_id()",
        "SELECT ward.current_claims()",
    ] {
        run(&mut app, "SAVEPOINT s");
        let error = refused(&mut app, query);
        assert_eq!(error.code().code(), "28000", "{query}");
        assert!(error.hint().is_some());
        run(&mut app, "ROLLBACK TO s");
    }
    run(&mut app, "ROLLBACK");
    assert_eq!(attempt(&mut app, &token).unwrap().code().code(), "28000");
    // The trail still says who it was.
    run(&mut app, "INSERT INTO noted VALUES (1)");
    let who = "SELECT tenant_id || '/' || context_source FROM ward.audit_trail WHERE table_name = 'noted'";
    assert_eq!(text(&mut admin, who).as_deref(), Some("a/token"));
    // A new token helps, and so does clearing.
    app.execute("SELECT ward.authenticate($1, false)", &[&issuer.token("a")])
        .unwrap();
    assert_eq!(number(&mut app, "SELECT count(*) FROM t"), 1);
    run(&mut app, "SELECT ward.clear_security_context()");
    assert_eq!(number(&mut app, "SELECT count(*) FROM t"), 0);
}

/// Whether a token's time is over.
fn app_expired(token: &str) -> bool {
    use base64::Engine;
    let payload = token.split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(payload)
        .unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    now() > claims["exp"].as_i64().unwrap()
}

#[test]
fn a_token_that_counts_once() {
    let issuer = Issuer::new(Algorithm::ES256);
    let (cluster, mut admin, _) = accepting(&issuer);
    run(&mut admin, "ALTER ROLE app SET ward.token_single_use = on");
    let mut app = cluster.client(DATABASE, "app");
    let token = issuer.token_with(json!({"jti": "1"}));
    // A rolled back use is none.
    assert_eq!(attempt(&mut app, &token), None);
    assert_eq!(tenant_of(&mut app, &token).as_deref(), Some("a"));
    let says = |error: Option<DbError>, code: &str, says: &str| {
        let error = error.expect("refused");
        assert_eq!(error.code().code(), code);
        assert!(error.message().contains(says), "{error:?}");
    };
    says(attempt(&mut app, &token), "28000", "used before");
    // In another session, and within a transaction that cannot see the first use.
    let mut other = cluster.client(DATABASE, "app");
    says(attempt(&mut other, &token), "28000", "used before");
    says(
        attempt(&mut app, &issuer.token("a")),
        "28000",
        "no claim jti",
    );
    // The same id of another issuer is another token.
    let second = Issuer::new(Algorithm::ES256).with_name("https://second.example");
    second.register(&mut admin);
    assert_eq!(
        attempt(&mut app, &second.token_with(json!({"jti": "1"}))),
        None
    );
    // Two sessions at once: the second waits, and is refused when the first commits.
    let token = issuer.token_with(json!({"jti": "2"}));
    run(&mut app, "BEGIN");
    authenticate(&mut app, &token).unwrap();
    let late = std::thread::spawn({
        let token = token.clone();
        move || attempt(&mut other, &token)
    });
    wait_until("the second session waits", || {
        number(
            &mut admin,
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND wait_event_type = 'Lock'",
        ) == 1
    });
    run(&mut app, "COMMIT");
    says(late.join().unwrap(), "28000", "used before");
    run(&mut app, "BEGIN READ ONLY");
    let error = authenticate(&mut app, &issuer.token_with(json!({"jti": "3"}))).err();
    run(&mut app, "ROLLBACK");
    says(error, "25006", "read-only transaction");
    // What is kept is no token, and goes when the token would have run out.
    assert_eq!(
        number(&mut admin, "SELECT count(*) FROM ward.used_token"),
        2
    );
    run(&mut admin, "UPDATE ward.used_token SET expires_at = 1");
    assert_eq!(
        tenant_of(&mut app, &issuer.token_with(json!({"jti": "4"}))).as_deref(),
        Some("a")
    );
    assert_eq!(
        number(&mut admin, "SELECT count(*) FROM ward.used_token"),
        1
    );
}
