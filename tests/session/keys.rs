//! The master key's sources, and keys that are taken away while sessions use them.

use std::collections::HashSet;
use ward_tests::postgres::Client;
use ward_tests::{
    Cluster, DATABASE, MasterKey, Options, number, random_key, refused, run, text, wait_until,
};

const ENCRYPT: &str = "SELECT ward.encrypt('attack at dawn')";

/// A cluster with key `k`, a table `vault` holding a value under it, and a role `bob` who may use
/// both.
fn bob_with_a_key() -> (Cluster, Client, Client) {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SELECT ward.generate_encryption_key('k');
         CREATE ROLE bob LOGIN;
         SELECT ward.grant_key('k', 'bob');
         CREATE TABLE vault AS SELECT ward.encrypt('attack at dawn', 'k') AS value;
         GRANT SELECT ON vault TO bob",
    );
    let bob = cluster.client(DATABASE, "bob");
    (cluster, admin, bob)
}

const OPEN: &str = "SELECT ward.decrypt(value) FROM vault";

fn opens(client: &mut Client) -> bool {
    text(client, OPEN).as_deref() == Some("attack at dawn")
}

#[test]
fn a_revoked_key_stops_working_in_an_open_session() {
    let (_cluster, mut admin, mut bob) = bob_with_a_key();
    assert!(opens(&mut bob));
    run(&mut admin, "SELECT ward.revoke_key('k', 'bob')");
    assert_eq!(refused(&mut bob, OPEN).code().code(), "42501");
    assert_eq!(
        refused(&mut bob, "SELECT ward.encrypt('x', 'k')")
            .code()
            .code(),
        "42501"
    );
    run(&mut admin, "SELECT ward.grant_key('k', 'bob')");
    assert!(opens(&mut bob));
}

#[test]
fn a_key_revoked_while_a_repeatable_read_transaction_runs() {
    let (_cluster, mut admin, mut bob) = bob_with_a_key();
    run(&mut bob, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert!(opens(&mut bob));
    run(&mut admin, "SELECT ward.revoke_key('k', 'bob')");
    assert_eq!(refused(&mut bob, OPEN).code().code(), "42501");
}

#[test]
fn a_revocation_that_is_rolled_back_changes_nothing() {
    let (_cluster, mut admin, mut bob) = bob_with_a_key();
    run(
        &mut admin,
        "BEGIN; SELECT ward.revoke_key('k', 'bob'); ROLLBACK",
    );
    assert!(opens(&mut bob));
}

#[test]
fn a_disabled_key_stops_working_in_an_open_session_until_it_is_enabled() {
    let (_cluster, mut admin, mut bob) = bob_with_a_key();
    assert!(opens(&mut bob));
    run(&mut admin, "SELECT ward.disable_encryption_key('k')");
    let error = refused(&mut bob, OPEN);
    assert!(error.message().contains("disabled"), "{error:?}");
    run(&mut admin, "SELECT ward.enable_encryption_key('k')");
    assert!(opens(&mut bob));
}

#[test]
fn a_destroyed_key_stops_working_in_an_open_session_for_good() {
    let (_cluster, mut admin, mut bob) = bob_with_a_key();
    assert!(opens(&mut bob));
    refused(&mut admin, "SELECT ward.destroy_encryption_key('k', 'no')");
    assert!(opens(&mut bob));
    run(&mut admin, "SELECT ward.destroy_encryption_key('k', 'k')");
    let error = refused(&mut bob, OPEN);
    assert!(error.message().contains("destroyed"), "{error:?}");
    refused(&mut admin, "SELECT ward.enable_encryption_key('k')");
}

#[test]
fn a_superuser_without_a_grant_cannot_decrypt() {
    let (_cluster, mut admin, mut bob) = bob_with_a_key();
    run(&mut admin, "SELECT ward.revoke_key('k', 'postgres')");
    assert_eq!(refused(&mut admin, OPEN).code().code(), "42501");
    assert!(opens(&mut bob));
}

#[test]
fn a_rotated_key_still_opens_what_it_closed_before() {
    let (_cluster, mut admin, mut bob) = bob_with_a_key();
    let version = number(&mut admin, "SELECT ward.rotate_encryption_key('k')::bigint");
    assert_eq!(version, 2);
    assert!(opens(&mut bob));
    let differ = "SELECT count(DISTINCT key_id)
                  FROM (SELECT substring(value FROM 5 FOR 8) FROM vault
                        UNION ALL
                        SELECT substring(ward.encrypt('x', 'k') FROM 5 FOR 8)) AS v (key_id)";
    run(&mut admin, "GRANT SELECT ON vault TO bob");
    assert_eq!(number(&mut bob, differ), 2);
}

#[test]
fn keys_survive_a_restart() {
    let (mut cluster, ..) = bob_with_a_key();
    cluster.restart();
    assert!(opens(&mut cluster.client(DATABASE, "bob")));
}

#[test]
fn fifty_backends_never_share_the_first_half_of_a_nonce() {
    let cluster = Cluster::with_extension();
    run(
        &mut cluster.superuser(),
        "SELECT ward.generate_encryption_key('k')",
    );
    let mut halves = HashSet::new();
    for _ in 0..50 {
        let mut client = cluster.superuser();
        let half = text(
            &mut client,
            "SELECT encode(substring(ward.encrypt('x') FROM 13 FOR 12), 'hex')",
        );
        assert!(halves.insert(half), "two backends share half a nonce");
    }
}

#[test]
fn ten_thousand_values_of_one_backend_never_share_a_nonce() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(&mut client, "SELECT ward.generate_encryption_key('k')");
    let distinct = "SELECT count(DISTINCT substring(ward.encrypt('x') FROM 13 FOR 24))
                    FROM generate_series(1, 10000)";
    assert_eq!(number(&mut client, distinct), 10_000);
}

#[test]
fn no_master_key_is_a_clear_error_at_first_use_and_nothing_is_stored() {
    let cluster = Cluster::with_extension_and(Options::default().master_key(MasterKey::None));
    let mut client = cluster.superuser();
    let error = refused(&mut client, "SELECT ward.generate_encryption_key('k')");
    assert!(error.message().contains("master key"), "{error:?}");
    assert!(
        error.hint().unwrap().contains("ward.master_key_file"),
        "{error:?}"
    );
    refused(&mut client, ENCRYPT);
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM ward.encryption_keys"),
        0
    );
}

#[test]
fn a_wrong_master_key_is_called_wrong() {
    let mut cluster = Cluster::with_extension();
    run(
        &mut cluster.superuser(),
        "SELECT ward.generate_encryption_key('k')",
    );
    cluster.stop();
    cluster.write_master_key(&random_key(), 0o600);
    cluster.start_again().unwrap();
    let error = refused(&mut cluster.superuser(), ENCRYPT);
    assert!(error.message().contains("master key"), "{error:?}");
}

#[test]
fn a_master_key_in_base64() {
    let key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
    let options = Options::default().master_key(MasterKey::private_file(key));
    let cluster = Cluster::with_extension_and(options);
    run(
        &mut cluster.superuser(),
        "SELECT ward.generate_encryption_key('k'); SELECT ward.encrypt('x')",
    );
}

fn refused_start(key: MasterKey) -> String {
    match Cluster::try_start(Options::default().master_key(key)) {
        Ok(_) => panic!("the server accepted the key file"),
        Err(failure) => failure.log,
    }
}

#[test]
fn a_key_file_that_others_may_read_is_refused_at_start() {
    for mode in [0o640, 0o604, 0o660, 0o666] {
        let content = random_key();
        let log = refused_start(MasterKey::File {
            content: content.clone(),
            mode,
        });
        assert!(log.contains("master.key"), "{log}");
        assert!(!log.contains(&content), "the log shows the key");
    }
}

#[test]
fn a_key_that_is_too_short_is_refused_at_start() {
    let content = &random_key()[..62];
    let log = refused_start(MasterKey::private_file(content));
    assert!(log.contains("master.key") && log.contains("32"), "{log}");
    assert!(!log.contains(content), "the log shows the key");
}

#[test]
fn a_key_that_is_neither_hex_nor_base64_is_refused_at_start() {
    let content = "not a key, but a passphrase of a human being who likes words!!!!";
    let log = refused_start(MasterKey::private_file(content));
    assert!(log.contains("hex"), "{log}");
    assert!(!log.contains("passphrase"), "the log shows the key");
}

#[test]
fn an_empty_key_file_is_refused_at_start() {
    let log = refused_start(MasterKey::private_file(""));
    assert!(log.contains("master.key"), "{log}");
}

#[test]
fn a_missing_key_file_is_refused_at_start() {
    let options = Options::default()
        .master_key(MasterKey::None)
        .set("ward.master_key_file", "/nonexistent/ward.key");
    let failure = Cluster::try_start(options).err().expect("no start");
    assert!(
        failure.log.contains("/nonexistent/ward.key"),
        "{}",
        failure.log
    );
}

#[test]
fn the_master_key_from_the_environment_is_not_left_there_for_children() {
    let key = random_key();
    let mut options = Options::default().master_key(MasterKey::None);
    options
        .environment
        .push(("PG_WARD_MASTER_KEY".into(), key.clone()));
    let cluster = Cluster::with_extension_and(options);
    let mut client = cluster.superuser();
    run(
        &mut client,
        "SELECT ward.generate_encryption_key('k'); SELECT ward.encrypt('x');
         CREATE TABLE environment (line text);
         COPY environment FROM PROGRAM 'env; tr \"\\000\" \"\\n\" < /proc/$PPID/environ'
           WITH (DELIMITER E'\\x01')",
    );
    let leaked = format!("SELECT count(*) FROM environment WHERE line LIKE '%{key}%'");
    assert_eq!(number(&mut client, &leaked), 0);
    let lines = number(&mut client, "SELECT count(*) FROM environment");
    assert!(lines > 0, "env printed nothing");
}

#[test]
fn a_damaged_key_file_at_reload_keeps_the_key_that_works() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(&mut client, "SELECT ward.generate_encryption_key('k')");
    cluster.write_master_key("damaged", 0o600);
    cluster.reload();
    wait_until("the server complains", || {
        run(&mut client, ENCRYPT);
        cluster.log().contains("master.key\" cannot be used")
    });
    run(&mut cluster.superuser(), ENCRYPT);
}

#[test]
fn the_master_key_cannot_be_redirected_with_alter_system() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    for name in [
        "ward.master_key_file",
        "ward.master_key_command",
        "ward.backup_master_key_file",
    ] {
        refused(
            &mut client,
            &format!("ALTER SYSTEM SET {name} = '/tmp/other'"),
        );
    }
}

#[test]
fn tables_of_another_shape_than_the_librarys_are_refused() {
    let (cluster, mut admin, _) = bob_with_a_key();
    run(
        &mut admin,
        "ALTER EXTENSION pg_ward DROP VIEW ward.key_grants; DROP VIEW ward.key_grants;
         ALTER TABLE ward.key_grant ALTER role_oid TYPE bigint",
    );
    let mut bob = cluster.client(DATABASE, "bob");
    let error = refused(&mut bob, OPEN);
    assert_eq!(error.code().code(), "55000", "{error:?}");
    assert!(error.hint().is_some());
    run(
        &mut admin,
        "ALTER TABLE ward.key_grant ALTER role_oid TYPE oid",
    );
    assert!(opens(&mut bob));
}
