//! Settings that a database or a role may have. The sealing worker goes on whatever they are, and the trail
//! verifies in sessions that have them.

use crate::{ENTRIES_OF_T, audited_table};
use ward_tests::postgres::Client;
use ward_tests::{Cluster, DATABASE, SUPERUSER, number, run, seal_and_verify, text, wait_until};

/// Settings that must not matter to the worker.
const SETTINGS: &[&str] = &[
    "default_transaction_isolation = 'serializable'",
    "default_transaction_isolation = 'repeatable read'",
    "default_transaction_read_only = on",
    "default_transaction_deferrable = on",
    "statement_timeout = 1",
    "lock_timeout = 1",
    "idle_in_transaction_session_timeout = 1",
    "idle_session_timeout = 1",
    "transaction_timeout = 1",
    "search_path = evil, pg_catalog",
    "row_security = off",
    "session_replication_role = replica",
    "role = nobody",
    "session_authorization = nobody",
    "synchronous_commit = off",
    "default_tablespace = 'elsewhere'",
    "default_table_access_method = 'strange'",
    "default_toast_compression = 'lz4'",
    "bytea_output = escape",
    "standard_conforming_strings = off",
    "backslash_quote = off",
    "transform_null_equals = on",
    "array_nulls = off",
    "quote_all_identifiers = on",
    "DateStyle = 'SQL, DMY'",
    "IntervalStyle = sql_standard",
    "TimeZone = 'Pacific/Chatham'",
    "extra_float_digits = -15",
    "client_encoding = 'LATIN1'",
    "check_function_bodies = off",
    "enable_seqscan = off",
    "enable_indexscan = off",
    "plan_cache_mode = force_generic_plan",
    "work_mem = '64kB'",
    "log_statement = 'all'",
    "client_min_messages = error",
];

/// Objects that a search path could find before PostgreSQL's own.
const EVIL: &str = "
    CREATE ROLE nobody;
    CREATE SCHEMA evil;
    CREATE FUNCTION evil.no(bigint, bigint) RETURNS bool LANGUAGE plpgsql AS
      $$BEGIN RAISE EXCEPTION 'hijacked'; END$$;
    CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.no);
    CREATE OPERATOR evil.>= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = evil.no);
    CREATE FUNCTION evil.uuid_send(uuid) RETURNS bytea LANGUAGE plpgsql AS
      $$BEGIN RAISE EXCEPTION 'hijacked'; END$$;
    CREATE ACCESS METHOD strange TYPE TABLE HANDLER heap_tableam_handler";

/// Ends the worker, so that the next one connects with the settings of now.
fn replace_worker(client: &mut Client) {
    let ask = "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity WHERE backend_type = 'pg_ward sealer'";
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pg_ward sealer'";
    wait_until("the worker has ended", || {
        run(client, end);
        text(client, ask).is_none()
    });
}

/// Whether this server knows the setting, and the value where it has a list of them.
fn known(admin: &mut Client, setting: &str) -> bool {
    let (name, value) = setting.split_once(" = ").expect("name = value");
    let value = value.trim_matches('\'');
    let query = "SELECT FROM pg_settings WHERE lower(name) = lower($1)
                 AND (enumvals IS NULL OR $2 = ANY (enumvals))";
    ["role", "session_authorization"].contains(&name)
        || admin
            .query_opt(query, &[&name, &value])
            .expect("look it up")
            .is_some()
}

#[test]
fn the_worker_goes_on_under_any_setting_of_the_database_or_the_role() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, EVIL);
    let mut admin = cluster.client("postgres", SUPERUSER);
    let mut rows = 0;
    for setting in SETTINGS {
        if !known(&mut admin, setting) {
            // of newer versions, or of a server that was built with lz4
            let may_lack = ["transaction_timeout", "default_toast_compression"];
            let may_lack = may_lack.iter().any(|name| setting.starts_with(name));
            assert!(may_lack, "{setting}");
            continue;
        }
        for whose in [
            format!("DATABASE {DATABASE}"),
            format!("ROLE {SUPERUSER} IN DATABASE {DATABASE}"),
        ] {
            run(&mut admin, &format!("ALTER {whose} SET {setting}"));
            replace_worker(&mut client);
            rows += 1;
            run(
                &mut client,
                &format!(
                    "INSERT INTO t VALUES ({rows}, '{}')",
                    setting.replace('\'', "")
                ),
            );
            let sealed = client.query_one("SELECT ward.seal_audit_trail()", &[]);
            assert!(sealed.is_ok(), "{whose} {setting}: {sealed:?}");
            let (name, _) = setting.split_once(" = ").expect("name = value");
            run(&mut admin, &format!("ALTER {whose} RESET {name}"));
        }
    }
    seal_and_verify(&mut client);
    assert_eq!(number(&mut client, ENTRIES_OF_T), rows);
    let unsealed = "SELECT count(*) FROM ward.audit_trail WHERE entry_id IS NULL";
    assert_eq!(number(&mut client, unsealed), 0);
    // no block waits for a disk that another setting spared
    let log = cluster.log();
    assert!(!log.contains("hijacked"), "{log}");
}

#[test]
fn sessions_with_strange_settings_write_seal_verify_and_read() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    audited_table(&mut admin);
    run(&mut admin, EVIL);
    let others = seal_and_verify(&mut admin).entries_checked;
    let mut rows = 0;
    let mut before: Option<String> = None;
    for setting in SETTINGS {
        // What is refused, ends the session's own statements or makes it another role's says nothing about the trail.
        let hopeless = [
            "timeout",
            "role =",
            "session_authorization",
            "default_tablespace",
        ];
        if hopeless.iter().any(|what| setting.contains(what)) || !known(&mut admin, setting) {
            continue;
        }
        let mut client = cluster.superuser();
        run(&mut client, &format!("SET {setting}"));
        run(&mut client, "BEGIN READ WRITE");
        rows += 1;
        run(
            &mut client,
            &format!("INSERT INTO public.t VALUES ({rows}, 'x'); COMMIT"),
        );
        assert_eq!(
            seal_and_verify(&mut client).entries_checked,
            others + rows,
            "{setting}"
        );
        let read = "SELECT md5(string_agg(a::text, ' ' ORDER BY entry_id)) FROM
                      (SELECT entry_id, record_id, operation, new_values, transaction_id, block_no
                       FROM ward.audit_trail WHERE record_id = '1') a";
        let now = text(&mut client, read);
        assert!(now.is_some());
        assert!(
            before.is_none() || before == now,
            "read otherwise under {setting}"
        );
        before = now;
        let violations = "SELECT count(*) FROM ward.audit_violations()";
        assert_eq!(number(&mut client, violations), 0, "{setting}");
    }
}
