//! The keys of the log are replaced: the one that signs checkpoints, and the one that authenticates writers.

use crate::audited_table;
use std::fs;
use std::path::Path;
use ward_tests::auditor::{Auditor, check, export};
use ward_tests::{
    Cluster, DATABASE, Options, SUPERUSER, ServerFiles, number, refused, run, seal_and_verify,
    text, wait_until,
};

const PUBLIC_KEY: &str = "SELECT ward.audit_public_key()";
const CHECKPOINT: &str = "SELECT ward.audit_checkpoint()";

/// How many keys have signed a checkpoint.
fn signatures(note: &str) -> usize {
    std::fs::read_to_string(note)
        .unwrap()
        .lines()
        .filter(|line| line.starts_with('\u{2014}'))
        .count()
}

#[test]
fn who_knows_only_the_first_signing_key_follows_its_replacement() {
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
    let first = auditor.keep(&mut client, CHECKPOINT, "first");
    run(
        &mut client,
        "BEGIN; SELECT ward.rotate_audit_signing_key(); ROLLBACK",
    );
    assert_eq!(text(&mut client, PUBLIC_KEY).unwrap(), auditor.key);

    // two changes, each sealed by itself
    let mut held = vec![first];
    for (name, change) in [
        ("second", "SELECT ward.rotate_audit_signing_key()"),
        (
            "third",
            "SELECT ward.rotate_encryption_key('ward/checkpoint_signing')",
        ),
    ] {
        let before = text(&mut client, PUBLIC_KEY).unwrap();
        run(&mut client, change);
        seal_and_verify(&mut client);
        assert_ne!(text(&mut client, PUBLIC_KEY).unwrap(), before);
        held.push(auditor.keep(&mut client, CHECKPOINT, name));
    }
    assert_eq!(
        held.iter().map(|note| signatures(note)).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    let refs: Vec<&str> = held.iter().map(String::as_str).collect();
    let said = check(&cluster, &auditor, &refs);
    said.is("anchored");
    assert_eq!(said.outcome["unanchored_tail"], 0);

    // once a checkpoint was published, the old keys sign no more
    cluster.append_settings("ward.checkpoint_interval = 0\n");
    cluster.reload();
    run(&mut client, "INSERT INTO t VALUES (2, 'b')");
    wait_until("a checkpoint is published", || {
        run(
            &mut client,
            "INSERT INTO t SELECT max(id) + 1, 'c' FROM t; SELECT ward.seal_audit_trail()",
        );
        number(&mut client, "SELECT count(*) FROM ward.audit_checkpoints") > 0
    });
    let new = auditor.keep(&mut client, CHECKPOINT, "new");
    assert_eq!(signatures(&new), 1);
    let mut all = refs.clone();
    all.push(&new);
    let said = check(&cluster, &auditor, &all);
    said.is("anchored");
    assert_eq!(said.outcome["key_changes"][1]["followed"], true);
    // without the checkpoints that both keys have signed, nothing vouches for the new one
    let said = check(&cluster, &auditor, &[refs[0], &new]);
    assert_eq!(said.code, 2, "{}", said.outcome);
    assert!(
        said.error.contains("none of the given keys"),
        "{}",
        said.error
    );

    audit_key(&cluster, &auditor);
    drop(client);
    other_encodings(&cluster);
    copied(&cluster);
}

/// Entries under the old audit key stay valid, and new ones are under the new.
fn audit_key(cluster: &Cluster, auditor: &Auditor) {
    let mut client = cluster.superuser();
    run(
        &mut client,
        "SELECT ward.rotate_encryption_key('ward/audit'); INSERT INTO t SELECT max(id) + 1, 'd' FROM t",
    );
    let mut other = cluster.superuser();
    run(&mut other, "INSERT INTO t SELECT max(id) + 1, 'e' FROM t");
    seal_and_verify(&mut client);
    run(
        &mut client,
        "SELECT ward.rotate_encryption_key('ward/audit')",
    );
    run(&mut other, "INSERT INTO t SELECT max(id) + 1, 'f' FROM t");
    seal_and_verify(&mut client);
    // and whoever has the server's master key can have all of them checked
    let query = "SELECT string_agg(concat_ws(' ', key, version, encode(wrapped, 'hex')), E'\\n')
                 FROM ward.encryption_key JOIN ward.encryption_key_version USING (key)
                 WHERE purpose = 'audit' AND wrapped IS NOT NULL";
    let rows = auditor.keep(&mut client, query, "rows");
    let master = cluster.master_key_file().display().to_string();
    let keys = auditor.path("audit.key").display().to_string();
    let args = ["audit-key", "--master-key", &master, "--out", &keys];
    let said = auditor.run_with(&args, Path::new(&rows));
    assert_eq!(said.code, 0, "{}", said.error);
    let trail = export(cluster, auditor, 0);
    let said = auditor.run(&["check", &trail, "--audit-key", &keys, "--json"]);
    said.is("unanchored");
    assert_eq!(said.outcome["writers_checked"], true);
    // without the last version, the last transactions are somebody else's
    let some = fs::read_to_string(&keys).unwrap();
    fs::write(&keys, &some[..65]).unwrap();
    let said = auditor.run(&["check", &trail, "--audit-key", &keys, "--json"]);
    said.is("tampered");
    assert_eq!(said.outcome["findings"][0]["kind"], "trailer_forged");
}

/// What a restore is declared with is text in whatever encoding the database has.
fn other_encodings(cluster: &Cluster) {
    for encoding in ["LATIN1", "SQL_ASCII"] {
        run(
            &mut cluster.client("postgres", SUPERUSER),
            &format!(
                "CREATE DATABASE {encoding} ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
            ),
        );
        let mut client = cluster.client(&encoding.to_lowercase(), SUPERUSER);
        run(&mut client, "CREATE EXTENSION pg_ward");
        audited_table(&mut client);
        seal_and_verify(&mut client);
        if encoding == "SQL_ASCII" {
            let error = refused(&mut client, "SELECT ward.declare_restore(E'\\xff', NULL)");
            assert_eq!(error.code().code(), "22021", "{}", error.message());
        }
        run(
            &mut client,
            "INSERT INTO t VALUES (1, 'x'); SELECT ward.seal_audit_trail()",
        );
        run(
            &mut client,
            "SELECT ward.declare_restore('d\u{e9}cid\u{e9} par \u{c9}. Roux')",
        );
        seal_and_verify(&mut client);
        let reason = "SELECT convert_to(reason, 'UTF8')::text FROM ward.audit_log WHERE restored_size IS NOT NULL";
        assert!(text(&mut client, reason).is_some(), "{encoding}");
    }
}

/// A copy is signed under its own name from what it is, although the original has gone on; not when the original is gone
/// and what was signed of it is lost.
fn copied(cluster: &Cluster) {
    let mut client = cluster.superuser();
    run(&mut client, CHECKPOINT);
    drop(client);
    let admin = || cluster.client("postgres", SUPERUSER);
    for copy in ["copy", "heir"] {
        wait_until("the worker has left", || {
            admin()
                .batch_execute(&format!("CREATE DATABASE {copy} TEMPLATE {DATABASE}"))
                .is_ok()
        });
    }
    let mut client = cluster.superuser();
    run(
        &mut client,
        "INSERT INTO t SELECT max(id) + 1, 'only in the original' FROM t",
    );
    seal_and_verify(&mut client);
    run(&mut client, CHECKPOINT);
    drop(client);
    let state = "SELECT state FROM ward.audit_signer_state()";
    let signed = |database: &str| {
        let mut client = cluster.client(database, SUPERUSER);
        run(
            &mut client,
            "INSERT INTO t SELECT max(id) + 1, 'only in the copy' FROM t",
        );
        seal_and_verify(&mut client);
        (
            client.batch_execute(CHECKPOINT).is_ok(),
            text(&mut client, state).unwrap(),
        )
    };
    assert_eq!(signed("copy"), (true, "ready".to_owned()));
    run(
        &mut admin(),
        &format!("DROP DATABASE {DATABASE} WITH (FORCE)"),
    );
    assert_eq!(signed("copy"), (true, "ready".to_owned()));
    assert_eq!(signed("heir"), (false, "refused".to_owned()));
}
