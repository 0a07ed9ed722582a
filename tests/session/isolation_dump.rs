//! Isolation goes with a dump, and can be taken back where it was restored.

use ward_tests::postgres::Client;
use ward_tests::{Cluster, DATABASE, SUPERUSER, number, run, texts};

/// Everything isolation changes, without oids.
const STATE: &str = "
    SELECT concat_ws(' ', c.relname, c.relrowsecurity, c.relforcerowsecurity, r.rolname,
        ARRAY(SELECT concat_ws(' ', p.polname, p.polpermissive, pg_get_expr(p.polqual, p.polrelid),
                               pg_get_expr(p.polwithcheck, p.polrelid), obj_description(p.oid, 'pg_policy'))
              FROM pg_policy p WHERE p.polrelid = c.oid ORDER BY p.polname),
        ARRAY(SELECT concat(a.attname, pg_get_expr(d.adbin, d.adrelid))
              FROM pg_attrdef d JOIN pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
              WHERE d.adrelid = c.oid ORDER BY a.attname),
        ARRAY(SELECT concat_ws(' ', pg_get_indexdef(i.indexrelid), obj_description(i.indexrelid, 'pg_class'))
              FROM pg_index i WHERE i.indrelid = c.oid ORDER BY 1))
    FROM pg_class c JOIN pg_roles r ON r.oid = c.relowner
    WHERE c.relnamespace = 's'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY c.relname";

const TABLES: &str = "
    CREATE SCHEMA s; SET search_path = s;
    CREATE TABLE customer (tenant_id text NOT NULL, id int PRIMARY KEY);
    CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customer);
    CREATE TABLE line (id int, orders int REFERENCES orders);
    CREATE TABLE diary (user_id uuid, tenant_id bigint DEFAULT 7);
    ALTER TABLE diary FORCE ROW LEVEL SECURITY;
    CREATE TABLE event (tenant_id text, at int) PARTITION BY RANGE (at);
    CREATE TABLE event_1 PARTITION OF event FOR VALUES FROM (0) TO (10);
    INSERT INTO customer VALUES ('a', 1), ('b', 2); INSERT INTO orders VALUES (1, 1), (2, 2);
    INSERT INTO line VALUES (1, 1), (2, 2); INSERT INTO event VALUES ('a', 1), ('b', 2);
    RESET search_path;";

const DISABLE: &str = "SELECT ward.disable_isolation(t) FROM unnest('{s.client,s.orders,s.line,s.diary,s.event}'::regclass[]) t";

fn state(client: &mut Client) -> Vec<String> {
    run(client, "SET search_path = pg_catalog");
    texts(client, STATE)
}

#[test]
fn a_restored_database_is_isolated_and_can_be_freed_exactly() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(&mut admin, TABLES);
    // An owner that has no rights elsewhere, and renames after the fact.
    run(
        &mut admin,
        "CREATE ROLE keeper; CREATE ROLE app LOGIN; GRANT USAGE ON SCHEMA s TO app;
         GRANT ALL ON ALL TABLES IN SCHEMA s TO app; ALTER TABLE s.event OWNER TO keeper;
         ALTER TABLE s.event_1 OWNER TO keeper;
         ALTER TABLE s.customer RENAME TO client; ALTER TABLE s.client RENAME id TO number",
    );
    let before = state(&mut admin);
    run(
        &mut admin,
        "RESET search_path;
         ALTER TABLE s.client RENAME TO customer; ALTER TABLE s.customer RENAME number TO id;
         SELECT ward.enable_tenant_isolation('s.customer'), ward.enable_parent_isolation('s.orders', 'customer'),
                ward.enable_parent_isolation('s.line', 'orders'), ward.enable_tenant_isolation('s.diary'),
                ward.enable_user_isolation('s.diary'), ward.enable_tenant_isolation('s.event');
         ALTER TABLE s.customer RENAME TO client; ALTER TABLE s.client RENAME id TO number",
    );
    let isolated = state(&mut admin);

    let dump = cluster
        .client_program("pg_dump", DATABASE)
        .output()
        .expect("run pg_dump");
    assert!(dump.status.success(), "{dump:?}");
    run(&mut admin, "CREATE DATABASE restored");
    let file = cluster.socket_directory().join("dump.sql");
    std::fs::write(&file, &dump.stdout).expect("write the dump");
    let restore = cluster
        .client_program("psql", "restored")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(&file)
        .output()
        .expect("run psql");
    assert!(restore.status.success(), "{restore:?}");

    let mut restored = cluster.client("restored", SUPERUSER);
    assert_eq!(state(&mut restored), isolated);
    let mut app = cluster.client("restored", "app");
    assert_eq!(number(&mut app, "SELECT count(*) FROM s.line"), 0);
    run(&mut app, "BEGIN; SELECT ward.set_tenant_context('b')");
    assert_eq!(number(&mut app, "SELECT count(*) FROM s.line"), 1);
    assert_eq!(number(&mut app, "SELECT count(*) FROM s.event"), 1);
    run(&mut app, "COMMIT");
    // Enabling again there changes nothing.
    run(
        &mut restored,
        "SELECT ward.enable_tenant_isolation('s.client'), ward.enable_parent_isolation('s.line', 'orders')",
    );
    assert_eq!(state(&mut restored), isolated);
    for client in [&mut restored, &mut admin] {
        run(client, DISABLE);
        assert_eq!(state(client), before);
    }
}
