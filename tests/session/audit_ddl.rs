//! Changes of audited tables are entries, and nothing they do breaks the audit.

use ward_tests::postgres::Client;
use ward_tests::{Cluster, number, run, seal_and_verify, text, texts};

/// Every event of the trail: its type, severity, and some of the details.
const EVENTS: &str = "SELECT concat_ws(' ', e->>'event_type', e->>'severity', d->>'command', d->>'schema', d->>'table',
        (SELECT string_agg(concat_ws(' ', a->>'action', a->>'name', a->>'to'), ', ' ORDER BY n)
         FROM jsonb_array_elements(d->'actions') WITH ORDINALITY AS x (a, n)),
        d->>'problem', 'from ' || (d->>'from'), d->>'because')
    FROM (SELECT entry_id, new_values AS e, new_values->'details' AS d FROM ward.audit_trail WHERE operation = 'EVENT') s
    ORDER BY entry_id";

/// The events that `statements` leave, in order.
fn events(client: &mut Client, statements: &str) -> Vec<String> {
    seal_and_verify(client);
    let before = texts(client, EVENTS).len();
    run(client, statements);
    seal_and_verify(client);
    texts(client, EVENTS).split_off(before)
}

fn no_findings(client: &mut Client) {
    let findings =
        "SELECT concat_ws(' ', table_schema, table_name, problem) FROM ward.audit_trigger_findings";
    assert_eq!(texts(client, findings), [""; 0]);
}

#[test]
fn enabling_and_disabling_are_entries() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, a text, b text)",
    );
    assert_eq!(
        events(
            &mut client,
            "SELECT ward.enable_audit('t', exclude => '{a}', redact => '{b}'); SELECT ward.disable_audit('t')"
        ),
        [
            "audit_enabled info public t",
            "audit_disabled medium public t"
        ]
    );
    let lists = "SELECT concat(d->'exclude', d->'redact', d->'snapshot') FROM (
        SELECT new_values->'details' FROM ward.audit_trail
        WHERE new_values->>'event_type' = 'audit_enabled') x (d)";
    assert_eq!(texts(&mut client, lists), [r#"["a"]["b"]false"#]);
    no_findings(&mut client);
}

#[test]
fn each_change_of_a_table_is_an_entry() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE ROLE other; CREATE SCHEMA s; GRANT ALL ON SCHEMA s TO other;
         CREATE TABLE t (id int PRIMARY KEY, note text); SELECT ward.enable_audit('t');
         CREATE TABLE unaudited (id int PRIMARY KEY);
         CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    );
    let cases: &[(&str, &[&str])] = &[
        (
            "ALTER TABLE t ADD COLUMN n int DEFAULT 7, ALTER note SET NOT NULL",
            &["table_altered low ALTER TABLE public t ADD COLUMN n, SET NOT NULL note"],
        ),
        (
            "ALTER TABLE t RENAME COLUMN note TO remark",
            &["table_altered low ALTER TABLE public t RENAME COLUMN note remark"],
        ),
        (
            "ALTER TABLE t ALTER n TYPE bigint",
            &[
                r#"table_rewritten medium public t ["column type"]"#,
                "table_altered low ALTER TABLE public t ALTER COLUMN TYPE n",
            ],
        ),
        (
            "ALTER TABLE t ADD COLUMN r float DEFAULT random()",
            &[
                r#"table_rewritten medium public t ["default"]"#,
                "table_altered low ALTER TABLE public t ADD COLUMN r",
            ],
        ),
        (
            "ALTER TABLE t DROP COLUMN n",
            &["table_altered low ALTER TABLE public t DROP COLUMN n"],
        ),
        (
            "CREATE TRIGGER mine BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
            &["table_altered low CREATE TRIGGER public t"],
        ),
        (
            "ALTER TABLE t DISABLE TRIGGER mine, ENABLE TRIGGER mine",
            &["table_altered low ALTER TABLE public t DISABLE TRIGGER mine, ENABLE TRIGGER mine"],
        ),
        (
            "ALTER TRIGGER mine ON t RENAME TO yours",
            &["table_altered low ALTER TRIGGER public t RENAME mine yours"],
        ),
        (
            "DROP TRIGGER yours ON t",
            &["table_altered low DROP TRIGGER public t"],
        ),
        (
            "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
            &["table_altered low ALTER TABLE public t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY"],
        ),
        (
            "CREATE POLICY p ON t USING (true); ALTER POLICY p ON t USING (false); DROP POLICY p ON t",
            &[
                "table_altered low CREATE POLICY public t",
                "table_altered low ALTER POLICY public t",
                "table_altered low DROP POLICY public t",
            ],
        ),
        (
            "CREATE RULE r AS ON UPDATE TO t DO ALSO NOTHING; DROP RULE r ON t",
            &[
                "table_altered low CREATE RULE public t",
                "table_altered low DROP RULE public t",
            ],
        ),
        (
            "ALTER TABLE t OWNER TO other",
            &["table_altered low ALTER TABLE public t OWNER TO"],
        ),
        (
            "ALTER TABLE t RENAME TO u",
            &[r#"table_altered low ALTER TABLE public u RENAME u from ["public", "t"]"#],
        ),
        // PostgreSQL lets this pass for a table as well
        (
            "ALTER INDEX u RENAME TO v",
            &[r#"table_altered low ALTER INDEX public v RENAME v from ["public", "u"]"#],
        ),
        (
            "ALTER TABLE v SET SCHEMA s",
            &[r#"table_altered low ALTER TABLE s v SET SCHEMA s from ["public", "v"]"#],
        ),
        (
            "ALTER SCHEMA s RENAME TO z",
            &[r#"table_altered low ALTER SCHEMA z v RENAME s z from ["s", "v"]"#],
        ),
        ("DROP TABLE z.v", &["table_dropped medium DROP TABLE z v"]),
        // what concerns no audited table is no entry
        (
            "ALTER TABLE unaudited ADD COLUMN x int; CREATE TABLE more (a int); DROP TABLE more;
             CREATE OR REPLACE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN OLD; END';
             CREATE TABLE fresh PARTITION OF unaudited_none FOR VALUES IN (1)",
            &[],
        ),
    ];
    run(
        &mut client,
        "CREATE TABLE unaudited_none (a int) PARTITION BY LIST (a)",
    );
    for (statements, expected) in cases {
        assert_eq!(events(&mut client, statements), *expected, "{statements}");
        no_findings(&mut client);
    }
}

#[test]
fn entries_name_things_and_quote_nothing_else_of_the_statement() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY); SELECT ward.enable_audit('t');
         ALTER TABLE t ADD COLUMN a text DEFAULT 'canary-1', ADD CONSTRAINT c CHECK (a <> 'canary-2');
         CREATE POLICY p ON t USING (a = 'canary-3'); DROP POLICY p ON t;
         ALTER TABLE t ALTER a TYPE text USING a || 'canary-4'",
    );
    let trail = text(
        &mut client,
        "SELECT string_agg(a::text, '') FROM ward.audit_trail a",
    )
    .expect("a trail");
    assert!(trail.contains("ADD CONSTRAINT"), "{trail}");
    assert!(!trail.contains("canary"), "{trail}");
}

#[test]
fn changes_that_are_rolled_back_leave_nothing() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY); SELECT ward.enable_audit('t')",
    );
    assert_eq!(
        events(
            &mut client,
            "BEGIN; ALTER TABLE t RENAME TO u; DROP TABLE u; ROLLBACK;
             BEGIN; SAVEPOINT a; ALTER TABLE t ADD COLUMN x int; ROLLBACK TO a; INSERT INTO t VALUES (1); COMMIT"
        ),
        [""; 0]
    );
    no_findings(&mut client);
}

#[test]
fn partitions_that_come_and_go() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id); SELECT ward.enable_audit('p');
         CREATE TABLE p_late (id int PRIMARY KEY); CREATE TABLE f (a int); SELECT ward.enable_audit('f')",
    );
    let cases: &[(&str, &[&str])] = &[
        (
            "CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (10)",
            &["table_altered low CREATE TABLE public p_low"],
        ),
        (
            "ALTER TABLE p ATTACH PARTITION p_late FOR VALUES FROM (10) TO (20)",
            &["table_altered low ALTER TABLE public p ATTACH PARTITION p_late"],
        ),
        (
            "ALTER TABLE p DETACH PARTITION p_low",
            &["table_altered low ALTER TABLE public p DETACH PARTITION p_low"],
        ),
        (
            "DROP TABLE p_late",
            &["table_dropped medium DROP TABLE public p_late"],
        ),
        (
            "CREATE TABLE f_child () INHERITS (f)",
            &["table_altered low CREATE TABLE public f_child"],
        ),
        (
            "ALTER TABLE f_child NO INHERIT f",
            &["table_altered low ALTER TABLE public f_child NO INHERIT f"],
        ),
        (
            "DROP TABLE p, f CASCADE",
            &[
                "table_dropped medium DROP TABLE public f",
                "table_dropped medium DROP TABLE public p",
            ],
        ),
    ];
    for (statements, expected) in cases {
        assert_eq!(events(&mut client, statements), *expected, "{statements}");
        no_findings(&mut client);
    }
    let rest = "SELECT string_agg(table_name, ' ' ORDER BY table_name) FROM ward.audit_table";
    assert_eq!(text(&mut client, rest).as_deref(), Some("f_child p_low"));
}

#[test]
fn hidden_columns_that_are_renamed_dropped_and_made_again_stay_hidden() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TYPE grade AS ENUM ('low');
         CREATE TABLE p (id int PRIMARY KEY, noise text, \"geheim\\000 ä\" text, g grade) PARTITION BY RANGE (id);
         CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (100);
         SELECT ward.enable_audit('p', exclude => '{noise,g}', redact => ARRAY['geheim\\000 ä']::name[]);
         CREATE TABLE f (a int, secret text); CREATE TABLE f_child (b int) INHERITS (f);
         SELECT ward.enable_audit('f', redact => '{secret}')",
    );
    let rows = [
        "INSERT INTO p VALUES (1, 'canary', 'canary', 'low'); TRUNCATE p_low",
        "ALTER TABLE p RENAME COLUMN noise TO din; INSERT INTO p VALUES (2, 'canary', 'canary', 'low')",
        "ALTER TABLE p RENAME COLUMN \"geheim\\000 ä\" TO secret; INSERT INTO p_low VALUES (3, 'canary', 'canary', 'low')",
        "ALTER TABLE p DROP COLUMN secret; INSERT INTO p VALUES (4, 'canary', 'low'); TRUNCATE p_low",
        "DROP TYPE grade CASCADE; INSERT INTO p VALUES (5, 'canary')",
        "ALTER TABLE p DROP COLUMN din, ADD COLUMN din text; INSERT INTO p VALUES (6, 'canary')",
        "ALTER TABLE p ADD COLUMN secret text, ADD COLUMN g text; INSERT INTO p VALUES (7, 'canary', 'canary', 'canary')",
        "ALTER TABLE p RENAME COLUMN secret TO s2; INSERT INTO p VALUES (8, 'canary', 'canary', 'canary')",
        "ALTER TABLE f RENAME COLUMN secret TO s2; INSERT INTO f VALUES (1, 'canary'); INSERT INTO f_child VALUES (1, 'canary', 2)",
        "ALTER TABLE f DROP COLUMN s2; INSERT INTO f VALUES (1); INSERT INTO f_child VALUES (1, 2)",
        "ALTER TABLE f ADD COLUMN s2 text; INSERT INTO f_child VALUES (1, 2, 'canary')",
    ];
    // as the tables' owner, who has no rights in schema ward
    run(
        &mut client,
        "CREATE ROLE app LOGIN; GRANT CREATE ON SCHEMA public TO app;
         ALTER TABLE p OWNER TO app; ALTER TABLE p_low OWNER TO app; ALTER TABLE f OWNER TO app;
         ALTER TABLE f_child OWNER TO app; ALTER TYPE grade OWNER TO app",
    );
    let mut app = cluster.client(ward_tests::DATABASE, "app");
    for statements in rows {
        run(&mut app, statements);
        no_findings(&mut client);
    }
    seal_and_verify(&mut client);
    let inserts = "SELECT count(*) FROM ward.audit_trail WHERE operation = 'INSERT'";
    assert_eq!(number(&mut client, inserts), 13);
    let trail = text(
        &mut client,
        "SELECT string_agg(a::text, '') FROM ward.audit_trail a",
    );
    assert!(!trail.unwrap_or_default().contains("canary"));
    // and another backend, which has not followed the changes, agrees
    run(
        &mut cluster.superuser(),
        "INSERT INTO p VALUES (9, 'canary', 'canary', 'canary')",
    );
    let trail = text(
        &mut client,
        "SELECT string_agg(a::text, '') FROM ward.audit_trail a",
    );
    assert!(!trail.unwrap_or_default().contains("canary"));
}

#[test]
fn old_entries_keep_the_names_of_their_time() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE SCHEMA old; CREATE TABLE old.t (id int PRIMARY KEY, a text);
         SELECT ward.enable_audit('old.t'); INSERT INTO old.t VALUES (1, 'x');
         ALTER TABLE old.t RENAME TO u; INSERT INTO old.u VALUES (2, 'x');
         ALTER TABLE old.u RENAME a TO b; INSERT INTO old.u VALUES (3, 'x');
         ALTER TABLE old.u ALTER b TYPE varchar(9); UPDATE old.u SET b = 'y' WHERE id = 1;
         ALTER SCHEMA old RENAME TO new; INSERT INTO new.u VALUES (4, 'x');
         ALTER TABLE new.u DROP COLUMN b; INSERT INTO new.u VALUES (5);
         DROP SCHEMA new CASCADE",
    );
    seal_and_verify(&mut client);
    assert_eq!(
        texts(
            &mut client,
            "SELECT concat_ws(' ', operation, table_schema, table_name, new_values)
             FROM ward.audit_trail WHERE operation <> 'EVENT' ORDER BY entry_id"
        ),
        [
            r#"INSERT old t {"a": "x", "id": 1}"#,
            r#"INSERT old u {"a": "x", "id": 2}"#,
            r#"INSERT old u {"b": "x", "id": 3}"#,
            r#"UPDATE old u {"b": "y", "id": 1}"#,
            r#"INSERT new u {"b": "x", "id": 4}"#,
            r#"INSERT new u {"id": 5}"#,
        ]
    );
    no_findings(&mut client);
}

/// Every form of ALTER TABLE that changes the table, and what maintenance does to its storage.
const FORMS: &[&str] = &[
    "ALTER TABLE t ADD COLUMN c1 int",
    "ALTER TABLE t ADD COLUMN c2 int NOT NULL DEFAULT 3",
    "ALTER TABLE t ADD COLUMN c3 float DEFAULT random()",
    "ALTER TABLE t ADD COLUMN c4 int GENERATED ALWAYS AS (id * 2) STORED",
    "ALTER TABLE t ALTER c4 DROP EXPRESSION",
    "ALTER TABLE t ALTER c1 SET DEFAULT 4",
    "ALTER TABLE t ALTER c1 TYPE text USING c1::text",
    "ALTER TABLE t ALTER c2 TYPE numeric(20, 5)",
    "ALTER TABLE t ALTER c2 DROP NOT NULL",
    "ALTER TABLE t ALTER note SET STORAGE EXTERNAL",
    "ALTER TABLE t ALTER note SET COMPRESSION pglz",
    "ALTER TABLE t ALTER note SET STATISTICS 10",
    "ALTER TABLE t ALTER note SET (n_distinct = 5)",
    "ALTER TABLE t DROP COLUMN c3",
    "ALTER TABLE t RENAME COLUMN c1 TO c5",
    "ALTER TABLE t ADD CONSTRAINT positive CHECK (id > 0) NOT VALID",
    "ALTER TABLE t VALIDATE CONSTRAINT positive",
    "ALTER TABLE t RENAME CONSTRAINT positive TO above_zero",
    "ALTER TABLE t DROP CONSTRAINT above_zero",
    "ALTER TABLE t ADD CONSTRAINT u UNIQUE (id, note)",
    "CREATE UNIQUE INDEX i ON t (id, c2); ALTER TABLE t ADD CONSTRAINT ui UNIQUE USING INDEX i",
    "ALTER TABLE t ADD CONSTRAINT fk FOREIGN KEY (id) REFERENCES t DEFERRABLE",
    "ALTER TABLE t ALTER CONSTRAINT fk DEFERRABLE INITIALLY DEFERRED",
    "ALTER TABLE t REPLICA IDENTITY FULL",
    "ALTER TABLE t SET (fillfactor = 50, autovacuum_enabled = false)",
    "ALTER TABLE t RESET (fillfactor)",
    "ALTER TABLE t SET UNLOGGED",
    "ALTER TABLE t SET LOGGED",
    "ALTER TABLE t SET ACCESS METHOD heap",
    "ALTER TABLE t SET TABLESPACE pg_default",
    "ALTER TABLE t CLUSTER ON t_pkey",
    "CLUSTER t",
    "ALTER TABLE t SET WITHOUT CLUSTER",
    "VACUUM FULL t",
    "REINDEX TABLE t",
    "ANALYZE t",
    "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
    "ALTER TABLE t DISABLE ROW LEVEL SECURITY",
    "ALTER TABLE t ALTER c5 ADD GENERATED ALWAYS AS IDENTITY",
    "ALTER TABLE t ALTER c5 DROP IDENTITY; ALTER TABLE t ALTER c5 DROP NOT NULL",
    "ALTER TABLE t DROP CONSTRAINT t_pkey CASCADE",
    "ALTER TABLE t ADD PRIMARY KEY (note, id)",
    "CREATE TYPE kind AS (id int, note text)",
    "CREATE TABLE parent (id int NOT NULL); ALTER TABLE t INHERIT parent",
    "ALTER TABLE t NO INHERIT parent",
    "ALTER TABLE t OWNER TO other",
    "ALTER TABLE t RENAME TO t2; ALTER TABLE t2 RENAME TO t",
    "ALTER TABLE t SET SCHEMA s; ALTER TABLE s.t SET SCHEMA public",
];

#[test]
fn no_form_of_alter_table_raises_an_alarm() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE ROLE other; GRANT CREATE, USAGE ON SCHEMA public TO other; CREATE SCHEMA s;
         CREATE TABLE t (id int PRIMARY KEY, note text); SELECT ward.enable_audit('t')",
    );
    // a session of before, which keeps what it knows of the table
    let mut other = cluster.superuser();
    for (number, form) in FORMS.iter().enumerate() {
        let identity = "ALTER TABLE t ALTER c5 ADD GENERATED";
        if form.starts_with(identity) {
            run(
                &mut client,
                "ALTER TABLE t DROP COLUMN c5; ALTER TABLE t ADD c5 bigint NOT NULL DEFAULT 1; ALTER TABLE t ALTER c5 DROP DEFAULT",
            );
        }
        for statement in form.split("; ") {
            run(&mut client, statement);
        }
        for (writer, id) in [(&mut client, 2 * number + 1), (&mut other, 2 * number + 2)] {
            run(
                writer,
                &format!(
                    "BEGIN; INSERT INTO t (id, note) VALUES ({id}, 'a');
                     UPDATE t SET note = 'b' WHERE id = {id}; COMMIT"
                ),
            );
        }
        no_findings(&mut client);
    }
    seal_and_verify(&mut client);
    let entries = "SELECT count(*) FROM ward.audit_trail WHERE table_name = 't'";
    assert_eq!(number(&mut client, entries), 4 * FORMS.len() as i64);
    let last = "SELECT count(*) FROM t JOIN ward.audit_trail a ON a.operation = 'UPDATE'
                AND (a.new_values->>'id')::int = t.id AND a.new_values->>'note' = t.note";
    assert_eq!(number(&mut client, last), 2 * FORMS.len() as i64);
}

#[test]
fn a_dump_is_restored_without_findings_and_without_entries_of_its_own() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, secret text); SELECT ward.enable_audit('t', redact => '{secret}');
         CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (10); SELECT ward.enable_audit('p');
         CREATE TABLE child (id int REFERENCES t); ALTER TABLE t ENABLE ROW LEVEL SECURITY;
         INSERT INTO t VALUES (1, 'x'); CREATE POLICY mine ON t USING (true)",
    );
    seal_and_verify(&mut client);
    let before = number(&mut client, "SELECT count(*) FROM ward.audit_trail");
    let output = cluster
        .client_program("pg_dump", ward_tests::DATABASE)
        .output()
        .expect("run pg_dump");
    assert!(output.status.success(), "{output:?}");
    run(
        &mut cluster.client("postgres", "postgres"),
        "CREATE DATABASE restored",
    );
    let file = cluster.socket_directory().join("dump.sql");
    std::fs::write(&file, output.stdout).expect("write the dump");
    let output = cluster
        .client_program("psql", "restored")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f"])
        .arg(&file)
        .output()
        .expect("run psql");
    assert!(output.status.success(), "{output:?}");
    let mut restored = cluster.client("restored", "postgres");
    no_findings(&mut restored);
    assert_eq!(
        number(&mut restored, "SELECT count(*) FROM ward.audit_trail"),
        before
    );
    assert_eq!(
        number(
            &mut restored,
            "SELECT count(*) FROM ward.audit_table a JOIN pg_class c ON c.oid = a.relation AND c.relname = a.table_name"
        ),
        3
    );
}
