//! From the server to the auditor: export, checkpoint and public key leave the cluster, and `ward-verify` judges them.

use crate::audited_table;
use std::fs;
use std::io::Write;
use ward_tests::auditor::{Auditor, export};
use ward_tests::postgres::Client;
use ward_tests::{Cluster, DATABASE, number, refused, run, seal_and_verify, tamper, wait_until};

#[test]
fn an_honest_trail_is_anchored_up_to_the_checkpoint() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "INSERT INTO t SELECT g, repeat('n', 40) FROM generate_series(1, 2000) g",
    );
    seal_and_verify(&mut client);
    let auditor = Auditor::new(&mut client);
    let held = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "checkpoint");
    let covered = number(&mut client, "SELECT max(tree_size) FROM ward.audit_blocks");
    // an image of more than one line of the export, and one that is compressed
    run(
        &mut client,
        "INSERT INTO t SELECT 9000, string_agg(gen_random_uuid()::text, '') FROM generate_series(1, 40000);
         INSERT INTO t VALUES (9001, repeat('x', 5000000));
         DELETE FROM t WHERE id < 100; TRUNCATE t",
    );
    seal_and_verify(&mut client);
    let size = number(&mut client, "SELECT max(tree_size) FROM ward.audit_blocks");
    let trail = export(&cluster, &auditor, 0);
    let said = auditor.check(&trail, &held);
    assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
    said.is("anchored");
    assert_eq!(said.outcome["last_covered_entry"], covered - 1);
    assert_eq!(said.outcome["unanchored_tail"], size - covered);
    assert_eq!(said.outcome["entries"], size);
    let changes = number(&mut client, "SELECT count(*) FROM ward.audit_trail");
    assert_eq!(said.outcome["changes"], changes);

    a_part_of_it(&cluster, &mut client, &auditor, covered);
    one_entry_of_it(&mut client, &auditor, &held, covered);
    straight_from_the_server(&cluster, &mut client, &auditor, &held);
}

fn a_part_of_it(cluster: &Cluster, client: &mut Client, auditor: &Auditor, from: i64) {
    let trail = export(cluster, auditor, from + 5);
    let held = auditor.keep(client, "SELECT ward.audit_checkpoint()", "later");
    let args = [
        "check",
        &trail,
        "--key",
        &auditor.key,
        "--checkpoint",
        &held,
        "--json",
    ];
    assert_eq!(auditor.run(&args).code, 2);
    let said = auditor.run(&[&args[..], &["--partial"]].concat());
    assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
    let first = said.outcome["first_entry"].as_i64().unwrap();
    assert!(first >= from && first <= from + 5, "{first}");
}

fn one_entry_of_it(client: &mut Client, auditor: &Auditor, held: &str, covered: i64) {
    let entry = number(
        client,
        "SELECT min(entry_id) FROM ward.audit_trail WHERE record_id = '7'",
    );
    let proof = auditor.keep(
        client,
        &format!("SELECT ward.audit_proof({entry}, true)"),
        "proof",
    );
    let request = format!("SELECT ward.audit_witness_request({covered})");
    let link = auditor.keep(client, &request, "link");
    let said = auditor.run(&[
        "proof",
        &proof,
        "--key",
        &auditor.key,
        "--checkpoint",
        held,
        "--consistency",
        &link,
        "--json",
    ]);
    assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
    assert_eq!(said.outcome["change"]["record_id"], "7");
    assert_eq!(said.outcome["change"]["values_verified"], true);
    let said = auditor.run(&["consistency", &link, "--old", held, "--key", &auditor.key]);
    assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
}

fn straight_from_the_server(cluster: &Cluster, client: &mut Client, auditor: &Auditor, held: &str) {
    run(
        client,
        "CREATE ROLE nobody LOGIN; CREATE ROLE auditor LOGIN;
         ALTER ROLE auditor SET default_transaction_read_only = on;
         GRANT SELECT ON ward.audit_trail TO auditor",
    );
    let socket = cluster.socket_directory().display();
    let server = |user: &str| format!("host={socket} dbname={DATABASE} user={user}");
    let said = auditor.run(&[
        "check",
        "--server",
        &server("auditor"),
        "--key",
        &auditor.key,
        "--checkpoint",
        held,
        "--json",
    ]);
    assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
    said.is("anchored");
    let said = auditor.run(&["check", "--server", &server("nobody")]);
    assert_eq!(said.code, 2);
    assert!(said.error.contains("permission denied"), "{}", said.error);
}

#[test]
fn a_trail_restored_from_an_old_copy_and_continued_contradicts_the_checkpoint() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'a')");
    seal_and_verify(&mut client);
    run(
        &mut client,
        "CREATE TABLE saved_block AS SELECT * FROM ward.audit_block;
         CREATE TABLE saved_tile AS SELECT * FROM ward.audit_tile",
    );
    let kept = number(&mut client, "SELECT max(tree_size) FROM ward.audit_blocks");
    run(
        &mut client,
        "UPDATE t SET note = 'what nobody must know' WHERE id = 1",
    );
    seal_and_verify(&mut client);
    let auditor = Auditor::new(&mut client);
    let held = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "checkpoint");
    run(
        &mut client,
        &format!(
            "BEGIN;
             DELETE FROM ward.audit_segment_000000 WHERE entry_id >= {kept};
             DELETE FROM ward.audit_tile; INSERT INTO ward.audit_tile SELECT * FROM saved_tile;
             DELETE FROM ward.audit_block; INSERT INTO ward.audit_block SELECT * FROM saved_block;
             DELETE FROM ward.audit_journal_0; DELETE FROM ward.audit_journal_1;
             COMMIT;
             INSERT INTO t VALUES (2, 'b'); INSERT INTO t VALUES (3, 'c')"
        ),
    );
    // the server's own verification cannot know
    wait_until("the worker seals the new end of the log", || {
        run(&mut client, "SELECT ward.seal_audit_trail()");
        number(&mut client, "SELECT max(tree_size) FROM ward.audit_blocks") > kept
    });
    seal_and_verify(&mut client);
    let trail = export(&cluster, &auditor, 0);
    assert_eq!(auditor.run(&["check", &trail]).code, 3);
    let said = auditor.check(&trail, &held);
    assert_eq!(said.code, 1, "{}{}", said.outcome, said.error);
    said.is("tampered");
    assert_eq!(said.outcome["findings"][0]["kind"], "checkpoint_mismatch");
    let link = refused_or_link(&mut client, &auditor, &held);
    assert_ne!(link, Some(0));
}

/// The exit code of a consistency check from the held checkpoint to the log as it is now, if there can be one.
fn refused_or_link(client: &mut Client, auditor: &Auditor, held: &str) -> Option<i32> {
    let size = fs::read_to_string(held).unwrap();
    let size: i64 = size.lines().nth(1).unwrap().parse().unwrap();
    let sealed = number(client, "SELECT max(tree_size) FROM ward.audit_blocks");
    let request = format!("SELECT ward.audit_witness_request({size})");
    if sealed < size {
        refused(client, &request);
        return None;
    }
    let link = auditor.keep(client, &request, "link");
    let said = auditor.run(&["consistency", &link, "--old", held, "--key", &auditor.key]);
    Some(said.code)
}

#[test]
fn entries_edited_and_deleted_by_a_superuser_are_reported_at_their_places() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "INSERT INTO t SELECT g, 'n' FROM generate_series(1, 1000) g",
    );
    seal_and_verify(&mut client);
    let auditor = Auditor::new(&mut client);
    // the edited row moves to the end of the table: the export brings it back
    tamper(
        &mut client,
        "UPDATE leaves SET image = set_byte(image, 20, get_byte(image, 20) # 1) WHERE entry_id = 300;
         DELETE FROM leaves WHERE entry_id BETWEEN 500 AND 502;
         UPDATE ward.audit_block SET sealed_at = sealed_at - interval '1 day'
         WHERE block_no = (SELECT max(block_no) FROM ward.audit_block)",
    );
    let trail = export(&cluster, &auditor, 0);
    let said = auditor.run(&["check", &trail, "--json"]);
    assert_eq!(said.code, 1);
    let findings = said.outcome["findings"].as_array().unwrap();
    let mut found: Vec<_> = findings
        .iter()
        .map(|f| (f["kind"].as_str().unwrap(), f["entry"].as_i64()))
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            ("block_altered", None),
            ("entry_missing", Some(500)),
            ("image_altered", Some(300))
        ]
    );
    let violations = number(&mut client, "SELECT count(*) FROM ward.audit_violations()");
    assert_eq!(violations, 3);
}

#[test]
fn a_witness_follows_the_log_and_a_reader_sees_its_cosignature() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'a')");
    seal_and_verify(&mut client);
    let auditor = Auditor::new(&mut client);
    let said = auditor.run(&["keygen", "--name", "witness.example/w", "--out", "w.key"]);
    assert_eq!(said.code, 0, "{}", said.error);
    let witness = said.outcome.as_str().unwrap().trim().to_owned();
    let ask = |client: &mut Client, old: i64, more: &[&str]| {
        let request = format!("SELECT ward.audit_witness_request({old})");
        auditor.keep(client, &request, "request");
        let args = [
            "witness",
            "--state",
            "state",
            "--key",
            &auditor.key,
            "--signing-key",
            "w.key",
        ];
        auditor.run_with(&[&args[..], more].concat(), &auditor.path("request"))
    };
    let said = ask(&mut client, 0, &["--new"]);
    assert_eq!(said.code, 0, "{}", said.error);
    let old = number(&mut client, "SELECT max(tree_size) FROM ward.audit_blocks");
    run(&mut client, "UPDATE t SET note = 'b'");
    seal_and_verify(&mut client);
    let said = ask(&mut client, old, &[]);
    assert_eq!(said.code, 0, "{}", said.error);
    let held = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "checkpoint");
    let mut file = fs::OpenOptions::new().append(true).open(&held).unwrap();
    file.write_all(said.outcome.as_str().unwrap().as_bytes())
        .unwrap();
    let trail = export(&cluster, &auditor, 0);
    let said = auditor.run(&[
        "check",
        &trail,
        "--key",
        &auditor.key,
        "--key",
        &witness,
        "--checkpoint",
        &held,
        "--json",
    ]);
    assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
    said.is("cosigned");
    assert_eq!(said.outcome["unanchored_tail"], 0);
}

/// All that `ward-verify --server` does with the rights of an auditor, and of one who has more than it needs.
#[test]
fn reading_a_server_takes_a_read_only_login_and_writes_nothing() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "INSERT INTO t VALUES (1, 'a');
         CREATE ROLE auditors; GRANT SELECT ON ward.audit_trail TO auditors;
         CREATE ROLE auditor LOGIN IN ROLE auditors; ALTER ROLE auditor SET log_statement = 'all';
         CREATE ROLE powerful LOGIN SUPERUSER; ALTER ROLE powerful SET log_statement = 'all'",
    );
    seal_and_verify(&mut client);
    let auditor = Auditor::new(&mut client);
    let held = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "checkpoint");
    // the role can do this and nothing else with the log
    let mut login = cluster.client(DATABASE, "auditor");
    for beyond in [
        "DELETE FROM ward.audit_segment_000000",
        "SELECT FROM ward.audit_segment_000000",
        "INSERT INTO ward.audit_journal_0 (xid) VALUES (1)",
        "SELECT ward.prune_audit_trail(now())",
        "SELECT ward.declare_restore('because')",
        "TABLE t",
    ] {
        assert_eq!(
            refused(&mut login, beyond).code().code(),
            "42501",
            "{beyond}"
        );
    }
    let socket = cluster.socket_directory().display();
    for user in ["auditor", "powerful"] {
        let server = format!("host={socket} dbname={DATABASE} user={user}");
        let args = [
            "check",
            "--server",
            &server,
            "--key",
            &auditor.key,
            "--checkpoint",
            &held,
        ];
        let said = auditor.run(&[&args[..], &["--json"]].concat());
        assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
        assert_eq!(said.outcome["verdict"], "anchored");
    }
    let log = cluster.log();
    let statements: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("statement: ") || line.contains("execute "))
        .filter_map(|line| {
            line.split_once("statement: ")
                .or_else(|| line.split_once("execute "))
        })
        .map(|(_, statement)| statement.trim_end())
        .filter(|statement| {
            statement.contains("export_audit_trail") || statement.contains("TRANSACTION")
        })
        .collect();
    let begun = statements
        .iter()
        .filter(|s| s.ends_with("READ ONLY"))
        .count();
    let read = statements
        .iter()
        .filter(|s| s.contains("COPY (SELECT ward.export_audit_trail()) TO STDOUT"))
        .count();
    assert_eq!((begun, read), (2, 2), "{statements:?}");
    run(&mut client, "REVOKE auditors FROM auditor");
    let server = format!("host={socket} dbname={DATABASE} user=auditor");
    let said = auditor.run(&["check", "--server", &server]);
    assert_eq!(said.code, 2);
    assert!(said.error.contains("permission denied"), "{}", said.error);
}
