//! How sealed leaves are stored.

use crate::audited_table;
use ward_tests::{Cluster, number, run, seal_and_verify, text, verify};

#[test]
fn segments_are_compressed_and_what_cannot_be_is_kept_whole() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(
        &mut client,
        "INSERT INTO t SELECT g, 'note of row ' || g FROM generate_series(1, 5000) g",
    );
    seal_and_verify(&mut client);
    let share = "SELECT sum(pg_column_size(records)) * 100 / sum(length(records)) FROM ward.audit_segment_000000";
    let lz4 = "SELECT ('lz4' = ANY (enumvals))::int::bigint FROM pg_settings WHERE name = 'default_toast_compression'";
    let share = number(&mut client, &format!("SELECT ({share})::bigint"));
    if number(&mut client, lz4) == 1 {
        assert!(share < 70, "{share} %");
    } else {
        assert!(share >= 100, "{share} %");
    }

    // random digits: each 16 bytes are the digest of a number
    let random = |records: &str, digests: u32| {
        format!(
            "INSERT INTO t SELECT r, string_agg(md5((r * 100000 + g)::text), '') \
             FROM generate_series({records}) r, generate_series(1, {digests}) g GROUP BY r"
        )
    };
    run(&mut client, &random("6001, 6100", 8));
    run(&mut client, &random("6101, 6102", 10_000));
    run(
        &mut client,
        "INSERT INTO t VALUES (6103, repeat('x', 5000000))",
    );
    seal_and_verify(&mut client);
    assert!(verify(&mut client).is_valid);
    let same = "SELECT bool_and(a.new_values->>'note' = t.note)::text FROM ward.audit_trail a JOIN t ON t.id::text = a.record_id \
                WHERE t.id > 6000";
    assert_eq!(text(&mut client, same).as_deref(), Some("true"));
}

#[test]
fn an_event_trigger_that_refuses_new_tables_does_not_stop_sealing() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id bigint PRIMARY KEY);
         CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no new tables'; END $$;
         CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'ALTER TABLE', 'DROP TABLE')
             EXECUTE FUNCTION refuse()",
    );
    assert!(client.simple_query("CREATE TABLE other ()").is_err());
    run(
        &mut client,
        "ALTER EVENT TRIGGER refuse DISABLE; SELECT ward.enable_audit('t'); ALTER EVENT TRIGGER refuse ENABLE",
    );
    run(&mut client, "INSERT INTO t VALUES (1)");
    seal_and_verify(&mut client);
    assert!(client.simple_query("CREATE TABLE other ()").is_err());
}
