//! What was ordered to be removed is removed wherever the log goes on: behind a dump and its restore, on a standby and
//! after its promotion. Nobody is accused of what an order accounts for, and archives still verify.

use crate::audit_identity::caught_up;
use crate::audit_retention::{
    SEGMENTS, UNFINISHED, archive, assert_honest, carried_out, insert, let_age, server_with,
    wait_published,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::Output;
use ward_tests::auditor::{Auditor, Said, check};
use ward_tests::postgres::Client;
use ward_tests::{
    Cluster, DATABASE, MasterKey, Options, SUPERUSER, number, random_key, refused, run, text,
    texts, verify, wait_until,
};

/// Orders to prune what was sealed up to the block that holds this many leaves.
fn prune_to(client: &mut Client, leaves: i64) -> i64 {
    let order = format!(
        "SELECT ward.prune_audit_trail((SELECT min(sealed_at) + interval '1 microsecond'
         FROM ward.audit_blocks WHERE tree_size >= {leaves}))"
    );
    number(client, &order)
}

/// Five segments: two are archived and pruned, a value of the fourth is erased. A reader holds the third and the
/// fourth, so that an order to prune the one and to erase a value of the other is not carried out.
struct Removals {
    auditor: Auditor,
    /// Checkpoints: when the archives were made, and when all was ordered.
    archived: String,
    held: String,
    archives: Vec<String>,
    reader: Client,
}

fn removals(cluster: &Cluster, client: &mut Client) -> Removals {
    let_age(client);
    insert(client, 1, 2500);
    insert(client, 2501, 3600);
    insert(client, 3601, 4700);
    wait_published(client);
    let auditor = Auditor::new(client);
    let archives = (0..4).map(|segment| archive(client, &auditor, segment));
    let archives = archives.collect();
    let archived = auditor.keep(client, "SELECT ward.audit_checkpoint()", "archived");
    assert_eq!(prune_to(client, 2048), 2);
    let erase = "SELECT ward.erase_audit_images('t', '3700', 'done before')";
    assert_eq!(number(client, erase), 1);
    carried_out(client);
    assert_eq!(number(client, SEGMENTS), 3);
    let mut reader = cluster.superuser();
    run(
        &mut reader,
        "BEGIN; SELECT FROM ward.audit_segment_000002 LIMIT 1; SELECT FROM ward.audit_segment_000003 LIMIT 1",
    );
    assert_eq!(prune_to(client, 3072), 1);
    run(
        client,
        "UPDATE t SET note = 'left behind' WHERE id = 3800;
         SELECT ward.erase_audit_images('t', '3800', 'not done yet')",
    );
    run(client, "SELECT ward.seal_audit_trail()");
    wait_published(client);
    assert_eq!(number(client, UNFINISHED), 2);
    assert_eq!(number(client, SEGMENTS), 3);
    assert_honest(client);
    let held = auditor.keep(client, "SELECT ward.audit_checkpoint()", "held");
    Removals {
        auditor,
        archived,
        held,
        archives,
        reader,
    }
}

/// What was removed, as the auditor sees it: the last entry that is pruned, and how many values are erased.
fn removed(said: &Said) -> (i64, i64) {
    assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
    assert_eq!(said.outcome["verdict"], "anchored", "{}", said.outcome);
    let removed = &said.outcome["removed"];
    let pruned = removed["pruned"].as_array().unwrap();
    let last = pruned.iter().map(|range| range["last"].as_i64().unwrap());
    (
        last.max().unwrap_or(0),
        removed["erased_values"].as_i64().unwrap(),
    )
}

/// Neither segments nor journals hold the values of the erased records.
fn assert_no_traces(client: &mut Client) {
    let tables = "SELECT c.relname::text || ' ' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                  WHERE c.relnamespace = 'ward'::regnamespace AND c.relkind = 'r' AND attname IN ('records', 'data')
                  AND relname ~ '^audit_(segment|journal)_[0-9]+$'";
    let tables = texts(client, tables);
    assert_eq!(tables.len(), 4, "{tables:?}");
    for table in &tables {
        let (table, column) = table.split_once(' ').unwrap();
        for value in ["note 3700", "note 3800", "left behind"] {
            let traces = format!(
                "SELECT count(*) FROM ward.{table} WHERE position('{value}'::bytea IN {column}) > 0"
            );
            assert_eq!(number(client, &traces), 0, "{value} in {table}");
        }
    }
}

/// Where the log has come to, what was ordered is done, and the log goes on with orders of its own.
fn goes_on(cluster: &Cluster, client: &mut Client, removals: &Removals) {
    carried_out(client);
    assert_eq!(number(client, SEGMENTS), 2);
    assert_honest(client);
    assert_no_traces(client);
    let auditor = &removals.auditor;
    let here = auditor.keep_now(client, "here");
    let said = check(cluster, auditor, &[&removals.held, &here]);
    assert_eq!(removed(&said), (3071, 3));
    let history = "SELECT operation FROM ward.audit_history('t', '3800') ORDER BY entry_id";
    assert_eq!(texts(client, history), ["INSERT", "UPDATE"]);

    // what was archived there is still part of the log, and so is what is archived here, where it signs under another name
    let partial = |file: &str, checkpoints: &[&str], key: &str| {
        let args = ["check", file, "--partial", "--key", key, "--json"];
        let kept = checkpoints.iter().flat_map(|file| ["--checkpoint", *file]);
        auditor.run(&args.into_iter().chain(kept).collect::<Vec<_>>())
    };
    for file in &removals.archives {
        let said = partial(file, &[&removals.archived, &removals.held], &auditor.key);
        assert_eq!(said.code, 0, "{file}: {}{}", said.outcome, said.error);
    }

    // new orders, about what came along
    insert(client, 5001, 6200);
    wait_published(client);
    let fresh = archive(client, auditor, 3);
    let now = auditor.keep_now(client, "now");
    let erase = "SELECT ward.erase_audit_images('t', '4650', 'ordered here')";
    assert_eq!(number(client, erase), 1);
    assert_eq!(prune_to(client, 4096), 1);
    carried_out(client);
    assert_eq!(number(client, SEGMENTS), 2);
    assert_honest(client);
    let later = auditor.keep_now(client, "later");
    let held = [&*removals.archived, &removals.held, &now, &later];
    let said = check(cluster, auditor, &held);
    // an update of the erased record lies behind the cut
    assert_eq!(removed(&said), (4095, 2));
    let key = text(client, "SELECT ward.audit_public_key()").unwrap();
    let said = partial(&fresh, &[&now], &key);
    assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
    assert_eq!(said.outcome["removed"]["erased_values"], 2);
}

fn with_key() -> impl Fn() -> Options {
    let key = MasterKey::private_file(&random_key());
    move || Options {
        master_key: key.clone(),
        ..Options::default()
    }
}

fn text_of(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_dump_taken_while_removals_are_not_carried_out_carries_them_out_elsewhere() {
    let options = with_key();
    let (source, mut client) = server_with(options());
    let mut removals = removals(&source, &mut client);
    let dump = source.client_program("pg_dump", DATABASE).output().unwrap();
    let dump = text_of(dump);
    assert!(!dump.contains("audit_segment_000000"));

    let target = Cluster::start(options().set("ward.checkpoint_interval", "0"));
    run(
        &mut target.client("postgres", SUPERUSER),
        &format!("CREATE DATABASE {DATABASE}"),
    );
    text_of(target.psql(&dump));
    let mut there = target.superuser();
    assert!(verify(&mut there).is_valid);
    goes_on(&target, &mut there, &removals);

    // where it was dumped, too
    run(&mut removals.reader, "COMMIT");
    carried_out(&mut client);
    assert_honest(&mut client);
    assert_no_traces(&mut client);
    // a dump of what is left brings nothing back
    let dump = text_of(source.client_program("pg_dump", DATABASE).output().unwrap());
    let copies = dump
        .lines()
        .filter(|line| line.starts_with("COPY ward.audit_segment_"));
    assert_eq!(copies.count(), 2);
    run(
        &mut target.client("postgres", SUPERUSER),
        "CREATE DATABASE later",
    );
    let mut psql = target.client_program("psql", "later");
    let file = removals.auditor.path("dump.sql");
    std::fs::write(&file, dump).unwrap();
    psql.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-f"]).arg(&file);
    text_of(psql.output().unwrap());
    let mut later = target.client("later", SUPERUSER);
    carried_out(&mut later);
    assert_honest(&mut later);
    assert_no_traces(&mut later);
}

#[test]
fn a_standby_verifies_while_its_primary_removes_and_carries_on_after_its_promotion() {
    let (primary, mut client) = server_with(with_key()());
    let standby = primary.standby();
    let mut there = standby.superuser();
    let removals = removals(&primary, &mut client);
    caught_up(&mut client, &mut there);
    assert_eq!(number(&mut there, UNFINISHED), 2);
    assert_honest(&mut there);
    let said = check(&standby, &removals.auditor, &[&removals.held]);
    assert_eq!(removed(&said).0, 3071, "what is ordered is shown");
    archive(&mut there, &removals.auditor, 3);
    for call in [
        "prune_audit_trail('-infinity')",
        "erase_audit_images('t', '1', 'r')",
        "set_audit_retention('1 day')",
    ] {
        let error = refused(&mut there, &format!("SELECT ward.{call}"));
        assert_eq!(error.code().code(), "25006", "{call}");
    }

    drop(client);
    drop(primary);
    run(&mut there, "SELECT pg_promote()");
    assert_honest(&mut there);
    run(&mut there, "INSERT INTO t VALUES (4999, 'after')");
    goes_on(&standby, &mut there, &removals);
}

/// A standby's verification that has looked at the log before a segment is pruned, and comes to the segments when it is
/// gone: a standby that lags replays both within no time. Here a lock of the primary makes it wait in between.
#[test]
fn segments_that_go_while_a_standby_begins_to_read() {
    let options = with_key()().set("max_standby_streaming_delay", "1s");
    let (primary, mut client) = server_with(options);
    let standby = primary.standby();
    let mut watcher = standby.superuser();
    let_age(&mut client);
    insert(&mut client, 1, 2500);
    wait_published(&mut client);
    let auditor = Auditor::new(&mut client);
    let held = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "held");
    let mut obstacle = primary.superuser();
    run(
        &mut obstacle,
        "BEGIN; LOCK TABLE ward.audit_shape IN ACCESS EXCLUSIVE MODE",
    );
    // so that the lock is in what the standby receives
    run(&mut client, "CREATE TABLE flushed ()");
    caught_up(&mut client, &mut watcher);
    let mut reader = standby.superuser();
    let verifying = std::thread::spawn(move || {
        let verify = "SELECT reason FROM ward.verify_audit_trail_integrity()";
        let row = reader.query_one(verify, &[]);
        row.map(|row| row.get::<_, Option<String>>(0))
    });
    let waiting = "SELECT pid::text FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ~ 'verify'";
    wait_until("the verification waits", || {
        texts(&mut watcher, waiting).len() == 1
    });
    let pid: i32 = texts(&mut watcher, waiting)[0].parse().unwrap();
    let pid = Pid::from_raw(pid);
    // another transaction has a snapshot
    let mut exporter = standby.superuser();
    run(
        &mut exporter,
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM ward.audit_blocks",
    );
    run(&mut watcher, "SELECT pg_wal_replay_pause()");
    let paused = "SELECT (pg_get_wal_replay_pause_state() = 'paused')::int::bigint";
    wait_until("the replay has paused", || {
        number(&mut watcher, paused) == 1
    });
    run(&mut obstacle, "COMMIT");
    assert_eq!(prune_to(&mut client, 2048), 2);
    run(&mut client, "SELECT ward.seal_audit_trail()");
    wait_until("the segments are gone", || {
        number(&mut client, SEGMENTS) == 1
    });
    let end = text(&mut client, "SELECT pg_current_wal_lsn()::text").unwrap();
    kill(pid, Signal::SIGSTOP).unwrap();
    run(&mut watcher, "SELECT pg_wal_replay_resume()");
    // the replay waits for who holds what it takes away
    let replayed = format!(
        "SELECT (pg_last_wal_replay_lsn() >= '{end}' OR EXISTS (SELECT FROM pg_stat_activity
         WHERE backend_type = 'startup' AND (wait_event_type = 'Lock' OR wait_event ~ 'Conflict')))::int::bigint"
    );
    wait_until("the standby has replayed what it can", || {
        number(&mut watcher, &replayed) == 1
    });
    kill(pid, Signal::SIGCONT).unwrap();
    match verifying.join().unwrap() {
        Ok(reason) => assert_eq!(reason, None),
        // the standby's replay had to go on
        Err(error) => assert!(error.code().unwrap().code().starts_with("40"), "{error}"),
    }
    caught_up(&mut client, &mut watcher);
    // the replay may have ended that transaction, too
    let export = exporter.query("SELECT ward.export_audit_trail(0)", &[]);
    let code = export
        .unwrap_err()
        .code()
        .map(|code| code.code().to_owned());
    assert!(code.is_none_or(|code| code == "40001"));
    assert_honest(&mut watcher);
    let ordered = auditor.keep_now(&mut client, "ordered");
    let said = check(&standby, &auditor, &[&held, &ordered]);
    assert_eq!(removed(&said).0, 2047);
}
