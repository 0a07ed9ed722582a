//! The log goes on elsewhere: after a promotion, a recovery to a point in time, a copy, a dump, an upgrade; and the
//! clock is set back. Nothing is lost or reported as tampered with, and who holds a checkpoint learns what happened.

use crate::{ENTRIES_OF_T, audited_table};
use std::fs;
use std::path::Path;
use std::process::Command;
use ward_tests::auditor::{Auditor, check, export};
use ward_tests::postgres::Client;
use ward_tests::{
    Cluster, DATABASE, MasterKey, Options, SUPERUSER, ServerFiles, number, random_key, refused,
    run, seal_and_verify, text, texts, verify, wait_until,
};

const SEALED: &str = "SELECT max(tree_size) FROM ward.audit_blocks";
const REASONS: &str = "SELECT reason FROM ward.audit_log ORDER BY left_at, new_xids";
const SIGNER: &str = "SELECT state FROM ward.audit_signer_state()";

/// Waits until a standby has replayed what its primary has written.
pub fn caught_up(primary: &mut Client, standby: &mut Client) {
    let position = text(primary, "SELECT pg_current_wal_lsn()::text").unwrap();
    wait_until("the standby has replayed it", || {
        let replayed = format!("SELECT (pg_last_wal_replay_lsn() >= '{position}')::int::bigint");
        number(standby, &replayed) == 1
    });
}

#[test]
fn a_standby_verifies_and_goes_on_after_its_promotion_with_a_prepared_transaction() {
    let primary = Cluster::with_extension();
    let mut client = primary.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'a')");
    seal_and_verify(&mut client);
    let standby = primary.standby();
    let mut there = standby.superuser();
    run(
        &mut client,
        "BEGIN; INSERT INTO t VALUES (2, 'prepared'); PREPARE TRANSACTION 'p';
         INSERT INTO t VALUES (3, 'not sealed')",
    );
    seal_and_verify(&mut client);
    caught_up(&mut client, &mut there);
    // read-only
    assert!(verify(&mut there).is_valid);
    assert_eq!(number(&mut there, ENTRIES_OF_T), 2);
    assert_eq!(
        refused(&mut there, "SELECT ward.declare_restore('on a standby')")
            .code()
            .code(),
        "25006"
    );
    let auditor = Auditor::new(&mut client);
    let before = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "before");
    let kept = number(&mut there, SEALED);

    // what comes now does not reach the standby
    run(&mut there, "ALTER SYSTEM SET primary_conninfo = ''");
    run(&mut there, "SELECT pg_reload_conf()");
    wait_until("the standby receives no more", || {
        number(&mut there, "SELECT count(*) FROM pg_stat_wal_receiver") == 0
    });
    run(&mut client, "INSERT INTO t VALUES (4, 'lost')");
    seal_and_verify(&mut client);
    let lost = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "lost");
    drop(client);
    drop(primary);
    run(&mut there, "SELECT pg_promote()");
    run(&mut there, "INSERT INTO t VALUES (5, 'after')");
    run(&mut there, "COMMIT PREPARED 'p'");
    seal_and_verify(&mut there);
    assert_eq!(number(&mut there, ENTRIES_OF_T), 4);
    assert_eq!(texts(&mut there, REASONS), ["created", "promoted"]);

    let said = check(&standby, &auditor, &[&before]);
    said.is("anchored");
    let said = check(&standby, &auditor, &[&before, &lost]);
    said.finds("lost_at_failover", 4, "lost_at_failover", kept);
    // an export from the failover on does not have the leaf that began the former history
    let part = export(&standby, &auditor, kept);
    let args = [
        "check",
        &part,
        "--partial",
        "--key",
        &auditor.key,
        "--checkpoint",
        &lost,
        "--json",
    ];
    let said = auditor.run(&args);
    said.finds("lost_at_failover", 4, "lost_at_failover", kept);
    // the new history is signed under another name, with the same key
    let new = auditor.keep(&mut there, "SELECT ward.audit_checkpoint()", "new");
    let said = check(&standby, &auditor, &[&new]);
    said.is("anchored");
    run(
        &mut there,
        "SELECT ward.declare_restore('db2 took over from db1')",
    );
    seal_and_verify(&mut there);
    let said = check(&standby, &auditor, &[&lost]);
    said.finds("restored_declared", 4, "restored_declared", kept);
    assert_eq!(said.outcome["restores"][0]["roles"][0], SUPERUSER);
}

#[test]
fn a_recovery_to_a_point_in_time_is_signed_only_when_it_is_declared() {
    let files = ServerFiles::new();
    let archive = files.directory("archive", 0o700);
    let state = files.directory("state", 0o700);
    let cluster = Cluster::with_extension_and(
        Options::default()
            .set("archive_mode", "on")
            .set(
                "archive_command",
                &format!("cp %p {}/%f", archive.display()),
            )
            .set("ward.checkpoint_interval", "-1")
            .set("ward.checkpoint_state", &state.display().to_string()),
    );
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'a')");
    seal_and_verify(&mut client);
    let mut restored = cluster.backup();
    run(&mut client, "INSERT INTO t VALUES (2, 'b')");
    seal_and_verify(&mut client);
    let auditor = Auditor::new(&mut client);
    let agreed = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "agreed");
    let kept = number(&mut client, SEALED);
    run(
        &mut client,
        "SELECT pg_create_restore_point('good'); DELETE FROM t",
    );
    seal_and_verify(&mut client);
    let lost = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "lost");
    assert_eq!(text(&mut client, SIGNER).as_deref(), Some("ready"));
    // the file by name: whatever is written later begins another one, which is not archived before it is full
    let last = text(&mut client, "SELECT pg_walfile_name(pg_switch_wal() - 1)").unwrap();
    let archived =
        format!("SELECT count(*) FROM pg_stat_archiver WHERE last_archived_wal >= '{last}'");
    wait_until("the log is archived", || {
        number(&mut client, &archived) == 1
    });
    drop(client);
    drop(cluster);

    restored.append_settings(&format!(
        "archive_mode = off\nrestore_command = 'cp {}/%f %p'\nrecovery_target_name = 'good'\n\
         recovery_target_action = 'promote'\n",
        archive.display()
    ));
    let signal = restored.data_directory().join("recovery.signal");
    fs::write(&signal, "").unwrap();
    files.own(&signal, 0o600);
    restored
        .start_again()
        .unwrap_or_else(|failure| panic!("{}", failure.log));
    let mut client = restored.superuser();
    wait_until("the recovery has ended", || {
        number(&mut client, "SELECT pg_is_in_recovery()::int::bigint") == 0
    });
    run(&mut client, "INSERT INTO t VALUES (3, 'after')");
    seal_and_verify(&mut client);
    assert_eq!(
        texts(&mut client, REASONS),
        ["created", "recovered: at restore point \"good\""]
    );
    let said = check(&restored, &auditor, &[&agreed, &lost]);
    said.finds("restored_undeclared", 1, "restored_undeclared", kept);
    let error = refused(&mut client, "SELECT ward.audit_checkpoint()");
    assert_eq!(error.code().code(), "XX001", "{}", error.message());
    assert_eq!(text(&mut client, SIGNER).as_deref(), Some("refused"));

    declared(&restored, &auditor, [&agreed, &lost], kept, &state);
}

/// A declaration says which entries may be gone, and the signer begins anew.
fn declared(
    cluster: &Cluster,
    auditor: &Auditor,
    [agreed, lost]: [&str; 2],
    kept: i64,
    state: &Path,
) {
    let mut client = cluster.superuser();
    for (call, code) in [
        ("ward.declare_restore(NULL)", "22023"),
        ("ward.declare_restore('  ')", "22023"),
        ("ward.declare_restore(repeat('x', 4097))", "22023"),
        ("ward.declare_restore('x', 0)", "22023"),
        ("ward.declare_restore('x', -1)", "22023"),
        ("ward.declare_restore('x', 1)", "22023"),
        ("ward.declare_restore('x', 1000000)", "22023"),
    ] {
        let error = refused(&mut client, &format!("SELECT {call}"));
        assert_eq!(error.code().code(), code, "{call}: {}", error.message());
    }
    run(
        &mut client,
        "BEGIN; SELECT ward.declare_restore('never mind'); ROLLBACK",
    );
    seal_and_verify(&mut client);
    assert_eq!(text(&mut client, SIGNER).as_deref(), Some("refused"));
    let size = number(
        &mut client,
        "SELECT ward.declare_restore('DELETE without WHERE, ticket 7; decided by É. Roux')",
    );
    assert_eq!(size, kept);
    seal_and_verify(&mut client);
    assert_eq!(texts(&mut client, REASONS).len(), 3);
    let shown = "SELECT new_values->>'reason' || ' ' || session_role FROM ward.audit_trail WHERE operation = 'RESTORE'";
    assert_eq!(
        texts(&mut client, shown),
        ["DELETE without WHERE, ticket 7; decided by É. Roux postgres"]
    );
    assert_eq!(text(&mut client, SIGNER).as_deref(), Some("ready"));
    let new = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "new");
    let former = fs::read_dir(state)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let former: Vec<_> = former
        .filter(|file| file.extension().is_some_and(|end| end == "former"))
        .collect();
    assert_eq!(
        fs::read_to_string(&former[0]).unwrap().trim_end(),
        fs::read_to_string(lost).unwrap().trim_end()
    );
    let said = check(cluster, auditor, &[agreed, lost, &new]);
    said.finds("restored_declared", 4, "restored_declared", kept);
    let restore = &said.outcome["restores"][0];
    assert_eq!(restore["restored_size"], kept);
    assert_eq!(
        restore["reason"],
        "DELETE without WHERE, ticket 7; decided by É. Roux"
    );
    // who has seen that need not be told again
    let said = check(cluster, auditor, &[agreed, &new]);
    said.is("anchored");
}

/// Transaction ids that a fresh cluster has not come to yet.
fn spend_xids(client: &mut Client) {
    run(
        client,
        "DO $$ BEGIN FOR i IN 1..3000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$",
    );
}

#[test]
fn a_dump_restored_into_a_fresh_cluster_goes_on() {
    let key = MasterKey::private_file(&random_key());
    let options = || Options {
        master_key: key.clone(),
        ..Options::default()
    };
    let source = Cluster::with_extension_and(options());
    let mut client = source.superuser();
    audited_table(&mut client);
    spend_xids(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'sealed')");
    seal_and_verify(&mut client);
    let auditor = Auditor::new(&mut client);
    let agreed = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "agreed");
    let kept = number(&mut client, SEALED);
    // the worker cannot seal, so the dump has an entry that is not sealed
    let mut obstacle = source.superuser();
    run(
        &mut obstacle,
        "BEGIN; LOCK TABLE ward.audit_block IN SHARE ROW EXCLUSIVE MODE",
    );
    run(&mut client, "INSERT INTO t VALUES (2, 'not sealed')");
    let dump = source.client_program("pg_dump", DATABASE).output().unwrap();
    assert!(dump.status.success(), "{dump:?}");
    run(&mut obstacle, "COMMIT");
    run(&mut client, "INSERT INTO t VALUES (9, 'after the dump')");
    seal_and_verify(&mut client);
    let later = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "later");

    let target = Cluster::start(options());
    run(
        &mut target.client("postgres", SUPERUSER),
        &format!("CREATE DATABASE {DATABASE}"),
    );
    let restored = target.psql(&String::from_utf8(dump.stdout).unwrap());
    assert!(restored.status.success(), "{restored:?}");
    let mut client = target.superuser();
    // the first writers wait until the old history is closed
    let mut other = target.superuser();
    std::thread::scope(|scope| {
        scope.spawn(|| run(&mut other, "INSERT INTO t VALUES (4, 'other')"));
        run(&mut client, "INSERT INTO t VALUES (3, 'after')");
    });
    seal_and_verify(&mut client);
    run(&mut client, "UPDATE t SET note = 'later'");
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 8);
    let differing = "SELECT count(*) FROM ward.verify_current_rows('t')";
    assert_eq!(number(&mut client, differing), 0);
    assert_eq!(texts(&mut client, REASONS), ["created", "transferred"]);
    let ids =
        "SELECT transaction_id FROM ward.audit_trail WHERE table_name = 't' ORDER BY entry_id";
    let ids: Vec<i64> = client
        .query(ids, &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(
        ids[2] < ids[0],
        "the transaction ids were not counted anew: {ids:?}"
    );

    let said = check(&target, &auditor, &[&agreed]);
    said.is("anchored");
    let said = check(&target, &auditor, &[&later]);
    said.finds("restored_undeclared", 1, "restored_undeclared", kept);
    let size = number(
        &mut client,
        "SELECT ward.declare_restore('moved to new hardware')",
    );
    assert_eq!(size, kept);
    seal_and_verify(&mut client);
    let said = check(&target, &auditor, &[&agreed, &later]);
    said.finds("restored_declared", 4, "restored_declared", kept);
    // what was written there cannot be written here again
    let partial = export(&target, &auditor, number(&mut client, SEALED) - 1);
    assert_eq!(auditor.run(&["check", &partial, "--partial"]).code, 3);
}

/// Two tenants with a row each, which only an application with the key may read.
const ISOLATED_AND_ENCRYPTED: &str = "
    CREATE ROLE app LOGIN;
    SELECT ward.generate_encryption_key('people', grantee => 'app');
    SELECT ward.grant_key('people', 'postgres', '{encrypt,search}');
    CREATE TABLE people (id int PRIMARY KEY, tenant_id text, email ward.encrypted_text('people'), note bytea);
    CREATE INDEX ON people (tenant_id);
    INSERT INTO people SELECT n, tenant, tenant || '@example.com', ward.encrypt('note of ' || tenant, 'people')
        FROM (VALUES (1, 'acme'), (2, 'globex')) AS t (n, tenant);
    SELECT ward.enable_tenant_isolation('people'); SELECT ward.enable_audit('people');
    GRANT SELECT, INSERT ON people TO app";

/// The application reads its tenant's row by the encrypted value, and writes another.
fn isolated_and_encrypted_still(cluster: &Cluster, tenant: &str) {
    let mut app = cluster.client(DATABASE, "app");
    let context = format!("BEGIN; SELECT ward.set_tenant_context('{tenant}')");
    run(&mut app, &context);
    run(
        &mut app,
        "INSERT INTO people (id, email) SELECT max(id) + 10, 'after@example.com' FROM people",
    );
    let query = format!(
        "SELECT email::text || ' ' || ward.decrypt(note) || ' ' || tenant_id FROM people
         WHERE email = '{tenant}@example.com'"
    );
    let expected = format!("{tenant}@example.com note of {tenant} {tenant}");
    assert_eq!(texts(&mut app, &query), [expected]);
    assert_eq!(number(&mut app, "SELECT count(*) FROM people"), 2);
    run(&mut app, "COMMIT");
}

#[test]
fn an_upgraded_cluster_goes_on() {
    let key = MasterKey::private_file(&random_key());
    let options = || Options {
        master_key: key.clone(),
        ..Options::default()
    };
    let mut old = Cluster::with_extension_and(options());
    let mut client = old.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "INSERT INTO t SELECT g, 'before' FROM generate_series(1, 400) g; DELETE FROM t WHERE id > 100",
    );
    run(&mut client, ISOLATED_AND_ENCRYPTED);
    seal_and_verify(&mut client);
    let auditor = Auditor::new(&mut client);
    let held = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "held");
    drop(client);
    old.stop();
    let mut new = old.upgraded(options());
    new.start_again()
        .unwrap_or_else(|failure| panic!("{}", failure.log));
    let mut client = new.superuser();
    let found = texts(&mut client, "SELECT v::text FROM ward.audit_violations() v");
    assert_eq!(found, [""; 0]);
    run(&mut client, "UPDATE t SET note = 'after' WHERE id <= 10");
    for tenant in ["acme", "globex"] {
        isolated_and_encrypted_still(&new, tenant);
    }
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 710);
    let written = "SELECT count(*) FROM ward.audit_trail WHERE table_name = 'people' AND tenant_id IS NOT NULL";
    assert_eq!(number(&mut client, written), 2);
    let isolated = "SELECT status FROM ward.check_rls_status() WHERE tablename = 'people'";
    assert_eq!(texts(&mut client, isolated), ["ok"]);
    assert_eq!(texts(&mut client, REASONS), ["created", "transferred"]);
    let said = check(&new, &auditor, &[&held]);
    said.is("anchored");
}

/// Lets a program see another time: a file holds how many seconds off the clock is.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    static int (*real)(struct timeval *, void *);
    if (!real)
        real = (int (*)(struct timeval *, void *)) dlsym(RTLD_NEXT, "gettimeofday");
    int result = real(now, zone);
    const char *name = getenv("WARD_TEST_CLOCK");
    FILE *file = name ? fopen(name, "r") : NULL;
    long seconds = 0;
    if (file)
    {
        if (fscanf(file, "%ld", &seconds) == 1)
            now->tv_sec += seconds;
        fclose(file);
    }
    return result;
}
"#;

#[test]
fn the_clock_set_back_does_not_make_later_blocks_older() {
    let files = ServerFiles::new();
    let source = files.write("clock.c", CLOCK, 0o600);
    let library = files.path().join("clock.so");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .output()
        .unwrap();
    assert!(compiled.status.success(), "{compiled:?}");
    files.own(&library, 0o700);
    let offset = files.write("offset", "0", 0o600);
    let environment = [
        ("LD_PRELOAD", library.display().to_string()),
        ("WARD_TEST_CLOCK", offset.display().to_string()),
    ];
    let cluster = Cluster::with_extension_and(Options {
        environment: environment
            .map(|(name, value)| (name.to_owned(), value))
            .to_vec(),
        ..Options::default()
    });
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'now')");
    seal_and_verify(&mut client);
    let day = "SELECT extract(epoch FROM clock_timestamp())::bigint / 86400";
    let today = number(&mut client, day);
    fs::write(&offset, "-864000").unwrap();
    // or nine, when midnight has passed in between
    let then = number(&mut client, day);
    assert!((today - 10..today - 8).contains(&then), "{then}, {today}");
    run(&mut client, "INSERT INTO t VALUES (2, 'ten days ago')");
    seal_and_verify(&mut client);
    fs::write(&offset, "0").unwrap();
    run(&mut client, "INSERT INTO t VALUES (3, 'now again')");
    seal_and_verify(&mut client);
    let back = "SELECT count(*) FROM ward.audit_blocks a JOIN ward.audit_blocks b USING (block_no)
                WHERE EXISTS (SELECT FROM ward.audit_blocks c WHERE c.block_no < a.block_no AND c.sealed_at > a.sealed_at)";
    assert_eq!(number(&mut client, back), 0);
    assert_eq!(number(&mut client, ENTRIES_OF_T), 3);
    let sealed_today = format!(
        "SELECT count(*) FROM ward.audit_blocks WHERE extract(epoch FROM sealed_at)::bigint / 86400 < {today}"
    );
    assert_eq!(number(&mut client, &sealed_today), 0);
}
