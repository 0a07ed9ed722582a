//! Checkpoints leave the server by themselves, come back cosigned, and are not signed for a history that was rewritten.

use crate::audited_table;
use crate::ward_verify::{Auditor, export, program};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use ward_tests::postgres::Client;
use ward_tests::{Cluster, Options, number, refused, run, seal_and_verify, text, wait_until};

const PUBLISHED: &str = "SELECT count(*) FROM ward.audit_checkpoints";
const STATE: &str = "SELECT state FROM ward.status() WHERE part = 'checkpoints'";
const SEALED: &str = "SELECT max(tree_size) FROM ward.audit_blocks";

/// A directory that the server can write.
fn outside(cluster: &Cluster, name: &str) -> PathBuf {
    let directory = cluster.socket_directory().join(name);
    fs::create_dir(&directory).unwrap();
    give(cluster, &directory);
    directory
}

fn give(cluster: &Cluster, path: &Path) {
    let server = fs::metadata(cluster.data_directory()).unwrap();
    chown(path, Some(server.uid()), Some(server.gid())).unwrap();
}

fn configure(cluster: &Cluster, client: &mut Client, name: &str, value: &str) {
    cluster.append_settings(&format!("{name} = '{}'\n", value.replace('\'', "''")));
    cluster.reload();
    let query = format!("SELECT current_setting('{name}')");
    wait_until("the setting is read", || {
        text(client, &query).as_deref() == Some(value)
    });
}

/// Waits until the head of the log is published.
fn wait_published(client: &mut Client) {
    wait_until("the log's head is published", || {
        let published = number(
            client,
            "SELECT coalesce(max(tree_size), 0) FROM ward.audit_checkpoints",
        );
        published == number(client, SEALED)
    });
}

#[test]
fn published_cosigned_and_refused_for_a_rewritten_log() {
    let cluster =
        Cluster::with_extension_and(Options::default().set("ward.checkpoint_interval", "0"));
    let mut client = cluster.superuser();
    let state = outside(&cluster, "state");
    let published = outside(&cluster, "published");
    let set =
        |client: &mut Client, name: &str, value: &str| configure(&cluster, client, name, value);
    set(
        &mut client,
        "ward.checkpoint_file",
        &format!("{}/%d.checkpoint", published.display()),
    );
    let file = published.join("app.checkpoint").display().to_string();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'a')");
    seal_and_verify(&mut client);
    wait_published(&mut client);
    let auditor = Auditor::new(&mut client);
    wait_until("the file is written", || Path::new(&file).exists());
    let trail = export(&cluster, &auditor, 0);
    let said = auditor.check(&trail, &file);
    assert_eq!(
        said.outcome["verdict"], "anchored",
        "{}{}",
        said.outcome, said.error
    );

    a_memory_is_kept_outside(&cluster, &mut client, &state);
    cosigned(&cluster, &mut client, &auditor, &file);
    nobody_else_sets_them(&mut client);
    rewritten(&cluster, &mut client);
}

fn a_memory_is_kept_outside(cluster: &Cluster, client: &mut Client, state: &Path) {
    let name = "ward.checkpoint_state";
    let data = cluster.data_directory();
    for unusable in [&data.display().to_string(), "relative", "/nowhere/at/all"] {
        configure(cluster, client, name, unusable);
        let error = refused(client, "SELECT ward.audit_checkpoint()");
        assert_eq!(
            error.code().code(),
            "F0000",
            "{unusable}: {}",
            error.message()
        );
    }
    configure(cluster, client, name, &state.display().to_string());
    run(client, "SELECT ward.audit_checkpoint()");
    let remembered = || {
        let files = fs::read_dir(state).unwrap();
        let mut files = files.map(|entry| entry.unwrap().path());
        let file = files.find(|path| path.extension().is_some_and(|end| end == "checkpoint"));
        file.expect("the memory holds a checkpoint")
    };
    let note = fs::read_to_string(remembered()).unwrap();
    let size: i64 = note.lines().nth(1).unwrap().parse().unwrap();
    assert_eq!(size, number(client, SEALED));
    // a memory that nobody signed is no beginning
    fs::write(remembered(), "nonsense").unwrap();
    let error = refused(client, "SELECT ward.audit_checkpoint()");
    assert_eq!(error.code().code(), "F0000");
    fs::write(remembered(), note).unwrap();
}

fn cosigned(cluster: &Cluster, client: &mut Client, auditor: &Auditor, file: &str) {
    let home = outside(cluster, "witness");
    let at = |name: &str| home.join(name).display().to_string();
    fs::copy(program(), at("ward-verify")).unwrap();
    let said = auditor.run(&["keygen", "--name", "witness.example/w", "--out", &at("key")]);
    let witness = said.outcome.as_str().unwrap().trim().to_owned();
    give(cluster, Path::new(&at("key")));
    let script = format!(
        "#!/bin/sh\ncd {} || exit\n[ -e state ] || new=--new\n\
         exec ./ward-verify witness --state state $new --key '{}' --signing-key key\n",
        home.display(),
        auditor.key
    );
    fs::write(at("cosign"), script).unwrap();
    fs::set_permissions(at("cosign"), Permissions::from_mode(0o755)).unwrap();
    configure(cluster, client, "ward.checkpoint_witnesses", &witness);
    configure(cluster, client, "ward.checkpoint_command", &at("cosign"));
    // from nothing, and from what was cosigned before
    for round in 0..2 {
        run(client, &format!("UPDATE t SET note = 'c{round}'"));
        seal_and_verify(client);
        wait_until("the checkpoint comes back cosigned", || {
            number(
                client,
                "SELECT count(*) FROM ward.audit_checkpoints WHERE cosigned_by = '{witness.example/w}'",
            ) == round + 1
        });
    }
    wait_until("the file is replaced", || {
        let note = fs::read_to_string(file).unwrap();
        note.contains("\u{2014} witness.example/w ")
            && note.lines().nth(1) == Some(number(client, SEALED).to_string().as_str())
    });
    let trail = export(cluster, auditor, 0);
    let said = auditor.run(&[
        "check",
        &trail,
        "--key",
        &auditor.key,
        "--key",
        &witness,
        "--checkpoint",
        file,
        "--json",
    ]);
    assert_eq!(
        said.outcome["verdict"], "cosigned",
        "{}{}",
        said.outcome, said.error
    );
    // an answer of somebody else counts for nothing, and a command that fails stops nothing
    for command in ["echo — witness.example/w AAAA", "exit 3"] {
        configure(cluster, client, "ward.checkpoint_command", command);
        run(client, "UPDATE t SET note = 'd'");
        seal_and_verify(client);
        wait_published(client);
    }
    wait_until("the failure is in the log", || {
        cluster
            .log()
            .contains("ward.checkpoint_command failed: it ended with exit status: 3")
    });
    let state = text(client, STATE).unwrap();
    assert!(state.contains(" leaves published, "), "{state}");
    let cosigned = "SELECT count(*) FROM ward.audit_checkpoints WHERE cosigned_by <> '{}'";
    assert_eq!(number(client, cosigned), 2);
    configure(cluster, client, "ward.checkpoint_command", "");
}

fn nobody_else_sets_them(client: &mut Client) {
    for name in [
        "checkpoint_command",
        "checkpoint_file",
        "checkpoint_state",
        "checkpoint_witnesses",
    ] {
        for statement in ["ALTER SYSTEM SET", "SET"] {
            let error = refused(client, &format!("{statement} ward.{name} = 'x'"));
            assert_eq!(
                error.code().code(),
                "55P02",
                "{statement} {name}: {}",
                error.message()
            );
        }
    }
}

fn rewritten(cluster: &Cluster, client: &mut Client) {
    run(
        client,
        "CREATE TABLE saved_block AS SELECT * FROM ward.audit_block;
         CREATE TABLE saved_tile AS SELECT * FROM ward.audit_tile",
    );
    let kept = number(client, SEALED);
    run(client, "UPDATE t SET note = 'what nobody must know'");
    seal_and_verify(client);
    wait_published(client);
    let before = number(client, PUBLISHED);
    run(
        client,
        &format!(
            "BEGIN;
             DELETE FROM ward.audit_segment_000000 WHERE entry_id >= {kept};
             DELETE FROM ward.audit_tile; INSERT INTO ward.audit_tile SELECT * FROM saved_tile;
             DELETE FROM ward.audit_block; INSERT INTO ward.audit_block SELECT * FROM saved_block;
             DELETE FROM ward.audit_journal_0; DELETE FROM ward.audit_journal_1;
             COMMIT;
             INSERT INTO t SELECT g, 'b' FROM generate_series(10, 30) g"
        ),
    );
    wait_until("the worker seals the new end of the log", || {
        run(client, "SELECT ward.seal_audit_trail()");
        number(client, SEALED) > kept
    });
    let error = refused(client, "SELECT ward.audit_checkpoint()");
    assert_eq!(error.code().code(), "XX001", "{}", error.message());
    assert!(
        error.message().contains("contradicts"),
        "{}",
        error.message()
    );
    wait_until("the worker has refused, too", || {
        cluster
            .log()
            .contains("pg_ward publishes no checkpoint: the log contradicts")
    });
    assert_eq!(number(client, PUBLISHED), before);
    let state = text(client, STATE).unwrap();
    assert!(state.contains("contradicts"), "{state}");
}
