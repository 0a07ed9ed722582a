//! Views over all tables of a database, where some tables and settings are strange.

use ward_tests::{Cluster, run, text, texts};

#[test]
fn no_table_keeps_encryption_status_from_the_others() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SELECT ward.generate_encryption_key('k');
         CREATE TABLE rowversion (version bytea);
         INSERT INTO rowversion VALUES (ward.encrypt('a')), ('\\x00');
         CREATE MATERIALIZED VIEW not_yet AS SELECT ''::bytea AS b WITH NO DATA;
         CREATE UNLOGGED TABLE unlogged (b bytea);
         CREATE TABLE e (v ward.encrypted_text('k')[], given int, s int);
         INSERT INTO e VALUES (ARRAY['x', 'y']::ward.encrypted_text[]);
         CREATE DOMAIN list AS ward.encrypted_text('k')[];
         CREATE TABLE lists (l list, ll list[])",
    );
    for exact in ["true", "false"] {
        let found = texts(
            &mut admin,
            &format!(
                "SELECT table_name || '.' || column_name FROM ward.encryption_status({exact}) ORDER BY 1"
            ),
        );
        assert!(found.contains(&"e.v".to_owned()), "{found:?}");
        assert!(found.contains(&"lists.l".to_owned()), "{found:?}");
        assert!(!found.contains(&"not_yet.b".to_owned()), "{found:?}");
    }
    let counted =
        "SELECT concat_ws(' ', rows, encrypted, percentage) FROM ward.encryption_status(true)
                   WHERE table_name = 'rowversion'";
    assert_eq!(text(&mut admin, counted).as_deref(), Some("2 1 50.0"));
}

#[test]
fn a_backslash_means_the_same_under_any_setting() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "CREATE TABLE t (id int PRIMARY KEY, tenant_id text); SELECT ward.enable_tenant_isolation('t');
         CREATE FUNCTION clock() RETURNS boolean LANGUAGE sql VOLATILE AS 'SELECT true';
         CREATE POLICY volatile ON t USING (clock())",
    );
    let asked = [
        "SELECT r::text FROM ward.check_rls_status() AS r ORDER BY 1",
        "SELECT concat_ws(' ', check_id, object) FROM ward.security_posture() ORDER BY 1",
        "SELECT f::text FROM ward.isolation_foreign_keys() AS f ORDER BY 1",
    ];
    for query in asked {
        run(&mut admin, "RESET standard_conforming_strings");
        let usual = texts(&mut admin, query);
        assert!(!usual.is_empty(), "{query}");
        run(&mut admin, "SET standard_conforming_strings = off");
        assert_eq!(texts(&mut admin, query), usual, "{query}");
    }
}
