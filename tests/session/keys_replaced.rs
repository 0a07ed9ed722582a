//! Several at once: rotations that meet, and transactions that began before a change.

use ward_tests::{Cluster, number, refused, run, text, texts, wait_until};

#[test]
fn two_rotations_at_once_make_two_versions() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(&mut admin, "SELECT ward.generate_encryption_key('k')");
    let mut first = cluster.superuser();
    run(&mut first, "BEGIN; SELECT ward.rotate_encryption_key('k')");
    let mut second = cluster.superuser();
    let waiting = std::thread::spawn(move || {
        number(
            &mut second,
            "SELECT ward.rotate_encryption_key('k')::bigint",
        )
    });
    wait_until("the second one waits", || {
        number(
            &mut admin,
            "SELECT count(*) FROM pg_stat_activity
             WHERE query LIKE 'SELECT ward.rotate%' AND wait_event_type = 'Lock'",
        ) == 1
    });
    // Neither readers nor writers of values wait meanwhile.
    run(&mut admin, "SELECT ward.decrypt(ward.encrypt('x', 'k'))");
    run(&mut first, "COMMIT");
    assert_eq!(waiting.join().unwrap(), 3);
    let versions = "SELECT version || ' ' || state FROM ward.encryption_keys ORDER BY version";
    assert_eq!(
        texts(&mut admin, versions),
        ["1 decrypt_only", "2 decrypt_only", "3 active"]
    );
}

#[test]
fn rotations_and_encryptions_side_by_side_lose_no_value() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SELECT ward.generate_encryption_key('k');
         CREATE TABLE vault (writer int, value bytea)",
    );
    std::thread::scope(|scope| {
        for writer in 0..3 {
            let mut client = cluster.superuser();
            scope.spawn(move || {
                for _ in 0..100 {
                    run(
                        &mut client,
                        &format!("INSERT INTO vault VALUES ({writer}, ward.encrypt('x', 'k'))"),
                    );
                }
            });
        }
        for _ in 0..2 {
            let mut client = cluster.superuser();
            scope.spawn(move || {
                for _ in 0..10 {
                    run(&mut client, "SELECT ward.rotate_encryption_key('k')");
                }
            });
        }
    });
    let opened = "SELECT count(*) FROM vault WHERE ward.decrypt(value) = 'x'";
    assert_eq!(number(&mut admin, opened), 300);
    let versions = "SELECT count(*) FROM ward.encryption_keys";
    assert_eq!(number(&mut admin, versions), 21);
    let active = "SELECT count(*) FROM ward.encryption_keys WHERE state = 'active'";
    assert_eq!(number(&mut admin, active), 1);
}

#[test]
fn a_rotation_in_a_repeatable_read_transaction() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(&mut admin, "SELECT ward.generate_encryption_key('k')");
    let mut old = cluster.superuser();
    run(&mut old, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    text(&mut old, "SELECT name FROM ward.encryption_keys");
    run(
        &mut admin,
        "SELECT ward.rotate_encryption_key('k');
         CREATE TABLE vault AS SELECT ward.encrypt('new', 'k') AS value",
    );
    // It encrypts with the version that is active now, whatever its snapshot shows...
    let id = "SELECT encode(substr(ward.encrypt('x', 'k'), 5, 8), 'hex')";
    let used = text(&mut old, id).unwrap();
    let active = "SELECT key_id FROM ward.encryption_keys WHERE state = 'active'";
    assert_eq!(text(&mut admin, active).unwrap(), used);
    // ...but changes nothing that it cannot see.
    let error = refused(&mut old, "SELECT ward.rotate_encryption_key('k')");
    assert_eq!(error.code().code(), "40001");
    run(&mut old, "ROLLBACK");
    assert_eq!(
        number(&mut old, "SELECT ward.rotate_encryption_key('k')::bigint"),
        3
    );
}

#[test]
fn a_key_that_a_column_type_names_is_destroyed_only_by_force() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SELECT ward.generate_encryption_key('k');
         SELECT ward.generate_encryption_key('k2');
         SELECT ward.generate_encryption_key('unused');
         CREATE DOMAIN mail AS ward.encrypted_text('k');
         CREATE DOMAIN work_mail AS mail;
         CREATE TYPE pair AS (a int, b ward.secret_text('k'));
         CREATE TABLE t (a ward.encrypted_text('k'), b ward.secret_text('k')[], c mail, d work_mail,
                         e ward.encrypted_text('k2'), f mail[], g text) PARTITION BY LIST (g)",
    );
    let error = refused(&mut admin, "SELECT ward.destroy_encryption_key('k', 'k')");
    assert_eq!(error.code().code(), "2BP01");
    let listed = error.message().split("named by ").nth(1).unwrap();
    assert_eq!(
        listed,
        "public.pair.b, public.t.a, public.t.b, public.t.c, public.t.d, public.t.f"
    );
    run(
        &mut admin,
        "SELECT ward.destroy_encryption_key('unused', 'unused')",
    );
    let error = refused(&mut admin, "SELECT ward.destroy_encryption_key('k2', 'k2')");
    assert!(
        error.message().ends_with("named by public.t.e"),
        "{error:?}"
    );
    run(&mut admin, "ALTER TABLE t DROP COLUMN e");
    run(&mut admin, "SELECT ward.destroy_encryption_key('k2', 'k2')");
    run(
        &mut admin,
        "SELECT ward.destroy_encryption_key('k', 'k', force => true)",
    );
}

#[test]
fn a_key_that_a_default_names_is_destroyed_only_by_force() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SELECT ward.generate_encryption_key('k');
         SELECT ward.generate_encryption_key('k2');
         CREATE SCHEMA \"Odd one\";
         CREATE TABLE \"Odd one\".\"T\" (\"a,b\" bytea DEFAULT ward.encrypt('none', 'k'));
         CREATE TABLE other (a bytea DEFAULT ward.encrypt('k', 'k2'), k text DEFAULT 'k')",
    );
    let error = refused(&mut admin, "SELECT ward.destroy_encryption_key('k', 'k')");
    assert_eq!(error.code().code(), "2BP01");
    assert!(
        error.message().contains("\"Odd one\".\"T\".\"a,b\""),
        "{error:?}"
    );
    assert!(error.hint().unwrap().contains("force"), "{error:?}");
    refused(
        &mut admin,
        "SELECT ward.destroy_encryption_key('k', 'no', true)",
    );
    let unclear = "SELECT ward.destroy_encryption_key('k', 'k', NULL)";
    assert_eq!(refused(&mut admin, unclear).code().code(), "22004");
    run(&mut admin, "SELECT ward.encrypt('still there', 'k')");
    run(
        &mut admin,
        "SELECT ward.destroy_encryption_key('k', 'k', force => true)",
    );
    refused(&mut admin, "SELECT ward.encrypt('x', 'k')");
    // With more columns than a message can list.
    for number in 0..12 {
        run(
            &mut admin,
            &format!("CREATE TABLE t{number} (a bytea DEFAULT ward.encrypt('x', 'k2'))"),
        );
    }
    let error = refused(&mut admin, "SELECT ward.destroy_encryption_key('k2', 'k2')");
    assert!(error.message().contains("and 3 more"), "{error:?}");
}
