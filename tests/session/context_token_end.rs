//! Tokens that end: by their time, and by their use. And the example of the documentation.

use crate::context_tokens::{TENANT, accepting, attempt, authenticate, tenant_of};
use serde_json::json;
use std::fs;
use std::process::Command;
use ward_tests::postgres::Client;
use ward_tests::postgres::error::DbError;
use ward_tests::{
    Algorithm, Cluster, DATABASE, Issuer, now, number, refused, run, text, wait_until,
};

/// Authenticates a session with a token that soon runs out, and reads a row in time; answers the token and its end.
/// A busy machine may need longer for that than the shortest token lasts.
fn runs_out_soon(app: &mut Client, issuer: &Issuer) -> (String, i64) {
    for seconds in [3, 9, 27] {
        let end = now() + seconds;
        let token = issuer.token_with(json!({"exp": end}));
        let set = app.execute("SELECT ward.authenticate($1, false)", &[&token]);
        let read = app.query_one("SELECT count(*) FROM t", &[]);
        if now() < end {
            set.unwrap();
            assert_eq!(read.unwrap().get::<_, i64>(0), 1);
            return (token, end);
        }
    }
    panic!("two statements took 27 seconds");
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
    let (token, end) = runs_out_soon(&mut app, &issuer);
    run(&mut app, "BEGIN");
    wait_until("the token runs out", || now() > end);
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
    // A procedure that commits is one statement, but not for ever.
    run(
        &mut admin,
        "CREATE PROCEDURE outlive(ends bigint) LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM ward.get_tenant_context();
             LOOP
                 COMMIT;
                 EXIT WHEN extract(epoch FROM clock_timestamp()) > ends;
                 PERFORM pg_sleep(0.05);
             END LOOP;
             PERFORM ward.get_tenant_context();
         END $$",
    );
    let (_, end) = runs_out_soon(&mut app, &issuer);
    let error = refused(&mut app, &format!("CALL outlive({end})"));
    assert_eq!(error.code().code(), "28000");
    assert!(now() >= end, "refused before its time: {error:?}");
    // A new token helps, and so does clearing.
    app.execute("SELECT ward.authenticate($1, false)", &[&issuer.token("a")])
        .unwrap();
    assert_eq!(number(&mut app, "SELECT count(*) FROM t"), 1);
    run(&mut app, "SELECT ward.clear_security_context()");
    assert_eq!(number(&mut app, "SELECT count(*) FROM t"), 0);
}

#[test]
fn a_token_that_counts_once() {
    let issuer = Issuer::new(Algorithm::ES256);
    let (cluster, mut admin, _) = accepting(&issuer);
    run(&mut admin, "ALTER ROLE app SET ward.token_single_use = on");
    let mut app = cluster.client(DATABASE, "app");
    let end = now() + 600;
    let token = issuer.token_with(json!({"jti": "1", "exp": end}));
    // A rolled back use is none.
    assert_eq!(attempt(&mut app, &token), None);
    assert_eq!(tenant_of(&mut app, &token).as_deref(), Some("a"));
    // Kept for as long as a role with the largest leeway would accept it, not only this one.
    assert_eq!(
        number(&mut admin, "SELECT expires_at FROM ward.used_token"),
        (end + 30) * 1_000_000
    );
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

/// The blocks of the documentation in one language, joined.
fn blocks(language: &str) -> String {
    let mut found = String::new();
    let mut inside = false;
    for line in include_str!("../../docs/tokens.md").lines() {
        match line.strip_prefix("```") {
            Some(fence) => inside = fence == language,
            None if inside => {
                found.push_str(line);
                found.push('\n');
            }
            None => {}
        }
    }
    found
}

#[test]
fn the_example_of_the_documentation() {
    let cluster = Cluster::with_extension();
    let files = tempfile::tempdir().unwrap();
    let made = Command::new("sh")
        .args(["-ec", &blocks("sh")])
        .current_dir(&files)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let key = fs::read_to_string(files.path().join("issuer.key")).unwrap();
    let issuer = Issuer::es256_from_pem(&key).with_kid("2026-11");
    // The documented token, brought up to date.
    let documents = blocks("json");
    let (header, claims) = documents.split_once('\n').unwrap();
    let mut claims: serde_json::Value = serde_json::from_str(claims).unwrap();
    claims["iat"] = json!(now());
    claims["exp"] = json!(now() + 900);
    let token = issuer.sign(&serde_json::from_str(header).unwrap(), &claims);
    fs::write(files.path().join("token"), token).unwrap();
    fs::write(files.path().join("example.sql"), blocks("sql")).unwrap();
    let shown = cluster
        .client_program("psql", DATABASE)
        .args(["-XAt", "-v", "ON_ERROR_STOP=1", "-f", "example.sql"])
        .current_dir(&files)
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success(), "{shown:?}");
    let expected = "acme|11111111-2222-3333-4444-555555555555|t|t|ada";
    assert!(output.contains(expected), "{output}");
}
