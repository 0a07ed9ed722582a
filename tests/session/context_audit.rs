//! What the audit trail knows of authentications and overrides, and what neither it nor the log shows.

use ward_tests::postgres::Client;
use ward_tests::{
    Algorithm, Cluster, DATABASE, Issuer, number, refused, run, seal_and_verify, text,
};

const EVENTS: &str = "SELECT count(*) FROM ward.audit_trail WHERE operation = 'EVENT'";

/// A database that accepts tokens and records authentications, without any audited table yet.
fn recorded() -> (Cluster, Client, Client, Issuer) {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    let issuer = Issuer::new(Algorithm::ES256);
    issuer.register(&mut admin);
    run(
        &mut admin,
        "CREATE ROLE app LOGIN; ALTER DATABASE app SET ward.audit_context = on;
         GRANT EXECUTE ON FUNCTION ward.override_tenant_context(text, text) TO app",
    );
    let app = cluster.client(DATABASE, "app");
    (cluster, admin, app, issuer)
}

fn authenticate(client: &mut Client, token: &str) {
    client
        .execute("SELECT ward.authenticate($1)", &[&token])
        .unwrap();
}

#[test]
fn authentications_and_overrides_are_entries() {
    let (cluster, mut admin, mut app, issuer) = recorded();
    let token = issuer.token("a");
    run(&mut app, "BEGIN");
    authenticate(&mut app, &token);
    run(
        &mut app,
        "SELECT ward.override_tenant_context('b', 'support case 7')",
    );
    // Within the transaction already, and sealed afterwards.
    assert_eq!(number(&mut admin, EVENTS), 0);
    run(&mut app, "COMMIT");
    for seal in [false, true] {
        if seal {
            let verdict = seal_and_verify(&mut admin);
            assert_eq!(verdict.entries_checked, 2);
        }
        let shown = ward_tests::texts(
            &mut admin,
            "SELECT concat_ws('|', tenant_id, user_id, context_source, session_role, table_name, record_id,
                 new_values->>'event_type', new_values->>'severity', new_values->'details'->>'issuer',
                 new_values->'details'->>'kid', new_values->'details'->>'reason',
                 new_values->'details'->>'former_tenant')
             FROM ward.audit_trail WHERE operation = 'EVENT' ORDER BY occurred_at",
        );
        assert_eq!(
            shown,
            [
                "a|11111111-2222-3333-4444-555555555555|token|app|authentication|info|https://idp.example|k1",
                "b|11111111-2222-3333-4444-555555555555|override|app|tenant_override|medium|support case 7|a",
            ]
        );
    }
    // A cached verification is an authentication too; a rolled back one is none.
    run(&mut app, "BEGIN");
    authenticate(&mut app, &token);
    run(&mut app, "COMMIT; BEGIN");
    authenticate(&mut app, &token);
    run(&mut app, "ROLLBACK; BEGIN; SAVEPOINT s");
    authenticate(&mut app, &token);
    run(&mut app, "ROLLBACK TO s; COMMIT");
    assert_eq!(number(&mut admin, EVENTS), 3);
    // The context that a row of the same transaction was changed in is the last one.
    run(
        &mut admin,
        "CREATE TABLE t (id int PRIMARY KEY); SELECT ward.enable_audit('t'); GRANT ALL ON t TO app",
    );
    run(&mut app, "BEGIN; INSERT INTO t VALUES (1)");
    authenticate(&mut app, &token);
    run(&mut app, "INSERT INTO t VALUES (2); COMMIT");
    let sources = ward_tests::texts(
        &mut admin,
        "SELECT concat_ws('|', operation, record_id, context_source) FROM ward.audit_trail
         ORDER BY occurred_at DESC LIMIT 3",
    );
    assert_eq!(sources, ["INSERT|2|token", "EVENT|token", "INSERT|1|none"]);
    // these three, three authentications and overrides of before, and the beginning of the audit
    assert_eq!(seal_and_verify(&mut admin).entries_checked, 7);
    // Recording it is no use of the context.
    let outside = refused(&mut app, &format!("SELECT ward.authenticate('{token}')"));
    assert_eq!(outside.code().code(), "25P01");
    drop(cluster);
}

#[test]
fn no_token_in_the_trail_the_log_or_an_error() {
    let (cluster, mut admin, mut app, issuer) = recorded();
    let tokens = [
        issuer.token("a"),
        issuer.token_with(serde_json::json!({"exp": 1})),
        Issuer::new(Algorithm::ES256).token("a"),
        format!("{}x", issuer.token("a")),
    ];
    for token in &tokens {
        for call in [
            format!("BEGIN; SELECT ward.authenticate('{token}')"),
            format!("BEGIN; DO $$ BEGIN PERFORM ward.authenticate('{token}'); END $$"),
            format!(
                "BEGIN; SELECT ward.set_tenant_context('other'); SELECT ward.authenticate('{token}')"
            ),
        ] {
            if let Err(error) = app.batch_execute(&call) {
                let error = error.as_db_error().unwrap();
                let said = format!(
                    "{} {:?} {:?}",
                    error.message(),
                    error.detail(),
                    error.hint()
                );
                assert!(!said.contains(&token[..20]), "{said}");
            }
            run(&mut app, "ROLLBACK");
        }
    }
    run(&mut app, "BEGIN");
    authenticate(&mut app, &tokens[0]);
    run(&mut app, "COMMIT");
    seal_and_verify(&mut admin);
    let trail = text(
        &mut admin,
        "SELECT string_agg(t::text, E'\\n') FROM ward.audit_trail t",
    )
    .unwrap();
    let log = cluster.log();
    assert!(log.contains("token refused"), "the log is the server's");
    for token in &tokens {
        for part in token.split('.') {
            assert!(!trail.contains(part), "in the trail: {part}");
            assert!(!log.contains(part), "in the log: {part}\n{log}");
        }
    }
}

#[test]
fn an_event_altered_before_and_after_it_was_sealed() {
    let (_cluster, mut admin, mut app, issuer) = recorded();
    run(&mut admin, "ALTER SYSTEM SET ward.seal_interval = '1h'");
    run(&mut admin, "SELECT pg_reload_conf()");
    run(&mut app, "BEGIN");
    authenticate(&mut app, &issuer.token("a"));
    run(&mut app, "COMMIT");
    seal_and_verify(&mut admin);
    ward_tests::tamper(
        &mut admin,
        "UPDATE leaves SET leaf = decode(replace(encode(leaf, 'hex'),
             encode('authentication', 'hex'), encode('authenticatiom', 'hex')), 'hex')",
    );
    let verdict = ward_tests::verify(&mut admin);
    assert!(!verdict.is_valid, "{verdict:?}");
    assert!(verdict.reason.unwrap().contains("entry_altered"));
}

#[test]
fn an_override_that_is_rolled_back_is_in_the_servers_log() {
    let (cluster, mut admin, mut app, _) = recorded();
    run(
        &mut app,
        "BEGIN; SELECT ward.override_tenant_context('b', E'looked\n around'); ROLLBACK",
    );
    assert_eq!(number(&mut admin, EVENTS), 0);
    let log = cluster.log();
    let line = r#"{"reason":"looked\n around","session_role":"app","tenant":"b"}"#;
    assert!(log.contains(line), "{log}");
}

#[test]
fn who_acts_is_told_anew_whenever_it_changes() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    crate::audited_table(&mut admin);
    run(
        &mut admin,
        "CREATE ROLE amy LOGIN; CREATE ROLE bob; GRANT bob TO amy; GRANT ALL ON t TO amy, bob",
    );
    let mut amy = cluster.client(ward_tests::DATABASE, "amy");
    let mut expected = Vec::new();
    let mut acts = |admin: &mut Client, before: [&str; 2], who: &str| {
        run(admin, before[0]);
        run(&mut amy, before[1]);
        run(
            &mut amy,
            &format!("INSERT INTO t VALUES ({}, 'n')", expected.len()),
        );
        expected.push(who.to_owned());
    };
    acts(
        &mut admin,
        ["", "SET application_name = 'one'"],
        "amy amy one none",
    );
    acts(&mut admin, ["", ""], "amy amy one none");
    acts(
        &mut admin,
        ["", "SET application_name = 'two'"],
        "amy amy two none",
    );
    acts(&mut admin, ["", "SET ROLE bob"], "amy bob two none");
    acts(
        &mut admin,
        ["ALTER ROLE bob RENAME TO carl", ""],
        "amy carl two none",
    );
    let set = "SELECT ward.set_tenant_context('a'::text, false)";
    acts(&mut admin, ["", set], "amy carl two trusted a");
    let set = "BEGIN; SELECT ward.set_tenant_context('b'::text)";
    acts(&mut admin, ["", set], "amy carl two trusted b");
    acts(&mut admin, ["", "COMMIT"], "amy carl two trusted a");
    acts(&mut admin, ["", "RESET ROLE"], "amy amy two trusted a");
    ward_tests::seal_and_verify(&mut admin);
    let seen = ward_tests::texts(
        &mut admin,
        "SELECT concat_ws(' ', session_role, \"current_role\", application_name, context_source, tenant_id)
         FROM ward.audit_trail WHERE table_name = 't' ORDER BY entry_id",
    );
    assert_eq!(seen, expected);
}
