//! Audit triggers that somebody drops, disables or replaces are noticed: in the trail when it is done
//! by a command, and by comparison however it is done.

use ward_tests::postgres::Client;
use ward_tests::{Cluster, number, run, seal_and_verify, texts};

const FINDINGS: &str = "SELECT concat_ws(' ', table_schema, table_name, problem)
    FROM ward.audit_trigger_findings ORDER BY 1";

/// Events of high severity.
const ALARMS: &str =
    "SELECT concat_ws(' ', e->>'event_type', d->>'table', d->>'command', d->>'problem')
    FROM (SELECT entry_id, new_values AS e, new_values->'details' AS d FROM ward.audit_trail
          WHERE operation = 'EVENT' AND new_values->>'severity' = 'high') s ORDER BY entry_id";

struct Case {
    attack: &'static str,
    /// What is reported at the time.
    alarms: &'static [&'static str],
    /// What the comparison finds.
    findings: &'static [&'static str],
    /// What puts it right; nothing for calling ward.enable_audit() again.
    undo: &'static str,
}

const CASES: &[Case] = &[
    Case {
        attack: "ALTER TABLE t DISABLE TRIGGER ward_audit",
        alarms: &["audit_trigger_altered t trigger ward_audit is disabled"],
        findings: &["public t trigger ward_audit is disabled"],
        undo: "",
    },
    Case {
        attack: "ALTER TABLE t DISABLE TRIGGER ALL",
        alarms: &[
            "audit_trigger_altered t trigger ward_audit is disabled",
            "audit_trigger_altered t trigger ward_audit_truncate is disabled",
        ],
        findings: &[
            "public t trigger ward_audit is disabled",
            "public t trigger ward_audit_truncate is disabled",
        ],
        undo: "",
    },
    Case {
        attack: "ALTER TABLE t ENABLE REPLICA TRIGGER ward_audit",
        alarms: &["audit_trigger_altered t trigger ward_audit does not fire always"],
        findings: &["public t trigger ward_audit does not fire always"],
        undo: "",
    },
    Case {
        attack: "DROP TRIGGER ward_audit ON t",
        alarms: &["audit_trigger_dropped t it has no trigger that records rows"],
        findings: &["public t it has no trigger that records rows"],
        undo: "",
    },
    Case {
        attack: "DROP TRIGGER ward_audit_truncate ON t",
        alarms: &["audit_trigger_dropped t it has no trigger that records TRUNCATE"],
        findings: &["public t it has no trigger that records TRUNCATE"],
        undo: "",
    },
    Case {
        attack: "CREATE OR REPLACE TRIGGER ward_audit AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION ward.audit_capture('[]', '[]')",
        alarms: &[
            "audit_trigger_altered t trigger ward_audit does not fire always",
            "audit_trigger_altered t trigger ward_audit does not record every change",
        ],
        findings: &[
            "public t trigger ward_audit does not fire always",
            "public t trigger ward_audit does not record every change",
        ],
        undo: "",
    },
    Case {
        attack: "CREATE OR REPLACE TRIGGER ward_audit AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW
                 WHEN (false) EXECUTE FUNCTION ward.audit_capture('[]', '[]')",
        alarms: &[
            "audit_trigger_altered t trigger ward_audit does not fire always",
            "audit_trigger_altered t trigger ward_audit does not record every change",
        ],
        findings: &[
            "public t trigger ward_audit does not fire always",
            "public t trigger ward_audit does not record every change",
        ],
        undo: "",
    },
    Case {
        attack: "CREATE OR REPLACE TRIGGER ward_audit AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW EXECUTE FUNCTION nothing()",
        alarms: &["audit_trigger_altered t it has no trigger that records rows"],
        findings: &["public t it has no trigger that records rows"],
        undo: "DROP TRIGGER ward_audit ON t; SELECT ward.enable_audit('t')",
    },
    Case {
        attack: "CREATE OR REPLACE TRIGGER ward_audit AFTER INSERT OR UPDATE OR DELETE ON t FOR EACH ROW
                 EXECUTE FUNCTION ward.audit_capture('[\"note\"]', '[]'); ALTER TABLE t ENABLE ALWAYS TRIGGER ward_audit",
        alarms: &[
            "audit_trigger_altered t trigger ward_audit does not fire always",
            "audit_trigger_altered t trigger ward_audit does not hide the columns that are to be hidden",
            "audit_trigger_altered t trigger ward_audit does not hide the columns that are to be hidden",
        ],
        findings: &["public t trigger ward_audit does not hide the columns that are to be hidden"],
        undo: "",
    },
    Case {
        attack: "CREATE OR REPLACE FUNCTION ward.audit_capture() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        alarms: &["audit_function_altered CREATE FUNCTION"],
        findings: &["function ward.audit_capture() is not the one of pg_ward"],
        undo: "CREATE OR REPLACE FUNCTION ward.audit_capture() RETURNS trigger LANGUAGE c AS '$libdir/pg_ward', 'ward_audit_capture'",
    },
    Case {
        attack: "ALTER FUNCTION ward.audit_capture() SET search_path = public",
        alarms: &["audit_function_altered ALTER FUNCTION"],
        findings: &["function ward.audit_capture() is not the one of pg_ward"],
        undo: "ALTER FUNCTION ward.audit_capture() RESET search_path",
    },
    // What is no member of the extension could be replaced without an entry.
    Case {
        attack: "ALTER EXTENSION pg_ward DROP FUNCTION ward.audit_capture()",
        alarms: &["audit_function_altered ALTER EXTENSION"],
        findings: &["function ward.audit_capture() is no member of the extension pg_ward"],
        undo: "ALTER EXTENSION pg_ward ADD FUNCTION ward.audit_capture()",
    },
    Case {
        attack: "ALTER EXTENSION pg_ward DROP ROUTINE ward.audit_ddl; ALTER EXTENSION pg_ward ADD FUNCTION ward.audit_ddl()",
        alarms: &[
            "audit_function_altered ALTER EXTENSION",
            "audit_function_altered ALTER EXTENSION",
        ],
        findings: &[],
        undo: "SELECT",
    },
    Case {
        attack: "ALTER EXTENSION pg_ward DROP TABLE ward.audit_table",
        alarms: &["audit_extension_altered ALTER EXTENSION"],
        findings: &["table ward.audit_table is no member of the extension pg_ward"],
        undo: "ALTER EXTENSION pg_ward ADD TABLE ward.audit_table",
    },
    Case {
        attack: "ALTER TABLE p_low DISABLE TRIGGER ALL",
        alarms: &[
            "audit_trigger_altered p_low trigger ward_audit_OID is disabled",
            "audit_trigger_altered p_low trigger ward_audit_truncate is disabled",
        ],
        findings: &[
            "public p_low trigger ward_audit_OID is disabled",
            "public p_low trigger ward_audit_truncate is disabled",
        ],
        undo: "SELECT ward.enable_audit('p')",
    },
    // Without a command there is no entry: only the comparison finds it.
    Case {
        attack: "UPDATE pg_trigger SET tgenabled = 'D' WHERE tgrelid = 't'::regclass AND tgname = 'ward_audit'",
        alarms: &[],
        findings: &["public t trigger ward_audit is disabled"],
        undo: "",
    },
    Case {
        attack: "UPDATE pg_trigger SET tgtype = 5 WHERE tgrelid = 't'::regclass AND tgname = 'ward_audit'",
        alarms: &[],
        findings: &["public t trigger ward_audit does not record every change"],
        undo: "",
    },
    Case {
        attack: "UPDATE pg_proc SET prosrc = 'ward_keep_in_step' WHERE oid = 'ward.audit_capture()'::regprocedure",
        alarms: &[],
        findings: &["function ward.audit_capture() is not the one of pg_ward"],
        undo: "UPDATE pg_proc SET prosrc = 'ward_audit_capture' WHERE oid = 'ward.audit_capture()'::regprocedure",
    },
    Case {
        attack: "ALTER EVENT TRIGGER ward_audit_drop DISABLE; DROP TRIGGER ward_audit ON t",
        alarms: &[],
        findings: &[
            "event trigger ward_audit_drop is missing or does not fire always",
            "public t it has no trigger that records rows",
        ],
        undo: "ALTER EVENT TRIGGER ward_audit_drop ENABLE ALWAYS; SELECT ward.enable_audit('t')",
    },
    Case {
        attack: "ALTER EVENT TRIGGER ward_audit_ddl DISABLE; CREATE TABLE child () INHERITS (t)",
        alarms: &[],
        findings: &[
            "event trigger ward_audit_ddl is missing or does not fire always",
            "public child it belongs to an audited table and is not audited",
        ],
        undo: "ALTER EVENT TRIGGER ward_audit_ddl ENABLE; DROP TABLE child; ALTER EVENT TRIGGER ward_audit_ddl ENABLE ALWAYS",
    },
    Case {
        attack: "ALTER EVENT TRIGGER ward_audit_drop DISABLE; CREATE TABLE gone (); SELECT ward.enable_audit('gone'); DROP TABLE gone",
        alarms: &[],
        findings: &[
            "event trigger ward_audit_drop is missing or does not fire always",
            "public gone the table does not exist",
        ],
        undo: "ALTER EVENT TRIGGER ward_audit_drop ENABLE ALWAYS; CREATE TABLE gone (); DROP TABLE gone",
    },
    Case {
        attack: "CREATE TRIGGER mine AFTER INSERT OR UPDATE OR DELETE ON other FOR EACH ROW
                 EXECUTE FUNCTION ward.audit_capture('[]', '[]'); ALTER TABLE other ENABLE ALWAYS TRIGGER mine",
        alarms: &[
            "audit_trigger_altered other trigger mine does not fire always",
            "audit_trigger_altered other trigger mine was not made by ward.enable_audit()",
            "audit_trigger_altered other trigger mine was not made by ward.enable_audit()",
        ],
        findings: &["public other trigger mine was not made by ward.enable_audit()"],
        undo: "DROP TRIGGER mine ON other",
    },
];

/// Names without the oid that is part of them.
fn plain(client: &mut Client, query: &str) -> Vec<String> {
    let oid = number(client, "SELECT 'p'::regclass::oid::bigint").to_string();
    texts(client, query)
        .into_iter()
        .map(|line| line.replace(&oid, "OID"))
        .collect()
}

#[test]
fn dropped_disabled_and_replaced_triggers_are_noticed() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TABLE t (id int PRIMARY KEY, note text); SELECT ward.enable_audit('t');
         CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE p_low PARTITION OF p FOR VALUES FROM (0) TO (10); SELECT ward.enable_audit('p');
         CREATE TABLE other (id int PRIMARY KEY)",
    );
    for case in CASES {
        let before = texts(&mut client, ALARMS).len();
        run(&mut client, case.attack);
        let alarms = plain(&mut client, ALARMS).split_off(before);
        assert_eq!(alarms, case.alarms, "{}", case.attack);
        assert_eq!(
            plain(&mut client, FINDINGS),
            case.findings,
            "{}",
            case.attack
        );
        run(
            &mut client,
            if case.undo.is_empty() {
                "SELECT ward.enable_audit('t')"
            } else {
                case.undo
            },
        );
        assert_eq!(texts(&mut client, FINDINGS), [""; 0], "{}", case.undo);
    }
    seal_and_verify(&mut client);
}

#[test]
fn a_table_whose_trigger_is_gone_is_still_listed_as_one_to_be_audited() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, a text); SELECT ward.enable_audit('t', redact => '{a}');
         DROP TRIGGER ward_audit ON t",
    );
    let listed =
        "SELECT concat_ws(' ', table_name, exclude, redact, active) FROM ward.audited_tables";
    assert_eq!(texts(&mut client, listed), ["t {} {a} f"]);
}

#[test]
fn no_setting_of_a_session_silences_capture_or_the_alarm() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, note text); SELECT ward.enable_audit('t');
         SET session_replication_role = replica;
         INSERT INTO t VALUES (1, 'x'); UPDATE t SET note = 'y'; DELETE FROM t; TRUNCATE t;
         ALTER TABLE t DISABLE TRIGGER USER",
    );
    let changes = "SELECT operation FROM ward.audit_trail WHERE table_name = 't' ORDER BY entry_id, occurred_at";
    assert_eq!(
        texts(&mut client, changes),
        ["INSERT", "UPDATE", "DELETE", "TRUNCATE"]
    );
    assert_eq!(texts(&mut client, ALARMS).len(), 2);
    seal_and_verify(&mut client);
}
