//! `ward.erase_audit_images()` finds a record's entries by the index, and without it where that does not fit.

use crate::audited_table;
use ward_tests::postgres::Client;
use ward_tests::{Cluster, Options, number, run, wait_until_sealers_left};

/// Pages of the segment that the statement reads.
fn pages_read(client: &mut Client, statement: &str) -> i64 {
    let read = "SELECT (heap_blks_read + heap_blks_hit)::bigint FROM pg_statio_user_tables
                WHERE relname = 'audit_segment_000000'";
    let now = |client: &mut Client| {
        run(client, "SELECT pg_stat_force_next_flush()");
        run(client, "SELECT pg_stat_clear_snapshot()");
        number(client, read)
    };
    let before = now(client);
    run(client, "BEGIN");
    assert_eq!(number(client, statement), 4);
    run(client, "ROLLBACK");
    now(client) - before
}

#[test]
fn a_record_is_counted_without_reading_the_whole_trail() {
    // Nobody else may read the segment while its pages are counted.
    let quiet = Options::default()
        .set("autovacuum", "off")
        .set("ward.seal_interval", "1h");
    let cluster = Cluster::with_extension_and(quiet);
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "CREATE TABLE other (id bigint PRIMARY KEY); SELECT ward.enable_audit('other');
         INSERT INTO t SELECT g, repeat('n', 100) FROM generate_series(1, 20000) g;
         INSERT INTO other VALUES (42)",
    );
    for note in ["a", "b", "c"] {
        run(&mut client, "SELECT ward.seal_audit_trail()");
        run(
            &mut client,
            &format!("UPDATE t SET note = '{note}' WHERE id = 42"),
        );
    }
    run(&mut client, "SELECT ward.seal_audit_trail()");
    run(&mut client, "SELECT ward.rebuild_audit_index()");
    wait_until_sealers_left(&mut client);
    let size = "SELECT pg_relation_size('ward.audit_segment_000000') / 8192";
    let whole = number(&mut client, size);
    let order = "SELECT ward.erase_audit_images('t', '42', 'asked for')";
    let read = pages_read(&mut client, order);
    assert!(read < whole / 2, "{read} of {whole} pages were read");
    // an index that somebody has altered, and none at all
    run(
        &mut client,
        "UPDATE ward.audit_record_index SET pairs = set_byte(pairs, 0, 127)",
    );
    assert!(pages_read(&mut client, order) >= whole);
    run(&mut client, "TRUNCATE ward.audit_record_index");
    pages_read(&mut client, order);
}
