//! Attacks on the history as a whole, by a superuser who may have everything but the audit key; the auditor holds a
//! checkpoint. Everything is consistent in itself afterwards: only the checkpoint, or the signer's memory, shows it.

use crate::audited_table;
use ward_tests::auditor::check;
use ward_tests::auditor::{Auditor, export};
use ward_tests::postgres::Client;
use ward_tests::rewrite::{put_back, save, write_on};
use ward_tests::{
    Cluster, Options, SUPERUSER, ServerFiles, number, refused, run, seal_and_verify, text, texts,
    verify,
};

const SEALED: &str = "SELECT max(tree_size) FROM ward.audit_blocks";
const CHECKPOINT: &str = "SELECT ward.audit_checkpoint()";
const SIGNER: &str = "SELECT state || ' ' || signed_size FROM ward.audit_signer_state()";

#[test]
fn the_end_cut_off_then_everything_rewritten_from_a_point_then_declared() {
    let files = ServerFiles::new();
    let state = files.directory("state", 0o700);
    let cluster = Cluster::with_extension_and(
        Options::default()
            .set("ward.checkpoint_interval", "-1")
            .set("ward.checkpoint_state", &state.display().to_string()),
    );
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'a')");
    seal_and_verify(&mut client);
    let auditor = Auditor::new(&mut client);
    let early = auditor.keep(&mut client, CHECKPOINT, "early");
    let early_size = number(&mut client, SEALED);
    run(&mut client, "INSERT INTO t VALUES (2, 'b')");
    seal_and_verify(&mut client);
    save(&mut client);
    let kept = number(&mut client, SEALED);
    run(&mut client, "UPDATE t SET note = 'what nobody must know'");
    seal_and_verify(&mut client);
    let held = auditor.keep(&mut client, CHECKPOINT, "held");
    let signed = number(&mut client, SEALED);
    let said = check(&cluster, &auditor, &[&early, &held]);
    said.is("anchored");

    // cut off, or an old copy put back: that is the same
    put_back(&mut client, kept);
    assert!(verify(&mut client).is_valid);
    let said = check(&cluster, &auditor, &[&early, &held]);
    said.finds("restored_undeclared", 1, "restored_undeclared", kept);
    assert_eq!(
        text(&mut client, SIGNER).unwrap(),
        format!("refused {signed}")
    );

    // rewritten from there on
    write_on(&mut client, signed);
    let said = check(&cluster, &auditor, &[&early, &held]);
    said.finds("tampered", 1, "checkpoint_mismatch", early_size);
    let error = refused(&mut client, CHECKPOINT);
    assert_eq!(error.code().code(), "XX001", "{}", error.message());
    // the table of incarnations says that a restore was declared, and no entry does
    run(
        &mut client,
        &format!(
            "INSERT INTO ward.audit_log (incarnation, previous, system_identifier, database_oid, timeline, reason, left_at, new_xids, restored_size)
                 SELECT gen_random_uuid(), incarnation, system_identifier, database_oid, timeline, 'declared: by nobody', {kept}, false, {early_size}
                 FROM ward.audit_log"
        ),
    );
    let error = refused(&mut client, CHECKPOINT);
    assert_eq!(error.code().code(), "XX001", "{}", error.message());
    run(
        &mut client,
        "DELETE FROM ward.audit_log WHERE reason = 'declared: by nobody'",
    );

    a_forged_declaration(&cluster, &mut client, &auditor, [&early, &held]);
}

/// A restore leaf that no writer has made is no declaration, and one that a superuser makes has his name on it.
fn a_forged_declaration(
    cluster: &Cluster,
    client: &mut Client,
    auditor: &Auditor,
    [early, held]: [&str; 2],
) {
    run(client, "DROP TABLE saved_block, saved_tile");
    save(client);
    let kept = number(client, SEALED);
    let incarnations = "SELECT count(*) FROM ward.audit_log";
    // type, version, flags, xid, position, context_back, time, restored_size, reason; then the framing of a journal record
    run(
        client,
        "INSERT INTO ward.audit_journal_0 (xid, position, part, data)
         SELECT xid, 0, 0, int4send(length(leaf)) || leaf || int4send(0)
         FROM (SELECT xid, '\\x170100'::bytea || int8send(xid) || int4send(0) || int4send(1) || int8send(0)
                 || int8send(6) || int2send(6::int2) || 'honest'::bytea AS leaf
               FROM (SELECT pg_current_xact_id()::text::bigint AS xid) x) y",
    );
    run(client, "SELECT ward.seal_audit_trail()");
    let found = texts(
        client,
        "SELECT kind || ' ' || entry FROM ward.audit_violations()",
    );
    assert_eq!(found, [format!("recorded_violation {}", kept + 1)]);
    assert_eq!(number(client, incarnations), 1);
    let said = check(cluster, auditor, &[early]);
    said.is("tampered");
    said.finds("tampered", 1, "recorded_violation", kept + 1);
    assert_eq!(refused(client, CHECKPOINT).code().code(), "XX001");

    // undone, and done through the front door
    put_back(client, kept);
    write_on(client, kept);
    let size = number(
        client,
        "SELECT ward.declare_restore('routine maintenance', (SELECT min(tree_size) FROM ward.audit_blocks WHERE block_no = 1))",
    );
    seal_and_verify(client);
    assert_eq!(number(client, incarnations), 2);
    run(client, CHECKPOINT);
    let said = check(cluster, auditor, &[early, held]);
    said.finds("restored_declared", 4, "restored_declared", size);
    let restore = &said.outcome["restores"][0];
    assert_eq!(restore["roles"][0], SUPERUSER);
    assert_eq!(restore["reason"], "routine maintenance");
    // it does not excuse what lies before the size it names
    let other = export(cluster, auditor, 0);
    let said = auditor.run(&["check", &other, "--json"]);
    said.is("unanchored");
}

#[test]
fn two_histories_served_to_two_auditors() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'a')");
    seal_and_verify(&mut client);
    save(&mut client);
    let kept = number(&mut client, SEALED);
    let auditor = Auditor::new(&mut client);
    let common = auditor.keep(&mut client, CHECKPOINT, "common");
    run(&mut client, "INSERT INTO t VALUES (2, 'for the first')");
    seal_and_verify(&mut client);
    let first = auditor.keep(&mut client, CHECKPOINT, "first");
    let size = number(&mut client, SEALED);
    put_back(&mut client, kept);
    write_on(&mut client, size);
    let second = auditor.keep(&mut client, CHECKPOINT, "second");
    // each is content with what he is shown
    let said = check(&cluster, &auditor, &[&common, &second]);
    said.is("anchored");
    // until they compare
    let said = check(&cluster, &auditor, &[&common, &first, &second]);
    said.finds(
        "tampered",
        1,
        "checkpoint_mismatch",
        number(&mut client, SEALED),
    );
    let link = "SELECT ward.audit_witness_request((SELECT tree_size FROM ward.audit_blocks WHERE block_no = 1))";
    let link = auditor.keep(&mut client, link, "link");
    let said = auditor.run(&["consistency", &link, "--old", &first, "--key", &auditor.key]);
    assert_ne!(said.code, 0);
}

#[test]
fn the_audit_key_swapped_in_an_unsealed_transaction() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'a')");
    seal_and_verify(&mut client);
    // behind its length (4), the leaf ends with key id (8) and MAC (32)
    let end = "4 + ('x' || encode(substr(data, 1, 4), 'hex'))::bit(32)::int";
    let swaps = [
        (
            "another id",
            format!("overlay(data PLACING 'otherkey'::bytea FROM {end} - 39 FOR 8)"),
        ),
        (
            "another key",
            format!("overlay(data PLACING sha256('another key'::bytea) FROM {end} - 31 FOR 32)"),
        ),
    ];
    for (number_of, (what, swap)) in swaps.iter().enumerate() {
        let mut obstacle = cluster.superuser();
        run(
            &mut obstacle,
            "BEGIN; LOCK TABLE ward.audit_block IN SHARE ROW EXCLUSIVE MODE",
        );
        run(&mut client, "INSERT INTO t SELECT max(id) + 1, 'b' FROM t");
        let first = number(&mut client, SEALED);
        for journal in [0, 1] {
            run(
                &mut client,
                &format!(
                    "UPDATE ward.audit_journal_{journal} SET data = {swap}
                     WHERE xid = (SELECT max(transaction_id) FROM ward.audit_trail)"
                ),
            );
        }
        run(&mut obstacle, "COMMIT");
        run(&mut client, "SELECT ward.seal_audit_trail()");
        let found = texts(
            &mut client,
            "SELECT kind || ' ' || entry || ' ' || detail FROM ward.audit_violations() ORDER BY entry",
        );
        assert_eq!(found.len(), number_of + 1, "{what}: {found:?}");
        // row, violation
        let expected = format!("recorded_violation {} ", first + 1);
        let last = &found[number_of];
        assert!(last.starts_with(&expected), "{what}: {last}");
        assert!(last.contains("trailer MAC wrong"), "{what}: {last}");
    }
}
