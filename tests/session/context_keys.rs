//! Keys of token issuers: adding, rotating, retiring, and what whoever can write tables cannot do.

use serde_json::json;
use ward_tests::postgres::Client;
use ward_tests::postgres::error::DbError;
use ward_tests::{Algorithm, Cluster, DATABASE, Issuer, number, refused, run, text};

fn authenticate(client: &mut Client, token: &str) -> Option<DbError> {
    let outcome = client.execute("SELECT ward.authenticate($1, false)", &[&token]);
    outcome
        .err()
        .map(|error| error.as_db_error().expect("the server's answer").clone())
}

fn with_app() -> (Cluster, Client, Client) {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(&mut admin, "CREATE ROLE app LOGIN");
    let app = cluster.client(DATABASE, "app");
    (cluster, admin, app)
}

#[test]
fn keys_rotate_with_overlap_and_a_retired_one_ends_everywhere_at_once() {
    let (cluster, mut admin, mut app) = with_app();
    let old = Issuer::new(Algorithm::ES256).with_kid("old");
    let new = Issuer::new(Algorithm::ES384).with_kid("new");
    old.register(&mut admin);
    let (before, after) = (old.token("a"), new.token("a"));
    assert_eq!(authenticate(&mut app, &before), None);
    let unknown = authenticate(&mut app, &after).unwrap();
    assert!(unknown.message().contains("no key of its issuer"));
    new.register(&mut admin);
    for token in [&before, &after] {
        assert_eq!(authenticate(&mut app, token), None);
    }
    // Also in a transaction whose snapshot is older, and for a token that was verified before.
    run(
        &mut app,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class",
    );
    run(
        &mut admin,
        "SELECT ward.retire_jwt_key('https://idp.example', 'old')",
    );
    let retired = authenticate(&mut app, &before).unwrap();
    assert_eq!(retired.code().code(), "28000");
    assert!(retired.message().contains("was retired"), "{retired:?}");
    run(&mut app, "ROLLBACK");
    assert_eq!(authenticate(&mut app, &after), None);
    let mut later = cluster.client(DATABASE, "app");
    assert!(authenticate(&mut later, &before).is_some());
    // Retiring again is no error; a key id is never used again.
    run(
        &mut admin,
        "SELECT ward.retire_jwt_key('https://idp.example', 'old')",
    );
    let again = admin.query(
        "SELECT ward.add_jwt_key($1, 'old', $2, '{ES256}', 'db')",
        &[&old.name, &old.public_pem()],
    );
    assert_eq!(again.unwrap_err().code().unwrap().code(), "42710");
    let states = "SELECT string_agg(kid || '=' || state, ',' ORDER BY kid) FROM ward.jwt_keys";
    assert_eq!(
        text(&mut app, states).as_deref(),
        Some("new=active,old=retired")
    );
    // A change that is rolled back was none.
    run(
        &mut admin,
        "BEGIN; SELECT ward.retire_jwt_key('https://idp.example', 'new')",
    );
    assert!(authenticate(&mut admin, &after).is_some());
    run(&mut admin, "ROLLBACK");
    assert_eq!(authenticate(&mut admin, &after), None);
    assert_eq!(authenticate(&mut app, &after), None);
}

#[test]
fn a_key_serves_one_issuer_and_one_audience() {
    let (_cluster, mut admin, mut app) = with_app();
    let ours = Issuer::new(Algorithm::ES256);
    let theirs = Issuer::new(Algorithm::ES256).with_name("https://theirs.example");
    ours.register(&mut admin);
    theirs.register(&mut admin);
    // Both have a key k1; each verifies its own issuer's tokens only.
    for issuer in [&ours, &theirs] {
        assert_eq!(authenticate(&mut app, &issuer.token("a")), None);
    }
    let forged = theirs.token_with(json!({"iss": ours.name}));
    let error = authenticate(&mut app, &forged).unwrap();
    assert!(error.message().contains("signature is wrong"), "{error:?}");
}

#[test]
fn a_set_of_keys() {
    let (_cluster, mut admin, mut app) = with_app();
    let first = Issuer::new(Algorithm::RS256).with_kid("first");
    let second = Issuer::new(Algorithm::EdDSA).with_kid("second");
    let mut encrypts = Issuer::new(Algorithm::RS256).with_kid("encrypts").jwk();
    encrypts["use"] = json!("enc");
    encrypts["alg"] = json!("RSA-OAEP");
    let set = json!({"keys": [first.jwk(), second.jwk(), encrypts]}).to_string();
    let add = "SELECT ward.add_jwt_key('https://idp.example', $1, $2, '{RS256,EdDSA}', 'db')";
    let one: i32 = admin
        .query_one(add, &[&Some("second"), &set])
        .unwrap()
        .get(0);
    assert_eq!(one, 1);
    assert_eq!(authenticate(&mut app, &second.token("a")), None);
    assert!(authenticate(&mut app, &first.token("a")).is_some());
    let missing = admin.query(add, &[&Some("third"), &set]);
    assert_eq!(missing.unwrap_err().code().unwrap().code(), "22023");
    // All of it: one is there already, so none is added.
    let twice = admin.query(add, &[&None::<&str>, &set]);
    assert_eq!(twice.unwrap_err().code().unwrap().code(), "42710");
    let all: i32 = admin
        .query_one(&add.replace("idp", "other"), &[&None::<&str>, &set])
        .unwrap()
        .get(0);
    assert_eq!(all, 2);
    let other = first.with_name("https://other.example");
    assert_eq!(authenticate(&mut app, &other.token("a")), None);
}

#[test]
fn a_key_added_altered_or_revived_by_writing_the_table() {
    let (_cluster, mut admin, mut app) = with_app();
    let issuer = Issuer::new(Algorithm::ES256);
    issuer.register(&mut admin);
    let attacker = Issuer::new(Algorithm::ES256).with_kid("evil");
    attacker
        .with_name("https://attacker.example")
        .register(&mut admin);
    let token = issuer.token("a");
    for change in [
        "UPDATE ward.jwt_key SET key = (SELECT key FROM ward.jwt_key WHERE kid = 'evil') WHERE kid = 'k1'",
        "UPDATE ward.jwt_key SET audience = 'web' WHERE kid = 'k1'",
        "UPDATE ward.jwt_key SET algorithms = '{ES256,RS256}' WHERE kid = 'k1'",
        "UPDATE ward.jwt_key SET id = gen_random_uuid() WHERE kid = 'k1'",
        "UPDATE ward.jwt_key SET mac = decode(repeat('00', 40), 'hex') WHERE kid = 'k1'",
        "SELECT ward.retire_jwt_key('https://idp.example', 'k1');
             UPDATE ward.jwt_key SET retired = false WHERE kid = 'k1'",
        "DELETE FROM ward.jwt_key WHERE kid = 'k1';
             UPDATE ward.jwt_key SET issuer = 'https://idp.example', kid = 'k1' WHERE kid = 'evil'",
    ] {
        assert_eq!(authenticate(&mut app, &token), None, "before {change}");
        run(
            &mut admin,
            "CREATE TABLE kept AS SELECT * FROM ward.jwt_key",
        );
        run(&mut admin, change);
        let error = authenticate(&mut app, &token).unwrap_or_else(|| panic!("{change}: accepted"));
        assert!(
            ["23000", "F0000"].contains(&error.code().code()),
            "{change}: {error:?}"
        );
        run(
            &mut admin,
            "DELETE FROM ward.jwt_key; INSERT INTO ward.jwt_key SELECT * FROM kept; DROP TABLE kept",
        );
    }
    assert_eq!(authenticate(&mut app, &token), None);
    // Removing a row is possible, and ends its tokens.
    run(&mut admin, "TRUNCATE ward.jwt_key");
    assert!(authenticate(&mut app, &token).is_some());
    for table in ["jwt_key", "used_token"] {
        for right in ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"] {
            let query = format!("SELECT has_table_privilege('app', 'ward.{table}', '{right}')");
            assert!(!admin.query_one(&query, &[]).unwrap().get::<_, bool>(0));
        }
    }
    for call in [
        "ward.add_jwt_key('i', 'k', 'x', '{ES256}', 'a')",
        "ward.retire_jwt_key('i', 'k')",
    ] {
        let error = refused(&mut app, &format!("SELECT {call}"));
        assert_eq!(error.code().code(), "42501");
    }
    let write = "SELECT has_table_privilege('app', 'ward.jwt_keys', 'INSERT,UPDATE,DELETE')";
    assert!(!admin.query_one(write, &[]).unwrap().get::<_, bool>(0));
    assert_eq!(number(&mut app, "SELECT count(*) FROM ward.jwt_keys"), 0);
}
