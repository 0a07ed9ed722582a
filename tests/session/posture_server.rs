//! Checks of the server's configuration. What they judge is an argument, so any configuration can be shown to them.

use ward_tests::{Cluster, MasterKey, Options, random_key, run, text, texts};

/// A check, settings that it passes, and settings that it does not.
pub const SETTINGS: &[(&str, &str, &str)] = &[
    (
        "server.ssl_off",
        r#"{"ssl": "off", "listen_addresses": "localhost, ::1"}"#,
        r#"{"ssl": "off", "listen_addresses": "localhost,10.0.0.5"}"#,
    ),
    (
        "server.tls_version",
        r#"{"ssl_min_protocol_version": "TLSv1.2"}"#,
        r#"{"ssl_min_protocol_version": "TLSv1.1"}"#,
    ),
    (
        "server.tls_version",
        r#"{"ssl_min_protocol_version": "TLSv1.3"}"#,
        r#"{"ssl_min_protocol_version": ""}"#,
    ),
    (
        "server.tls_ciphers",
        r#"{"ssl": "on", "ssl_ciphers": "HIGH:!aNULL:!MD5:!3DES"}"#,
        r#"{"ssl": "on", "ssl_ciphers": "HIGH:MEDIUM:+3DES:!aNULL"}"#,
    ),
    (
        "server.password_encryption",
        r#"{"password_encryption": "scram-sha-256"}"#,
        r#"{"password_encryption": "md5"}"#,
    ),
    (
        "server.password_check",
        r#"{"shared_preload_libraries": "pg_ward, $libdir/passwordcheck"}"#,
        r#"{"shared_preload_libraries": "pg_ward"}"#,
    ),
    (
        "server.listen_all",
        r#"{"listen_addresses": "10.0.0.5"}"#,
        r#"{"listen_addresses": "localhost, *"}"#,
    ),
    (
        "server.socket_permissions",
        r#"{"unix_socket_permissions": "0770"}"#,
        r#"{"unix_socket_permissions": "0777"}"#,
    ),
    (
        "server.log_connections",
        r#"{"log_connections": "on"}"#,
        r#"{"log_connections": "off"}"#,
    ),
    (
        "server.log_connections",
        r#"{"log_connections": "receipt,authentication"}"#,
        r#"{"log_connections": ""}"#,
    ),
    (
        "server.log_disconnections",
        r#"{"log_disconnections": "on"}"#,
        r#"{"log_disconnections": "off"}"#,
    ),
    (
        "server.log_statement",
        r#"{"log_statement": "none", "shared_preload_libraries": "pgaudit,pg_ward"}"#,
        r#"{"log_statement": "none", "shared_preload_libraries": "pg_ward"}"#,
    ),
    (
        "server.log_parameters",
        r#"{"log_parameter_max_length": "0", "log_statement": "all"}"#,
        r#"{"log_parameter_max_length": "-1", "log_statement": "all"}"#,
    ),
    (
        "server.log_parameters",
        r#"{"log_parameter_max_length": "-1", "log_statement": "ddl", "log_min_duration_statement": "-1"}"#,
        r#"{"log_parameter_max_length": "-1", "log_statement": "ddl", "log_min_duration_statement": "500"}"#,
    ),
    (
        "server.log_parameters_on_error",
        r#"{"log_parameter_max_length_on_error": "0"}"#,
        r#"{"log_parameter_max_length_on_error": "64"}"#,
    ),
    (
        "server.log_min_messages",
        r#"{"log_min_messages": "warning"}"#,
        r#"{"log_min_messages": "error"}"#,
    ),
    (
        "server.log_min_error_statement",
        r#"{"log_min_error_statement": "error"}"#,
        r#"{"log_min_error_statement": "panic"}"#,
    ),
    (
        "server.log_error_verbosity",
        r#"{"log_error_verbosity": "default"}"#,
        r#"{"log_error_verbosity": "terse"}"#,
    ),
    (
        "server.log_line_prefix",
        r#"{"log_destination": "stderr", "log_line_prefix": "%m [%p] user=%u,db=%d,app=%a,client=%h "}"#,
        r#"{"log_destination": "stderr", "log_line_prefix": "%m [%p] "}"#,
    ),
    (
        "server.log_line_prefix",
        r#"{"log_destination": "jsonlog", "log_line_prefix": ""}"#,
        r#"{"log_destination": "syslog", "log_line_prefix": ""}"#,
    ),
    (
        "server.log_destination",
        r#"{"log_destination": "stderr", "log_line_prefix": "%m%p%u%d%h"}"#,
        r#"{"log_destination": ""}"#,
    ),
    (
        "server.logging_collector",
        r#"{"logging_collector": "on", "log_destination": "csvlog"}"#,
        r#"{"logging_collector": "off", "log_destination": "csvlog"}"#,
    ),
    (
        "server.log_file_mode",
        r#"{"log_file_mode": "0640"}"#,
        r#"{"log_file_mode": "0644"}"#,
    ),
    (
        "server.log_debug",
        r#"{"debug_print_plan": "off"}"#,
        r#"{"debug_print_plan": "on"}"#,
    ),
    (
        "server.log_replication",
        r#"{"log_replication_commands": "on"}"#,
        r#"{"log_replication_commands": "off"}"#,
    ),
    (
        "server.durability",
        r#"{"fsync": "on", "full_page_writes": "on"}"#,
        r#"{"fsync": "on", "full_page_writes": "off"}"#,
    ),
    (
        "server.data_checksums",
        r#"{"data_checksums": "on"}"#,
        r#"{"data_checksums": "off"}"#,
    ),
    (
        "server.wal_archiving",
        r#"{"archive_mode": "always"}"#,
        r#"{"archive_mode": "off"}"#,
    ),
    (
        "server.idle_in_transaction",
        r#"{"idle_in_transaction_session_timeout": "60000"}"#,
        r#"{"idle_in_transaction_session_timeout": "0"}"#,
    ),
    (
        "server.developer_options",
        r#"{"ignore_checksum_failure": "off"}"#,
        r#"{"ignore_checksum_failure": "on"}"#,
    ),
    (
        "server.event_triggers",
        r#"{"event_triggers": "on"}"#,
        r#"{"event_triggers": "off"}"#,
    ),
    (
        "ward.log_origin",
        r#"{"ward.log_origin": "db1"}"#,
        r#"{"ward.log_origin": ""}"#,
    ),
    (
        "ward.context_trusted",
        r#"{"ward.context_mode": "token"}"#,
        r#"{"ward.context_mode": "trusted"}"#,
    ),
];

/// A check, a rule of pg_hba.conf that it passes, and one that it does not.
pub const RULES: &[(&str, &str, &str)] = &[
    (
        "server.hba_trust",
        r#"{"type": "local", "database": ["all"], "user_name": ["all"], "auth_method": "peer"}"#,
        r#"{"type": "local", "database": ["all"], "user_name": ["all"], "auth_method": "trust"}"#,
    ),
    (
        "server.hba_password",
        r#"{"type": "local", "database": ["all"], "user_name": ["all"], "auth_method": "ident"}"#,
        r#"{"type": "hostssl", "database": ["app"], "user_name": ["app"], "address": "10.0.0.0", "netmask": "255.0.0.0", "auth_method": "password"}"#,
    ),
    (
        "server.hba_md5",
        r#"{"type": "host", "database": ["app"], "user_name": ["app"], "address": "::1", "auth_method": "scram-sha-256"}"#,
        r#"{"type": "host", "database": ["app"], "user_name": ["app"], "address": "::1", "auth_method": "md5"}"#,
    ),
    (
        "server.hba_unencrypted",
        r#"{"type": "hostssl", "database": ["app"], "user_name": ["app"], "address": "10.0.0.0", "netmask": "255.0.0.0", "auth_method": "scram-sha-256"}"#,
        r#"{"type": "host", "database": ["app"], "user_name": ["app"], "address": "10.0.0.0", "netmask": "255.0.0.0", "auth_method": "scram-sha-256"}"#,
    ),
    (
        "server.hba_everybody",
        r#"{"type": "hostssl", "database": ["app"], "user_name": ["all"], "address": "0.0.0.0", "netmask": "0.0.0.0", "auth_method": "cert"}"#,
        r#"{"type": "hostssl", "database": ["all"], "user_name": ["all"], "address": "0.0.0.0", "netmask": "0.0.0.0", "auth_method": "cert"}"#,
    ),
    (
        "server.hba_error",
        r#"{"type": "local", "database": ["all"], "user_name": ["all"], "auth_method": "reject"}"#,
        r#"{"error": "invalid authentication method"}"#,
    ),
];

/// A check, a row of `ward.status()` that it passes, and one that it does not.
pub const PARTS: &[(&str, &str, &str)] = &[
    (
        "ward.worker",
        r#"{"part": "worker", "ok": true, "state": "sealing"}"#,
        r#"{"part": "worker", "ok": false, "state": "the launcher is not running", "what_to_do": "See the server's log."}"#,
    ),
    (
        "ward.seal_lag",
        r#"{"part": "seal lag", "ok": true, "state": "0 bytes of entries not sealed"}"#,
        r#"{"part": "seal lag", "ok": false, "state": "9999 bytes of entries not sealed", "what_to_do": "See the row worker."}"#,
    ),
    (
        "ward.checkpoint_refused",
        r#"{"part": "checkpoints", "ok": true, "state": "8 of 8 leaves published"}"#,
        r#"{"part": "checkpoints", "ok": false, "state": "the log is shorter than what was signed", "what_to_do": "See docs/errors.md."}"#,
    ),
];

/// A check, a row of `ward.encryption_keys` that it passes, and one that it does not.
pub const KEYS: &[(&str, &str, &str)] = &[
    (
        "ward.key_rotation_due",
        r#"{"name": "k", "purpose": "data_encryption", "is_default": true, "state": "active", "rotation_due": "infinity"}"#,
        r#"{"name": "k", "purpose": "data_encryption", "is_default": true, "state": "active", "rotation_due": "2020-01-01"}"#,
    ),
    (
        "ward.key_rotation_due",
        r#"{"name": "k", "purpose": "search", "is_default": false, "state": "active", "rotation_due": null}"#,
        r#"{"name": "k", "purpose": "search", "is_default": false, "state": "active", "rotation_due": "2020-01-01"}"#,
    ),
];

/// A check, a row of `ward.jwt_keys` that it passes, and one that it does not.
pub const TOKENS: &[(&str, &str, &str)] = &[(
    "ward.jwt_key_age",
    r#"{"issuer": "i", "kid": "k", "state": "retired", "added_at": "2020-01-01"}"#,
    r#"{"issuer": "i", "kid": "k", "state": "active", "added_at": "2020-01-01"}"#,
)];

#[test]
fn each_setting_is_judged() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    for (function, cases, list) in [
        ("posture_settings", SETTINGS, false),
        ("posture_hba", RULES, true),
        ("posture_parts", PARTS, true),
        ("posture_registry", KEYS, true),
        ("posture_tokens", TOKENS, true),
    ] {
        for (check, good, bad) in cases {
            let mut ask = |what: &str| {
                let argument = if list {
                    format!("[{what}]")
                } else {
                    what.to_owned()
                };
                texts(
                    &mut admin,
                    &format!("SELECT check_id FROM ward.{function}($json${argument}$json$::jsonb)"),
                )
            };
            let passed = ask(good);
            assert!(!passed.iter().any(|id| id == check), "{check}: {good}");
            let failed = ask(bad);
            assert!(failed.iter().any(|id| id == check), "{check}: {bad}");
        }
        // Nothing to look at is nothing found, not an error.
        let nothing = if list { "[]" } else { "{}" };
        let found = texts(
            &mut admin,
            &format!("SELECT check_id FROM ward.{function}('{nothing}'::jsonb)"),
        );
        assert!(found.is_empty(), "{found:?}");
    }
}

#[test]
fn the_real_configuration_is_what_is_judged() {
    let mut cluster = Cluster::with_extension_and(
        Options::default()
            .set("log_connections", "on")
            .set("log_parameter_max_length_on_error", "20")
            .set("idle_in_transaction_session_timeout", "1min"),
    );
    let checks =
        "SELECT check_id || ' ' || object FROM ward.security_posture() WHERE check_id ~ '^server'";
    let mut admin = cluster.superuser();
    let found = texts(&mut admin, checks);
    let has = |what: &str| found.iter().any(|line| line.starts_with(what));
    assert!(has("server.hba_trust "), "{found:?}");
    assert!(
        has("server.log_disconnections log_disconnections"),
        "{found:?}"
    );
    assert!(has("server.log_parameters_on_error "), "{found:?}");
    assert!(!has("server.log_connections"), "{found:?}");
    assert!(!has("server.idle_in_transaction"), "{found:?}");
    assert!(!has("server.hba_error"), "{found:?}");
    // What a session sets for itself is not the server's.
    run(
        &mut admin,
        "SET log_parameter_max_length_on_error = 0; SET idle_in_transaction_session_timeout = 0",
    );
    assert_eq!(texts(&mut admin, checks), found);

    // The remedy, as it is given, and the files that only a person can edit.
    for remedy in texts(
        &mut admin,
        "SELECT remediation FROM ward.security_posture()
         WHERE check_id IN ('server.log_disconnections', 'server.log_parameters_on_error', 'server.log_replication')",
    ) {
        run(&mut admin, &remedy);
    }
    let hba = cluster.data_directory().join("pg_hba.conf");
    let rules = std::fs::read_to_string(&hba).expect("pg_hba.conf");
    std::fs::write(&hba, format!("{rules}\nhost all all 10.0.0.0/8 nonsense\n"))
        .expect("write pg_hba.conf");
    cluster.reload();
    ward_tests::wait_until("the settings are in force", || {
        // log_disconnections counts for new sessions.
        let found = texts(&mut cluster.superuser(), checks);
        !found
            .iter()
            .any(|line| line.contains("log_disconnections") || line.contains("log_replication"))
            && found
                .iter()
                .any(|line| line.starts_with("server.hba_error"))
    });
    std::fs::write(&hba, rules).expect("write pg_hba.conf");
    cluster.restart();
}

#[test]
fn the_source_of_the_master_key_is_judged() {
    let checks = "SELECT coalesce(string_agg(check_id, ' ' ORDER BY check_id), '') FROM ward.security_posture() WHERE check_id ~ '^ward.master_key'";
    let mut none = Cluster::with_extension_and(Options::default().master_key(MasterKey::None));
    assert_eq!(
        text(&mut none.superuser(), checks).as_deref(),
        Some("ward.master_key_missing")
    );
    none.stop();

    let mut options = Options::default().master_key(MasterKey::None);
    options
        .environment
        .push(("PG_WARD_MASTER_KEY".to_owned(), random_key()));
    let mut environment = Cluster::with_extension_and(options);
    assert_eq!(
        text(&mut environment.superuser(), checks).as_deref(),
        Some("ward.master_key_environment")
    );
    environment.stop();

    let old = random_key();
    let mut file =
        Cluster::with_extension_and(Options::default().master_key(MasterKey::private_file(&old)));
    let mut admin = file.superuser();
    run(&mut admin, "SELECT ward.generate_encryption_key('first')");
    assert_eq!(text(&mut admin, checks).as_deref(), Some(""));
    drop(admin);
    file.write_master_key(&format!("{}\n{old}\n", random_key()), 0o600);
    file.restart();
    let mut admin = file.superuser();
    assert_eq!(
        text(&mut admin, checks).as_deref(),
        Some("ward.master_key_several")
    );
    run(&mut admin, "SELECT ward.generate_encryption_key('second')");
    assert_eq!(
        text(&mut admin, checks).as_deref(),
        Some("ward.master_key_mixed ward.master_key_several")
    );
}
