//! `ward.audit_table`, the memory of what is audited, is compared with what the trail says was enabled.

use ward_tests::postgres::Client;
use ward_tests::{Cluster, DATABASE, Options, number, refused, run, seal_and_verify, texts};

const FINDINGS: &str =
    "SELECT concat_ws(' ', table_name, problem) FROM ward.audit_trigger_findings ORDER BY 1";

/// What `attack` makes the comparison find, which `audit_violations()` reports as well. It is undone.
fn found(client: &mut Client, attack: &str) -> Vec<String> {
    run(client, "BEGIN");
    // no command is recorded, as a superuser can have it
    run(
        client,
        "ALTER EVENT TRIGGER ward_audit_ddl DISABLE; ALTER EVENT TRIGGER ward_audit_drop DISABLE",
    );
    run(client, attack);
    run(
        client,
        "ALTER EVENT TRIGGER ward_audit_ddl ENABLE ALWAYS; ALTER EVENT TRIGGER ward_audit_drop ENABLE ALWAYS",
    );
    let findings = texts(client, FINDINGS);
    let violations = "SELECT count(*) FROM ward.audit_violations() WHERE kind = 'trigger_altered'";
    assert_eq!(
        number(client, violations),
        findings.len() as i64,
        "{attack}"
    );
    run(client, "ROLLBACK");
    findings
}

fn none(client: &mut Client, when: &str) {
    assert_eq!(texts(client, FINDINGS), [""; 0], "{when}");
    run(client, "SELECT ward.seal_audit_trail()");
    assert_eq!(texts(client, FINDINGS), [""; 0], "{when}, sealed");
}

#[test]
fn a_table_that_is_struck_from_the_memory_is_found() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, note text, secret text);
         SELECT ward.enable_audit('t', redact => '{secret}')",
    );
    run(&mut client, "ALTER TABLE t RENAME secret TO hidden");
    run(&mut client, "ALTER TABLE t RENAME TO u");
    const GONE: &str = "u the trail says that it is audited, and ward.audit_table does not";
    const OTHER: &str = "u ward.audit_table names other hidden columns than the trail";
    for when in ["in flight", "sealed"] {
        none(&mut client, when);
        let struck = "DELETE FROM ward.audit_table; DROP TRIGGER ward_audit ON u; DROP TRIGGER ward_audit_truncate ON u";
        assert_eq!(found(&mut client, struck), [GONE], "{when}");
        let renamed = "UPDATE ward.audit_table SET table_name = 'other'";
        assert!(found(&mut client, renamed).contains(&GONE.to_owned()));
        let hides = "UPDATE ward.audit_table SET exclude = '[\"note\"]';
             DROP TRIGGER ward_audit ON u; DROP TRIGGER ward_audit_truncate ON u;
             CREATE TRIGGER ward_audit AFTER INSERT OR UPDATE OR DELETE ON u FOR EACH ROW
                 EXECUTE FUNCTION ward.audit_capture('[\"note\"]', '[\"hidden\"]');
             CREATE TRIGGER ward_audit_truncate AFTER TRUNCATE ON u FOR EACH STATEMENT
                 EXECUTE FUNCTION ward.audit_capture('[\"note\"]', '[\"hidden\"]');
             ALTER TABLE u ENABLE ALWAYS TRIGGER ward_audit, ENABLE ALWAYS TRIGGER ward_audit_truncate";
        assert_eq!(found(&mut client, hides), [OTHER], "{when}");
        let broken = "UPDATE ward.audit_table SET redact = 'nothing'";
        assert!(found(&mut client, broken).contains(&OTHER.to_owned()));
    }
    // only who may see the view may call what is behind it
    run(
        &mut client,
        "CREATE ROLE nosy LOGIN; GRANT USAGE ON SCHEMA ward TO nosy",
    );
    let mut nosy = cluster.client(DATABASE, "nosy");
    let behind = "SELECT * FROM ward.audit_table_differences()";
    assert_eq!(refused(&mut nosy, behind).code().code(), "42501");
    run(
        &mut client,
        "GRANT SELECT ON ward.audit_trigger_findings TO nosy",
    );
    assert_eq!(texts(&mut nosy, FINDINGS), [""; 0]);
}

#[test]
fn no_honest_change_of_tables_makes_memory_and_trail_differ() {
    let options = Options::default().set("max_prepared_transactions", "2");
    let cluster = Cluster::with_extension_and(options);
    let mut client = cluster.superuser();
    for statements in [
        "CREATE TABLE a (id int PRIMARY KEY, x text, y text); CREATE TABLE b (id int PRIMARY KEY, x text);
         SELECT ward.enable_audit('a', exclude => '{x}', redact => '{y}'), ward.enable_audit('b')",
        "ALTER TABLE a DROP x; ALTER TABLE a ADD x int; ALTER TABLE a RENAME y TO z",
        // names that are exchanged
        "ALTER TABLE a RENAME TO c; ALTER TABLE b RENAME TO a; ALTER TABLE c RENAME TO b",
        "CREATE SCHEMA s; ALTER TABLE a SET SCHEMA s; ALTER SCHEMA s RENAME TO r; ALTER TABLE r.a SET SCHEMA public",
        "SELECT ward.disable_audit('a'); SELECT ward.enable_audit('a', exclude => '{x}')",
        "BEGIN; SAVEPOINT s; SELECT ward.disable_audit('a'); ROLLBACK TO s; COMMIT",
        // a child with lists of its own is taken into its parent's audit, and out of it
        "CREATE TABLE child (id int PRIMARY KEY, note text); SELECT ward.enable_audit('child', exclude => '{note}');
         CREATE TABLE parent (id int, note text); ALTER TABLE child INHERIT parent",
        "SELECT ward.enable_audit('parent', redact => '{note}')",
        "ALTER TABLE parent RENAME note TO remark",
        "SELECT ward.disable_audit('parent')",
        "ALTER TABLE child NO INHERIT parent; DROP TABLE parent",
        // the same for partitions
        "CREATE TABLE part (id int PRIMARY KEY, note text); SELECT ward.enable_audit('part', exclude => '{note}');
         CREATE TABLE whole (id int PRIMARY KEY, note text) PARTITION BY RANGE (id);
         ALTER TABLE whole ATTACH PARTITION part FOR VALUES FROM (0) TO (10)",
        "SELECT ward.enable_audit('whole')",
        "CREATE TABLE more PARTITION OF whole FOR VALUES FROM (10) TO (20); ALTER TABLE whole DETACH PARTITION part",
        "ALTER TABLE whole ATTACH PARTITION part FOR VALUES FROM (0) TO (10); SELECT ward.disable_audit('whole')",
        "DROP TABLE whole; CREATE TABLE whole (id int); CREATE TABLE part (id int)",
        // a table of the same name that is not audited
        "DROP TABLE b; CREATE TABLE b (id int)",
        "CREATE TYPE kind AS (id int, secret text); CREATE TABLE typed OF kind;
         SELECT ward.enable_audit('typed', redact => '{secret}')",
        "ALTER TYPE kind RENAME ATTRIBUTE secret TO hidden CASCADE",
        "CREATE TABLE wide (id int PRIMARY KEY); SELECT ward.enable_audit('wide');
         CREATE SCHEMA gone; CREATE TABLE gone.t (id int); SELECT ward.enable_audit('gone.t')",
        "DROP SCHEMA gone CASCADE",
    ] {
        run(&mut client, statements);
        none(&mut client, statements);
    }
    // a transaction with a low number that ends late, in the block of one that it overrules
    let mut old = cluster.superuser();
    let mut hold = cluster.superuser();
    run(&mut old, "BEGIN; SELECT pg_current_xact_id()");
    run(
        &mut hold,
        "BEGIN; LOCK TABLE ward.audit_block IN SHARE ROW EXCLUSIVE MODE",
    );
    run(
        &mut client,
        "SELECT ward.enable_audit('wide', exclude => '{id}')",
    );
    run(&mut old, "SELECT ward.disable_audit('wide'); COMMIT");
    assert_eq!(texts(&mut client, FINDINGS), [""; 0]);
    run(&mut hold, "COMMIT");
    none(&mut client, "overruled");
    // prepared, and not there before it is committed
    run(
        &mut client,
        "BEGIN; SELECT ward.disable_audit('a'); PREPARE TRANSACTION 'p'",
    );
    none(&mut old, "prepared");
    run(&mut client, "COMMIT PREPARED 'p'");
    none(&mut client, "committed");
    seal_and_verify(&mut client);
}

#[test]
fn a_restored_memory_is_no_finding() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE kept (id int PRIMARY KEY, a text); CREATE TABLE dropped (id int PRIMARY KEY);
         CREATE TABLE renamed (id int PRIMARY KEY);
         SELECT ward.enable_audit(t, redact => CASE t WHEN 'kept'::regclass THEN '{a}' ELSE '{}' END::name[])
         FROM unnest('{kept,dropped,renamed}'::regclass[]) t",
    );
    run(&mut client, "INSERT INTO kept VALUES (1)");
    let dump = cluster
        .client_program("pg_dump", DATABASE)
        .output()
        .unwrap();
    assert!(dump.status.success(), "{dump:?}");
    let sql = "CREATE DATABASE copy;\n\\connect copy\n".to_owned()
        + &String::from_utf8(dump.stdout).unwrap();
    let restored = cluster.psql(&sql);
    assert!(restored.status.success(), "{restored:?}");
    let mut copy = cluster.client("copy", "postgres");
    // before the log goes on there, changes of tables are no entries
    run(
        &mut copy,
        "DROP TABLE dropped; ALTER TABLE renamed RENAME TO other",
    );
    none(&mut copy, "restored");
    run(&mut copy, "INSERT INTO kept VALUES (2)");
    none(&mut copy, "gone on");
    seal_and_verify(&mut copy);
    // from the next time on that it is enabled, the trail has a say again
    run(&mut copy, "SELECT ward.enable_audit('kept')");
    none(&mut copy, "enabled");
    let gone = "kept the trail says that it is audited, and ward.audit_table does not";
    let struck =
        "DELETE FROM ward.audit_table WHERE table_name = 'kept'; DROP TRIGGER ward_audit ON kept;
         DROP TRIGGER ward_audit_truncate ON kept";
    assert_eq!(found(&mut copy, struck), [gone]);
}
