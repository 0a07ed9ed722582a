//! Attacks on what the log says was removed from it.

use crate::audit_retention::{insert, let_age, server, wait_published};
use ward_tests::postgres::Client;
use ward_tests::{number, run, tamper, texts, verify, wait_until};

fn kinds(client: &mut Client) -> Vec<String> {
    assert!(!verify(client).is_valid);
    texts(
        client,
        "SELECT DISTINCT kind FROM ward.audit_violations() ORDER BY 1",
    )
}

#[test]
fn erase_an_image_without_a_leaf() {
    let (_cluster, mut client) = server();
    insert(&mut client, 1, 20);
    let entry = number(
        &mut client,
        "SELECT entry_id FROM ward.audit_trail WHERE record_id = '7'",
    );
    tamper(
        &mut client,
        &format!("UPDATE leaves SET image = NULL WHERE entry_id = {entry}"),
    );
    assert_eq!(kinds(&mut client), ["image_missing"]);
    assert_eq!(verify(&mut client).first_bad_entry, Some(entry));
    // a leaf about another record, or another table, does not account for it
    run(
        &mut client,
        "CREATE TABLE u (id int PRIMARY KEY); SELECT ward.enable_audit('u'); INSERT INTO u VALUES (7)",
    );
    run(
        &mut client,
        "SELECT ward.erase_audit_images('t', '8', 'r'); SELECT ward.erase_audit_images('u', '7', 'r')",
    );
    run(&mut client, "SELECT ward.seal_audit_trail()");
    assert_eq!(verify(&mut client).first_bad_entry, Some(entry));
    // nor does a note in the worker's table
    run(
        &mut client,
        "UPDATE ward.audit_removal SET leaf = leaf, removed = 20",
    );
    assert_eq!(kinds(&mut client), ["image_missing"]);
}

#[test]
fn an_unrecorded_prune() {
    let (_cluster, mut client) = server();
    insert(&mut client, 1, 1100);
    run(
        &mut client,
        "DROP TABLE ward.audit_segment_000000; DELETE FROM ward.audit_segment WHERE segment_no = 0;
                      INSERT INTO ward.audit_pruned_segment VALUES (0, 1100)",
    );
    assert_eq!(kinds(&mut client), ["entry_missing"]);
    assert_eq!(verify(&mut client).first_bad_entry, Some(0));
}

/// Holds the worker off, commits an order, rewrites its leaf in the journal, and lets the worker seal it.
fn forge(order: &str, rewrite: &str) -> (ward_tests::Cluster, Client) {
    let (cluster, mut client) = server();
    let_age(&mut client);
    insert(&mut client, 1, 1100);
    insert(&mut client, 1101, 2200);
    wait_published(&mut client);
    let mut obstacle = cluster.superuser();
    run(&mut client, &format!("BEGIN; {order}"));
    run(
        &mut obstacle,
        "BEGIN; LOCK TABLE ward.audit_block IN SHARE ROW EXCLUSIVE MODE",
    );
    run(&mut client, "COMMIT");
    run(&mut client, rewrite);
    run(&mut obstacle, "COMMIT");
    run(&mut client, "SELECT ward.seal_audit_trail()");
    (cluster, client)
}

/// Replaces the 16 bytes from and to of the prune leaf, which has type 0x13 and version 1, by those of the first
/// two segments.
const OF_TWO_SEGMENTS: &str = "
    DO $$ DECLARE j text; p int; BEGIN
    FOREACH j IN ARRAY ARRAY['ward.audit_journal_0', 'ward.audit_journal_1'] LOOP
        EXECUTE format('UPDATE %s SET data = overlay(data PLACING int8send(0) || int8send(2048)
                        FROM position(''\\x1301''::bytea IN data) + 26)
                        WHERE position(''\\x1301''::bytea IN data) > 0 AND xid = (SELECT max(xid) FROM %1$s)', j);
    END LOOP; END $$";

const PRUNE: &str = "SELECT ward.prune_audit_trail((SELECT min(sealed_at) + interval '1 microsecond' FROM ward.audit_blocks WHERE tree_size > 1024))";

#[test]
fn a_forged_prune_leaf() {
    let (_cluster, mut client) = forge(PRUNE, OF_TWO_SEGMENTS);
    // the sealer has noticed, and done nothing
    assert_eq!(kinds(&mut client), ["recorded_violation"]);
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM ward.audit_removal"),
        0
    );
    // doing it by hand does not help
    run(&mut client, "DROP TABLE ward.audit_segment_000000");
    assert_eq!(kinds(&mut client), ["entry_missing", "recorded_violation"]);
}

#[test]
fn a_prune_leaf_that_breaks_the_rules_when_it_is_sealed() {
    // the checkpoint that it relies on is gone
    let (_cluster, mut client) = forge(PRUNE, "DELETE FROM ward.audit_checkpoints");
    assert_eq!(kinds(&mut client), ["recorded_violation"]);
    let detail = texts(&mut client, "SELECT detail FROM ward.audit_violations()").concat();
    assert!(
        detail.contains("order refused") && detail.contains("not published"),
        "{detail}"
    );
    let segments = "SELECT count(*) FROM pg_class WHERE relname ~ '^audit_segment_[0-9]+$'";
    wait_until("nothing is left to do", || {
        number(&mut client, "SELECT unfinished FROM ward.audit_retention") == 0
    });
    assert_eq!(number(&mut client, segments), 3);
}
