//! Crashes while what was ordered is removed: it is done afterwards, nothing else is, and no verification in between
//! accuses anybody.

use crate::audit_retention::{
    UNFINISHED, assert_honest, carried_out, insert, let_age, server, wait_published,
};
use std::thread;
use std::time::Duration;
use ward_tests::auditor::{Auditor, check};
use ward_tests::postgres::{Client, NoTls};
use ward_tests::{Cluster, DATABASE, SUPERUSER, kill_process, number, run, texts, wait_until};

/// The values of the first column of an erased record, in the segments.
fn traces(client: &mut Client, value: &str) -> i64 {
    let segments = "SELECT relname::text FROM pg_class
                    WHERE relnamespace = 'ward'::regnamespace AND relname ~ '^audit_segment_[0-9]+$'";
    let mut found = 0;
    for segment in texts(client, segments) {
        let query = format!(
            "SELECT count(*) FROM ward.{segment} WHERE position('{value}'::bytea IN records) > 0"
        );
        found += number(client, &query);
    }
    found
}

/// Whether a segment is there.
fn is_there(client: &mut Client, segment: i64) -> i64 {
    let query = format!(
        "SELECT count(*) FROM pg_class WHERE oid = to_regclass('ward.audit_segment_{segment:06}')"
    );
    number(client, &query)
}

/// Ends every server process at once and starts the server again.
fn crash(cluster: &mut Cluster) -> Client {
    cluster.kill9();
    cluster.start_again().expect("the server starts again");
    cluster.superuser()
}

#[test]
fn a_crash_when_half_of_the_segments_are_pruned_and_rewritten() {
    let (mut cluster, mut client) = server();
    let_age(&mut client);
    // a record with a value in each of the segments 2 to 4, of seven
    insert(&mut client, 1, 2100);
    for from in [2101, 3101, 4101, 5101] {
        run(
            &mut client,
            &format!("UPDATE t SET note = 'secret {from}' WHERE id = 7"),
        );
        insert(&mut client, from, from + 999);
    }
    wait_published(&mut client);
    let auditor = Auditor::new(&mut client);
    let held = auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", "held");
    // the first segment and the one in the middle are being read
    let mut reader = cluster.superuser();
    run(
        &mut reader,
        "BEGIN; SELECT FROM ward.audit_segment_000000 LIMIT 1; SELECT FROM ward.audit_segment_000003 LIMIT 1",
    );
    let prune = "SELECT ward.prune_audit_trail((SELECT min(sealed_at) + interval '1 microsecond'
                 FROM ward.audit_blocks WHERE tree_size >= 2100))";
    assert_eq!(number(&mut client, prune), 2);
    run(
        &mut client,
        "SELECT ward.erase_audit_images('t', '7', 'request 21'); SELECT ward.seal_audit_trail()",
    );
    wait_until("the worker did what it could", || {
        is_there(&mut client, 1) == 0 && traces(&mut client, "secret ") == 1
    });
    assert_eq!(is_there(&mut client, 0), 1);
    assert_honest(&mut client);
    let mut client = crash(&mut cluster);
    assert_honest(&mut client);
    let said = check(&cluster, &auditor, &[&held]);
    assert_eq!(said.code, 3, "nothing vouches for the orders yet");
    let ordered = auditor.keep_now(&mut client, "ordered");
    let said = check(&cluster, &auditor, &[&held, &ordered]);
    assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
    // nobody reads any more
    carried_out(&mut client);
    assert_eq!(is_there(&mut client, 0), 0);
    assert_eq!(traces(&mut client, "secret "), 0);
    assert_honest(&mut client);
    let removed = "SELECT pruned_entries || ' ' || erased_images FROM ward.audit_retention";
    assert_eq!(texts(&mut client, removed), ["2048 4"]);
    let mut client = crash(&mut cluster);
    assert_honest(&mut client);
    let said = check(&cluster, &auditor, &[&held, &ordered]);
    assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
    assert_eq!(said.outcome["removed"]["erased_values"], 4);
}

/// Ends the sealing worker with SIGKILL, upon which the postmaster ends all other processes and starts anew.
fn kill_worker(cluster: &Cluster, mut client: Client) -> Client {
    let worker = "SELECT pid::text FROM pg_stat_activity WHERE backend_type = 'pg_ward sealer'";
    let Some(pid) = texts(&mut client, worker).pop() else {
        return client;
    };
    // it may be leaving by itself, and nothing happens
    kill_process(pid.parse().unwrap());
    let config = cluster.config(DATABASE, SUPERUSER);
    let mut client = None;
    wait_until("the server is back", || {
        client = config.connect(NoTls).ok();
        client.is_some()
    });
    client.expect("the server is back")
}

#[test]
fn kill_9_of_the_worker_and_the_server_while_segments_are_removed() {
    let (mut cluster, mut client) = server();
    cluster.tolerate_kill_9();
    let_age(&mut client);
    let auditor = Auditor::new(&mut client);
    let mut next = 1;
    let mut held = Vec::new();
    for round in 0..8u64 {
        insert(&mut client, next, next + 2999);
        wait_published(&mut client);
        let name = format!("held {round}");
        held.push(auditor.keep(&mut client, "SELECT ward.audit_checkpoint()", &name));
        // everything but the last two segments, and values in those that stay
        run(
            &mut client,
            &format!(
                "BEGIN;
                 SELECT ward.erase_audit_images('t', g::text, 'round {round}') FROM generate_series({next} + 2000, {next} + 2999, 77) g;
                 SELECT ward.prune_audit_trail((SELECT coalesce(max(sealed_at), '-infinity') FROM ward.audit_blocks WHERE tree_size <= {next}));
                 COMMIT"
            ),
        );
        next += 3000;
        // the worker is at it, or about to
        let mut other = cluster.superuser();
        let asked = thread::spawn(move || other.batch_execute("SELECT ward.seal_audit_trail()"));
        thread::sleep(Duration::from_millis(round * 17));
        if round % 2 == 0 {
            client = kill_worker(&cluster, client);
        } else {
            client = crash(&mut cluster);
        }
        let _ = asked.join().expect("no panic");
        assert_honest(&mut client);
        held.push(auditor.keep_now(&mut client, &format!("after {round}")));
        let checkpoints: Vec<&str> = held.iter().map(String::as_str).collect();
        let said = check(&cluster, &auditor, &checkpoints);
        assert_eq!(said.code, 0, "{}{}", said.outcome, said.error);
        assert_eq!(said.outcome["verdict"], "anchored");
    }
    carried_out(&mut client);
    assert_honest(&mut client);
    assert_eq!(number(&mut client, UNFINISHED), 0);
}
