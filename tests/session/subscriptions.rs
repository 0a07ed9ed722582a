//! Subscriptions to what another database with pg_ward publishes.

use ward_tests::{Cluster, number, refused, run, seal_and_verify, wait_until};

#[test]
fn a_publication_of_all_tables_is_not_written_over_the_own_log() {
    let cluster = Cluster::with_extension();
    let mut publisher = cluster.client("postgres", "postgres");
    let mut client = cluster.superuser();
    for client in [&mut publisher, &mut client] {
        run(
            client,
            "CREATE EXTENSION IF NOT EXISTS pg_ward; CREATE TABLE t (id int PRIMARY KEY); SELECT ward.enable_audit('t')",
        );
    }
    run(
        &mut publisher,
        "CREATE PUBLICATION everything FOR ALL TABLES; CREATE PUBLICATION named FOR TABLES IN SCHEMA public",
    );
    run(
        &mut publisher,
        "SELECT pg_create_logical_replication_slot('sub', 'pgoutput')",
    );
    run(
        &mut publisher,
        "SELECT ward.waive_finding('access.data_roles', 'r', 'known'); SELECT ward.unwaive_finding('access.data_roles', 'r')",
    );
    let subscribe = |publication: &str, enabled: bool| {
        format!(
            "CREATE SUBSCRIPTION sub CONNECTION 'host={} port={} dbname=postgres user=postgres'
             PUBLICATION {publication} WITH (create_slot = false, slot_name = 'sub', copy_data = false, enabled = {enabled})",
            cluster.socket_directory().display(),
            cluster.port()
        )
    };
    let refusal = refused(&mut client, &subscribe("everything", true));
    assert_eq!(refusal.code().code(), "55000");
    assert!(
        refusal
            .message()
            .contains("of pg_ward cannot be replicated")
    );
    // One that is off does no harm until it is switched on.
    run(&mut client, &subscribe("everything", false));
    let enable = "ALTER SUBSCRIPTION sub ENABLE";
    assert_eq!(refused(&mut client, enable).code().code(), "55000");
    run(&mut client, "ALTER SUBSCRIPTION sub SET (slot_name = NONE)");
    run(&mut client, "DROP SUBSCRIPTION sub");
    run(&mut client, &subscribe("named", true));
    let change = "ALTER SUBSCRIPTION sub SET PUBLICATION everything WITH (copy_data = false)";
    assert_eq!(refused(&mut client, change).code().code(), "55000");
    let subscribed = "SELECT count(*) FROM pg_subscription_rel";
    assert_eq!(number(&mut client, subscribed), 1);
    run(&mut publisher, "INSERT INTO t VALUES (1)");
    run(&mut publisher, "SELECT ward.seal_audit_trail()");
    wait_until("the row is applied", || {
        number(&mut client, "SELECT count(*) FROM t") == 1
    });
    seal_and_verify(&mut client);
    run(
        &mut client,
        "ALTER SUBSCRIPTION sub DISABLE; ALTER SUBSCRIPTION sub SET (slot_name = NONE)",
    );
    run(&mut client, "DROP SUBSCRIPTION sub");
}
