//! What those who read the trail see: what is committed when a function runs, whatever its transaction's snapshot is.

use crate::audited_table;
use ward_tests::postgres::Client;
use ward_tests::{Cluster, number, run, texts};

/// Entries of row 1 as each way of reading shows them.
fn seen(client: &mut Client) -> [i64; 3] {
    [
        "SELECT count(*) FROM ward.audit_trail WHERE record_id = '1'",
        "SELECT count(*) FROM ward.audit_history('t', '1')",
        "SELECT count(*) FROM ward.audit_trail_of_blocks(0) WHERE record_id = '1'",
    ]
    .map(|query| number(client, query))
}

#[test]
fn the_trail_is_read_as_it_is_now_by_functions_declared_so() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'a')");
    run(&mut client, "SELECT ward.seal_audit_trail()");
    let mut reader = cluster.superuser();
    run(&mut reader, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_eq!(seen(&mut reader), [1, 1, 1]);
    run(&mut client, "UPDATE t SET note = 'b'");
    run(&mut client, "SELECT ward.seal_audit_trail()");
    // the table is as of the snapshot, the trail is not
    assert_eq!(
        number(&mut reader, "SELECT count(*) FROM t WHERE note = 'a'"),
        1
    );
    assert_eq!(seen(&mut reader), [2, 2, 2]);
    // so a statement may see two states, which only a volatile function may show
    let reading = "SELECT p.oid::regprocedure::text FROM pg_proc p
        WHERE (p.prorettype IN ('ward.audit_trail'::regtype, 'ward.audit_retention'::regtype)
               OR p.proname IN ('audit_entries', 'audit_retention_state', 'audit_health_state', 'audit_row_states'))
          AND p.pronamespace = 'ward'::regnamespace";
    assert_eq!(texts(&mut reader, reading).len(), 7);
    let constant = format!("{reading} AND p.provolatile <> 'v'");
    assert_eq!(texts(&mut reader, &constant), [""; 0]);
}
