//! Verification in SQL by several processes finds what one finds.

use crate::audited_table;
use ward_tests::postgres::Client;
use ward_tests::{Cluster, Options, number, refused, run, seal_and_verify, tamper, texts, verify};

const FOUND: &str =
    "SELECT concat_ws('|', kind, block, entry, detail) FROM ward.audit_violations(jobs => {jobs})";

/// What `jobs` processes find.
fn found(client: &mut Client, jobs: u32) -> Vec<String> {
    texts(client, &FOUND.replace("{jobs}", &jobs.to_string()))
}

/// What one process finds, which is what any number of them finds.
fn same(client: &mut Client) -> Vec<String> {
    let alone = found(client, 1);
    for jobs in [2, 4] {
        assert_eq!(found(client, jobs), alone, "with {jobs} jobs");
    }
    run(client, "SET max_parallel_workers = 0");
    assert_eq!(found(client, 3), alone, "without workers");
    run(client, "RESET max_parallel_workers");
    alone
}

/// Some blocks whose leaves fill a few hundred pages.
fn long_log() -> (Cluster, Client) {
    let cluster = Cluster::with_extension_and(Options::default().set("log_min_messages", "debug1"));
    let mut client = cluster.superuser();
    audited_table(&mut client);
    for block in 0..4 {
        run(
            &mut client,
            &format!(
                "INSERT INTO t SELECT {block} * 4000 + g, 'a note' FROM generate_series(1, 4000) g;
                 UPDATE t SET note = 'another' WHERE id % 50 = 0;
                 SELECT ward.seal_audit_trail()"
            ),
        );
    }
    (cluster, client)
}

const FLIP: &str = "UPDATE leaves SET image = set_byte(image, 20, get_byte(image, 20) # 1)";

#[test]
fn any_number_of_processes_finds_the_same() {
    let (cluster, mut client) = long_log();
    assert_eq!(same(&mut client), [] as [&str; 0]);
    let workers = "parallel worker for PID";
    assert!(cluster.log().contains(workers), "no worker was started");
    let one = verify(&mut client);
    let entries = number(
        &mut client,
        "SELECT entries_checked FROM ward.verify_audit_trail_integrity(jobs => 3)",
    );
    assert_eq!(entries, one.entries_checked);

    // an interruption ends the workers, too, and the next verification is whole again
    // for this statement only: what comes after it may take longer on a busy machine
    run(&mut client, "BEGIN; SET LOCAL statement_timeout = '1ms'");
    let stopped = refused(
        &mut client,
        "SELECT ward.verify_audit_trail_integrity(jobs => 3)",
    );
    assert_eq!(stopped.code().code(), "57014");
    run(&mut client, "ROLLBACK");
    assert_eq!(same(&mut client), [] as [&str; 0]);
    // also within a savepoint of a transaction that has written and goes on writing
    run(
        &mut client,
        "BEGIN; INSERT INTO t VALUES (-1, 'x'); SAVEPOINT a;
         SELECT ward.verify_audit_trail_integrity(jobs => 2);
         INSERT INTO t VALUES (-2, 'x'); COMMIT",
    );
    // before anything is tampered with: nothing is to be sealed meanwhile
    seal_and_verify(&mut client);

    // the first and the last leaf of a block, and one between
    let borders = texts(
        &mut client,
        "SELECT e::text FROM ward.audit_block b, unnest(ARRAY[b.first_leaf + 5, b.tree_size - 3]) e
         WHERE block_no BETWEEN 1 AND 3 ORDER BY 1",
    );
    let changed: Vec<String> = borders
        .iter()
        .map(|entry| format!("{FLIP} WHERE entry_id = {entry} AND image IS NOT NULL"))
        .collect();
    tamper(&mut client, &changed.join(";"));
    let wrong = same(&mut client);
    assert!(wrong.len() >= 3, "{wrong:?}");
    let altered = |line: &String| line.starts_with("image_altered|");
    assert!(wrong.iter().all(altered), "{wrong:?}");
    tamper(&mut client, &changed.join(";"));
    seal_and_verify(&mut client);

    // rows out of order, doubled, and missing
    tamper(
        &mut client,
        "CREATE TABLE saved AS SELECT * FROM leaves;
         DELETE FROM leaves WHERE entry_id IN (7000, 7001);
         INSERT INTO leaves SELECT * FROM leaves WHERE entry_id = 100;
         UPDATE leaves SET entry_id = -5 WHERE entry_id = 15000",
    );
    let wrong = same(&mut client);
    for kind in ["entry_missing", "entry_duplicated"] {
        assert!(wrong.iter().any(|line| line.starts_with(kind)), "{wrong:?}");
    }
    tamper(
        &mut client,
        "DELETE FROM leaves; INSERT INTO leaves SELECT * FROM saved; DROP TABLE saved",
    );
    seal_and_verify(&mut client);
    assert_eq!(same(&mut client), [] as [&str; 0]);
}

#[test]
fn a_number_of_processes_is_a_number_from_1_to_64() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    for jobs in ["0", "-1", "65", "NULL", "2147483647"] {
        for function in [
            "verify_audit_trail_integrity",
            "audit_violations",
            "verify_audit_trail_incremental",
        ] {
            let error = refused(
                &mut client,
                &format!("SELECT ward.{function}(jobs => {jobs})"),
            );
            assert_eq!(error.code().code(), "22023", "{function}, {jobs}");
        }
    }
}
