//! Verification in SQL takes no more memory for a longer log.

use crate::audited_table;
use std::fs;
use ward_tests::postgres::Client;
use ward_tests::{Cluster, number, run, seal_and_verify, verify};

/// Writes and seals a block of 20,000 rows.
fn block(client: &mut Client, number: i64) {
    run(
        client,
        &format!(
            "INSERT INTO t SELECT {number} * 20000 + g, md5(g::text) || md5((g + 1)::text) || md5((g + 2)::text)
             FROM generate_series(1, 20000) g;
             SELECT ward.seal_audit_trail()"
        ),
    );
}

/// How much memory of its own a session has had at most when it has verified the log, in kB.
fn peak(cluster: &Cluster) -> i64 {
    let mut client = cluster.superuser();
    assert!(verify(&mut client).is_valid);
    let pid = number(&mut client, "SELECT pg_backend_pid()::bigint");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kb = |name: &str| -> i64 {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    // what is shared only grows while a session lasts
    kb("VmHWM:") - kb("RssShmem:") - kb("RssFile:")
}

#[test]
fn memory_does_not_grow_with_the_log() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    block(&mut client, 0);
    seal_and_verify(&mut client);
    let short = peak(&cluster);
    for number in 1..8 {
        block(&mut client, number);
    }
    let read = "SELECT sum(length(records))::bigint FROM ward.audit_segment_000000";
    let read = number(&mut client, read);
    assert!(read > 30 << 20, "{read}");
    let long = peak(&cluster);
    assert!(
        long < short + 4096,
        "{short} kB, and {long} kB for 8 times as much"
    );
}
