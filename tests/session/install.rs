//! What CREATE EXTENSION leaves behind.

use ward_tests::{Cluster, DATABASE, Options, refused, run, texts};

/// Functions that write, administer or reveal the trail: nobody has them without a grant.
const PRIVILEGED: &[&str] = &[
    "generate_encryption_key",
    "rotate_encryption_key",
    "set_default_encryption_key",
    "disable_encryption_key",
    "enable_encryption_key",
    "destroy_encryption_key",
    "grant_key",
    "revoke_key",
    "set_encryption_key_max_age",
    "rewrap_keys",
    "shredding_status",
    "export_encryption_keys",
    "import_encryption_keys",
    "key_usage_counts",
    "flush_key_usage",
    "enable_audit",
    "disable_audit",
    "seal_audit_trail",
    "verify_audit_trail_integrity",
    "audit_violations",
    "audit_checkpoint",
];

/// Only for the owner of the table they are given, whoever may execute them.
const FOR_OWNERS: &[&str] = &[
    "enable_tenant_isolation('t')",
    "enable_user_isolation('t', 'tenant_id')",
    "enable_parent_isolation('t', 'tenant_id')",
    "disable_isolation('t')",
    "test_isolation('t', 'app', 'a', 'b')",
];

#[test]
fn not_preloaded_and_create_extension_prints_the_line_to_add() {
    let cluster = Cluster::start(Options::plain());
    let mut client = cluster.client("postgres", "postgres");
    let error = refused(&mut client, "CREATE EXTENSION pg_ward");
    let told = format!("{} {}", error.message(), error.hint().unwrap_or_default());
    assert!(
        told.contains("shared_preload_libraries = 'pg_ward'"),
        "{told}"
    );
    assert!(
        texts(
            &mut client,
            "SELECT nspname::text FROM pg_namespace WHERE nspname = 'ward'"
        )
        .is_empty()
    );
}

#[test]
fn created_dropped_and_created_again() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(&mut client, "DROP EXTENSION pg_ward CASCADE");
    run(&mut client, "CREATE EXTENSION pg_ward");
}

#[test]
fn every_object_has_a_comment() {
    let cluster = Cluster::with_extension();
    let bare = texts(
        &mut cluster.superuser(),
        "SELECT pg_describe_object(d.classid, d.objid, 0)
         FROM pg_depend d
         LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
         LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
         WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'
           AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pg_ward')
           AND (d.classid = 'pg_proc'::regclass OR c.relkind IN ('r', 'p', 'v', 'm', 'S')
                OR (t.typtype IN ('b', 'd', 'e') AND t.typcategory <> 'A'))
           AND obj_description(d.objid, d.classid::regclass::name) IS NULL
         ORDER BY 1",
    );
    assert!(bare.is_empty(), "no COMMENT: {bare:#?}");
}

#[test]
fn security_definer_functions_pin_their_search_path() {
    let cluster = Cluster::with_extension();
    let loose = texts(
        &mut cluster.superuser(),
        "SELECT oid::regprocedure::text FROM pg_proc
         WHERE pronamespace = 'ward'::regnamespace AND prosecdef
           AND NOT EXISTS (SELECT FROM unnest(proconfig) AS c WHERE c LIKE 'search_path=%')",
    );
    assert!(loose.is_empty(), "{loose:#?}");
}

#[test]
fn the_public_may_not_execute_what_writes_or_administers() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    for name in PRIVILEGED {
        let grants = texts(
            &mut client,
            &format!(
                "SELECT has_function_privilege('public', oid, 'execute')::text FROM pg_proc
                 WHERE pronamespace = 'ward'::regnamespace AND proname = '{name}'"
            ),
        );
        assert!(!grants.is_empty(), "{name} does not exist");
        assert!(
            grants.iter().all(|granted| granted == "false"),
            "{name} is public"
        );
    }
}

#[test]
fn isolation_is_for_the_owner_of_the_table() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "CREATE TABLE t (tenant_id text); CREATE ROLE app LOGIN; GRANT ALL ON t TO app;
         GRANT EXECUTE ON FUNCTION ward.test_isolation TO app",
    );
    let mut app = cluster.client(DATABASE, "app");
    for name in FOR_OWNERS {
        let error = refused(&mut app, &format!("SELECT ward.{name}"));
        assert_eq!(error.code().code(), "42501", "{name}");
    }
}

#[test]
fn the_public_may_not_touch_any_table() {
    let cluster = Cluster::with_extension();
    let open = texts(
        &mut cluster.superuser(),
        "SELECT c.oid::regclass || ' ' || privilege
         FROM pg_class c, unnest('{select,insert,update,delete,truncate,trigger}'::text[]) privilege
         WHERE c.relnamespace = 'ward'::regnamespace AND c.relkind IN ('r', 'p')
           AND has_table_privilege('public', c.oid, privilege)",
    );
    assert!(open.is_empty(), "{open:#?}");
}

#[test]
fn decrypt_is_never_immutable_and_encrypt_is_volatile() {
    let cluster = Cluster::with_extension();
    let wrong = texts(
        &mut cluster.superuser(),
        "SELECT concat(oid::regprocedure, ' ', provolatile) FROM pg_proc
         WHERE pronamespace = 'ward'::regnamespace
           AND ((proname = 'encrypt' AND provolatile <> 'v')
                OR (proname LIKE 'decrypt%' AND provolatile = 'i'))",
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn status_says_ok_or_what_to_do() {
    let cluster = Cluster::with_extension();
    let parts = texts(
        &mut cluster.superuser(),
        "SELECT s::text FROM ward.status() s",
    );
    assert!(parts.len() >= 5, "{parts:#?}");
}
