//! What versions of PostgreSQL after 15 have brought. Older servers have nothing to test here.

use ward_tests::postgres::Client;
use ward_tests::{Cluster, number, refused, run, seal_and_verify, texts};

/// A server with the extension, if it is of this version or a later one.
fn since(version: i64) -> Option<(Cluster, Client)> {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    let found = "SELECT current_setting('server_version_num')::bigint / 10000";
    (number(&mut client, found) >= version).then_some((cluster, client))
}

#[test]
fn a_virtual_generated_column_is_not_recorded_as_null() {
    let Some((_cluster, mut client)) = since(18) else {
        return;
    };
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) VIRTUAL,
                         hidden int GENERATED ALWAYS AS (a * 3) VIRTUAL);
         INSERT INTO t VALUES (1, 1);
         SELECT ward.enable_audit('t', redact => '{hidden}', snapshot => true);
         UPDATE t SET a = 2; ALTER TABLE t RENAME hidden TO other; DELETE FROM t; INSERT INTO t VALUES (2, 2)",
    );
    seal_and_verify(&mut client);
    let images =
        "SELECT operation || coalesce(' ' || old_values::text, '') || coalesce(' ' || new_values::text, '')
                  FROM ward.audit_trail WHERE table_name = 't' ORDER BY entry_id";
    assert_eq!(
        texts(&mut client, images),
        [
            r#"SNAPSHOT {"a": 1, "id": 1}"#,
            r#"UPDATE {"a": 1} {"a": 2, "id": 1}"#,
            r#"DELETE {"a": 2, "id": 1}"#,
            r#"INSERT {"a": 2, "id": 2}"#,
        ]
    );
    let differences = "SELECT count(*) FROM ward.verify_current_rows('t')";
    assert_eq!(number(&mut client, differences), 0);
}

#[test]
fn a_column_with_a_not_null_constraint_that_is_not_validated_is_not_converted() {
    let Some((_cluster, mut client)) = since(18) else {
        return;
    };
    run(
        &mut client,
        "SELECT ward.generate_encryption_key('k');
         CREATE TABLE t (id int PRIMARY KEY, email text); INSERT INTO t VALUES (1, NULL);
         ALTER TABLE t ADD CONSTRAINT given NOT NULL email NOT VALID",
    );
    let convert = "CALL ward.encrypt_column('t', 'email', 'k')";
    assert_eq!(refused(&mut client, convert).code().code(), "2BP01");
    run(
        &mut client,
        "UPDATE t SET email = 'x'; ALTER TABLE t VALIDATE CONSTRAINT given",
    );
    run(&mut client, convert);
}
