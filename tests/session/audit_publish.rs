//! Checkpoints leave the server by themselves, come back cosigned, and are not signed for a history that was rewritten.

use crate::audited_table;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use ward_tests::auditor::{Auditor, export, program};
use ward_tests::postgres::Client;
use ward_tests::rewrite::{put_back, save, write_on};
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
    said.is("anchored");

    a_memory_is_kept_outside(&cluster, &mut client, &state);
    cosigned(&cluster, &mut client, &auditor, &file);
    drop(client);
    a_command_that_hangs_delays_nothing(&cluster);
    let mut client = cluster.superuser();
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
    write_program(&at("cosign"), &script);
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
    said.is("cosigned");
    // an answer of somebody else counts for nothing, and a command that fails or is refused stops nothing
    write_program(&at("fails"), "#!/bin/sh\nexit 3\n");
    let open = at("open");
    write_program(&open, "#!/bin/sh\n");
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let commands = [
        (
            "/bin/echo \u{2014} witness.example/w AAAA",
            "answered without a cosignature of a witness in ward.checkpoint_witnesses",
        ),
        (&at("fails"), "failed: it exited with status 3"),
        ("echo x", "failed: its program is not an absolute path"),
        (
            "/bin/echo x; id",
            "failed: it contains ';', which is for a shell",
        ),
        (&open, "failed: group or others may write to"),
    ];
    for (command, complaint) in commands {
        configure(cluster, client, "ward.checkpoint_command", command);
        run(client, "UPDATE t SET note = 'd'");
        seal_and_verify(client);
        wait_published(client);
        wait_until(complaint, || {
            let complaint = format!("ward.checkpoint_command {complaint}");
            cluster.log().contains(&complaint)
        });
    }
    let state = text(client, STATE).unwrap();
    assert!(state.contains(" leaves published, "), "{state}");
    let cosigned = "SELECT count(*) FROM ward.audit_checkpoints WHERE cosigned_by <> '{}'";
    assert_eq!(number(client, cosigned), 2);
    configure(cluster, client, "ward.checkpoint_command", "");
}

fn write_program(path: &str, script: &str) {
    fs::write(path, script).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// While it runs, entries are sealed, and the database can be copied, which needs that nobody is connected to it.
fn a_command_that_hangs_delays_nothing(cluster: &Cluster) {
    while_a_command_hangs(cluster, "sealing", |_| {
        let mut client = cluster.superuser();
        let sealed = number(&mut client, SEALED);
        run(&mut client, "UPDATE t SET note = 'f'");
        seal_and_verify(&mut client);
        assert!(number(&mut client, SEALED) > sealed);
    });
    while_a_command_hangs(cluster, "copying", |attempt| {
        let copy = format!("CREATE DATABASE copy_{attempt} TEMPLATE app");
        run(&mut cluster.client("postgres", "postgres"), &copy);
    });
}

/// Fails the test if `work` ends only when the command does. The server ends it after 10 seconds, which may be too
/// short for the work of a slow machine: it has some attempts. Who waits for the command needs longer in each of them.
fn while_a_command_hangs(cluster: &Cluster, name: &str, work: impl Fn(u32)) {
    let not_waited_for = (0..5).any(|attempt| {
        let home = outside(cluster, &format!("{name}-{attempt}"));
        let at = |name: &str| home.join(name).display().to_string();
        let (started, go) = (at("started"), at("go"));
        write_program(
            &at("hang"),
            &format!(
                "#!/bin/sh\necho $$ > {started}.new\nmv {started}.new {started}\n\
                 while [ ! -e {go} ]; do sleep 0.1; done\n"
            ),
        );
        let mut client = cluster.superuser();
        configure(cluster, &mut client, "ward.checkpoint_command", &at("hang"));
        run(
            &mut client,
            &format!("UPDATE t SET note = 'e {name} {attempt}'"),
        );
        wait_until("the command runs", || Path::new(&started).exists());
        drop(client);
        let pid = fs::read_to_string(&started).unwrap();
        let running = Path::new("/proc").join(pid.trim());
        work(attempt);
        let still_runs = running.exists();
        fs::write(&go, "").unwrap();
        wait_until("the command has ended", || !running.exists());
        let mut client = cluster.superuser();
        configure(cluster, &mut client, "ward.checkpoint_command", "");
        wait_published(&mut client);
        still_runs
    });
    assert!(not_waited_for, "the command was waited for");
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
    save(client);
    let kept = number(client, SEALED);
    run(client, "UPDATE t SET note = 'what nobody must know'");
    seal_and_verify(client);
    wait_published(client);
    let before = number(client, PUBLISHED);
    put_back(client, kept);
    write_on(client, kept);
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

/// A log that was put back is signed again under a size that a former one was cosigned at.
#[test]
fn a_checkpoint_that_is_signed_again_is_not_called_cosigned() {
    let mut cluster =
        Cluster::with_extension_and(Options::default().set("ward.checkpoint_interval", "0"));
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'a')");
    seal_and_verify(&mut client);
    wait_published(&mut client);
    run(
        &mut client,
        "UPDATE ward.audit_checkpoints SET cosigned_by = '{witness.example/w}', signed_at = '2000-01-01';
         INSERT INTO ward.audit_checkpoints (origin, tree_size, note)
             SELECT origin, tree_size + 100, note FROM ward.audit_checkpoints ORDER BY tree_size DESC LIMIT 1",
    );
    drop(client);
    // the next worker does not know what was published
    cluster.restart();
    let mut client = cluster.superuser();
    let again = "SELECT count(*) FROM ward.audit_checkpoints
        WHERE tree_size = (SELECT max(tree_size) FROM ward.audit_blocks) AND signed_at > '2000-01-01'";
    wait_until("it is signed again", || {
        run(&mut client, "SELECT ward.seal_audit_trail()");
        number(&mut client, again) == 1
    });
    let cosigned = format!("{again} AND cosigned_by <> '{{}}'");
    assert_eq!(number(&mut client, &cosigned), 0);
}
