//! Weaknesses that somebody builds into a database: how to make each, and how to mend it.

/// One weakness. Everything is made in schema `app` of a database that has none.
pub struct Case {
    /// The check that has to find it.
    pub check: &'static str,
    /// What it has to name.
    pub object: &'static str,
    /// Statements that make it.
    pub make: &'static str,
    /// Statements that mend it; empty: those that the finding itself gives.
    pub mend: &'static str,
}

const fn case(
    check: &'static str,
    object: &'static str,
    make: &'static str,
    mend: &'static str,
) -> Case {
    Case {
        check,
        object,
        make,
        mend,
    }
}

/// What all cases stand on: an isolated table `app.good` of an owner that cannot log in.
pub const BASE: &str = "
    CREATE ROLE app_owner NOLOGIN;
    CREATE ROLE app_user LOGIN CONNECTION LIMIT 5;
    CREATE SCHEMA app AUTHORIZATION app_owner;
    GRANT USAGE ON SCHEMA app TO PUBLIC;
    CREATE TABLE app.good (tenant_id text NOT NULL, id uuid PRIMARY KEY, n int);
    CREATE INDEX ON app.good (tenant_id);
    ALTER TABLE app.good OWNER TO app_owner;
    SELECT ward.enable_tenant_isolation('app.good');
    CREATE VIEW app.good_view WITH (security_invoker = on) AS SELECT * FROM app.good;
    CREATE VIEW app.owned_view AS SELECT * FROM app.good;
    ALTER VIEW app.owned_view OWNER TO app_owner;
    CREATE TABLE app.shared_words (word text);
    CREATE FUNCTION app.careful() RETURNS int LANGUAGE sql SECURITY DEFINER
        SET search_path = pg_catalog, pg_temp AS 'SELECT 1';
    REVOKE ALL ON FUNCTION app.careful() FROM PUBLIC;";

/// Tables, policies, and ways around them.
pub const ISOLATION: &[Case] = &[
    case(
        "isolation.rls_disabled",
        "app.bare",
        "CREATE TABLE app.bare (tenant_id text)",
        "",
    ),
    case(
        "isolation.rls_disabled",
        "app.part_1",
        "CREATE TABLE app.part (tenant_id text NOT NULL, n int) PARTITION BY LIST (n);
         CREATE INDEX ON app.part (tenant_id);
         SELECT ward.enable_tenant_isolation('app.part');
         CREATE TABLE app.part_1 PARTITION OF app.part FOR VALUES IN (1);
         ALTER TABLE app.part_1 DISABLE ROW LEVEL SECURITY;
         GRANT SELECT ON app.part_1 TO app_user",
        "",
    ),
    case(
        "isolation.exposed_without_rls",
        "app.open",
        "CREATE TABLE app.open (n int); GRANT SELECT ON app.open TO PUBLIC",
        "",
    ),
    case(
        "isolation.policy_without_rls",
        "app.asleep",
        "CREATE TABLE app.asleep (tenant_id text); CREATE INDEX ON app.asleep (tenant_id);
         CREATE POLICY p ON app.asleep USING (tenant_id = ward.get_tenant_context()) WITH CHECK (false)",
        "",
    ),
    case(
        "isolation.no_policy",
        "app.nobody",
        "CREATE TABLE app.nobody (n int); ALTER TABLE app.nobody ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        "",
    ),
    case(
        "isolation.rls_not_forced",
        "app.unforced",
        "CREATE TABLE app.unforced (n int); ALTER TABLE app.unforced ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.unforced FOR DELETE USING (false)",
        "",
    ),
    case(
        "isolation.permissive_policies",
        "app.several",
        "CREATE TABLE app.several (tenant_id text, n int); CREATE INDEX ON app.several (tenant_id); CREATE INDEX ON app.several (n);
         ALTER TABLE app.several ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY a ON app.several FOR SELECT USING (tenant_id = ward.get_tenant_context());
         CREATE POLICY b ON app.several FOR ALL TO app_user USING (n > 0) WITH CHECK (n > 0)",
        "CREATE POLICY c ON app.several AS RESTRICTIVE USING (tenant_id = ward.get_tenant_context())
             WITH CHECK (tenant_id = ward.get_tenant_context())",
    ),
    case(
        "isolation.policy_always_true",
        "p on app.all_true",
        "CREATE TABLE app.all_true (n int); ALTER TABLE app.all_true ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.all_true USING (true)",
        "",
    ),
    case(
        "isolation.policy_always_true",
        "p on app.self_equal",
        "CREATE TABLE app.self_equal (n int); CREATE INDEX ON app.self_equal (n);
         ALTER TABLE app.self_equal ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.self_equal FOR INSERT WITH CHECK (n = n)",
        "",
    ),
    case(
        "isolation.no_with_check",
        "p on app.unchecked",
        "CREATE TABLE app.unchecked (tenant_id text); CREATE INDEX ON app.unchecked (tenant_id);
         ALTER TABLE app.unchecked ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.unchecked FOR UPDATE USING (tenant_id = ward.get_tenant_context())",
        "",
    ),
    case(
        "isolation.no_with_check",
        "p on app.unwritable",
        "CREATE TABLE app.unwritable (n int);
         ALTER TABLE app.unwritable ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.unwritable FOR INSERT",
        "",
    ),
    case(
        "isolation.policy_volatile",
        "p on app.volatile_policy",
        "CREATE FUNCTION app.moody() RETURNS bool LANGUAGE sql SET search_path = '' PARALLEL SAFE AS 'SELECT true';
         CREATE TABLE app.volatile_policy (n int);
         ALTER TABLE app.volatile_policy ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.volatile_policy USING ((SELECT app.moody())) WITH CHECK (false)",
        "ALTER FUNCTION app.moody() STABLE",
    ),
    case(
        "isolation.policy_volatile",
        "p on app.random_policy",
        "CREATE TABLE app.random_policy (n int);
         ALTER TABLE app.random_policy ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.random_policy USING (random() < 0.5) WITH CHECK (false)",
        "DROP POLICY p ON app.random_policy",
    ),
    case(
        "isolation.policy_parallel_unsafe",
        "p on app.alone",
        "CREATE FUNCTION app.alone() RETURNS bool LANGUAGE sql STABLE SET search_path = '' AS 'SELECT true';
         CREATE TABLE app.alone (n int);
         ALTER TABLE app.alone ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.alone USING ((SELECT app.alone())) WITH CHECK (false)",
        "ALTER FUNCTION app.alone() PARALLEL SAFE",
    ),
    case(
        "isolation.policy_initplan",
        "p on app.per_row",
        "CREATE FUNCTION app.uid() RETURNS int LANGUAGE sql STABLE PARALLEL SAFE SET search_path = '' AS 'SELECT 1';
         CREATE TABLE app.per_row (owner_id int); CREATE INDEX ON app.per_row (owner_id);
         ALTER TABLE app.per_row ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.per_row USING (owner_id = app.uid()) WITH CHECK (false)",
        "ALTER POLICY p ON app.per_row USING (owner_id = (SELECT app.uid()))",
    ),
    case(
        "isolation.policy_unindexed",
        "p on app.unindexed",
        "CREATE TABLE app.unindexed (tenant_id text, n int); CREATE INDEX ON app.unindexed (n, tenant_id);
         CREATE INDEX ON app.unindexed (tenant_id) WHERE n > 0;
         ALTER TABLE app.unindexed ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.unindexed USING (tenant_id = ward.get_tenant_context()) WITH CHECK (false)",
        "",
    ),
    case(
        "isolation.policy_user_setting",
        "p on app.by_setting",
        "CREATE TABLE app.by_setting (tenant_id text); CREATE INDEX ON app.by_setting (tenant_id);
         ALTER TABLE app.by_setting ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.by_setting USING (tenant_id = (SELECT current_setting('app.tenant', true))) WITH CHECK (false)",
        "ALTER POLICY p ON app.by_setting USING (tenant_id = ward.get_tenant_context())",
    ),
    case(
        "isolation.policy_user_setting",
        "p on app.by_computed_setting",
        "CREATE TABLE app.by_computed_setting (tenant_id text); CREATE INDEX ON app.by_computed_setting (tenant_id);
         ALTER TABLE app.by_computed_setting ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.by_computed_setting USING (tenant_id = (SELECT current_setting('app.' || 'tenant'))) WITH CHECK (false)",
        "ALTER POLICY p ON app.by_computed_setting USING (tenant_id = (SELECT current_setting('data_directory')))",
    ),
    case(
        "isolation.policy_user_setting",
        "p on app.by_hidden_setting",
        "CREATE FUNCTION app.hidden() RETURNS text LANGUAGE plpgsql STABLE PARALLEL SAFE SET search_path = ''
             AS 'BEGIN RETURN current_setting(''app.tenant'', true); END';
         CREATE TABLE app.by_hidden_setting (tenant_id text); CREATE INDEX ON app.by_hidden_setting (tenant_id);
         ALTER TABLE app.by_hidden_setting ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.by_hidden_setting USING (tenant_id = (SELECT app.hidden())) WITH CHECK (false)",
        "ALTER POLICY p ON app.by_hidden_setting USING (tenant_id = ward.get_tenant_context())",
    ),
    case(
        "isolation.policy_user_setting",
        "p on app.by_compiled_setting",
        "CREATE FUNCTION app.compiled() RETURNS text STABLE PARALLEL SAFE RETURN current_setting('app.tenant', true);
         CREATE TABLE app.by_compiled_setting (tenant_id text); CREATE INDEX ON app.by_compiled_setting (tenant_id);
         ALTER TABLE app.by_compiled_setting ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.by_compiled_setting USING (tenant_id = (SELECT app.compiled())) WITH CHECK (false)",
        "ALTER POLICY p ON app.by_compiled_setting USING (tenant_id = ward.get_tenant_context())",
    ),
    case(
        "isolation.policy_user_metadata",
        "p on app.by_metadata",
        "CREATE FUNCTION app.jwt() RETURNS jsonb LANGUAGE sql STABLE PARALLEL SAFE SET search_path = '' AS 'SELECT NULL::pg_catalog.jsonb';
         CREATE TABLE app.by_metadata (tenant_id text); CREATE INDEX ON app.by_metadata (tenant_id);
         ALTER TABLE app.by_metadata ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.by_metadata USING (tenant_id = (SELECT app.jwt() -> 'user_metadata' ->> 'tenant')) WITH CHECK (false)",
        "ALTER POLICY p ON app.by_metadata USING (tenant_id = (SELECT app.jwt() -> 'app_metadata' ->> 'tenant'))",
    ),
    case(
        "isolation.view_owner_rights",
        "app.loose_view",
        "CREATE VIEW app.loose_view AS SELECT * FROM app.good",
        "",
    ),
    case(
        "isolation.view_owner_rights",
        "app.outer_view",
        "CREATE VIEW app.inner_view WITH (security_invoker) AS SELECT * FROM app.good;
         CREATE VIEW app.outer_view AS SELECT * FROM app.inner_view",
        "",
    ),
    case(
        "isolation.materialized_view",
        "app.copied",
        "CREATE MATERIALIZED VIEW app.copied AS SELECT * FROM app.good_view",
        "",
    ),
    case(
        "isolation.foreign_table",
        "app.elsewhere",
        "CREATE FOREIGN DATA WRAPPER nothing; CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing;
         CREATE FOREIGN TABLE app.elsewhere (n int) SERVER nowhere; GRANT SELECT ON app.elsewhere TO app_user",
        "",
    ),
    case(
        "isolation.unique_leak",
        "good_n on app.good",
        "CREATE UNIQUE INDEX good_n ON app.good (n)",
        "DROP INDEX app.good_n; CREATE UNIQUE INDEX good_n ON app.good (tenant_id, n)",
    ),
    case(
        "isolation.foreign_key_leak",
        "line_good on app.line",
        "CREATE TABLE app.line (tenant_id text NOT NULL, good uuid, CONSTRAINT line_good FOREIGN KEY (good) REFERENCES app.good);
         CREATE INDEX ON app.line (tenant_id); SELECT ward.enable_tenant_isolation('app.line')",
        "ALTER TABLE app.good ADD CONSTRAINT good_whole UNIQUE (tenant_id, id);
         ALTER TABLE app.line DROP CONSTRAINT line_good,
             ADD CONSTRAINT line_good FOREIGN KEY (tenant_id, good) REFERENCES app.good (tenant_id, id)",
    ),
    case(
        "isolation.foreign_key_leak",
        "twisted on app.twisted",
        "CREATE TABLE app.target (tenant_id text NOT NULL, a text, b text, UNIQUE (a, b));
         CREATE INDEX ON app.target (tenant_id); SELECT ward.enable_tenant_isolation('app.target');
         CREATE TABLE app.twisted (tenant_id text NOT NULL, b text,
             CONSTRAINT twisted FOREIGN KEY (tenant_id, b) REFERENCES app.target (a, b));
         CREATE INDEX ON app.twisted (tenant_id); SELECT ward.enable_tenant_isolation('app.twisted')",
        "ALTER TABLE app.twisted DROP CONSTRAINT twisted",
    ),
];

/// Roles, grants and functions.
pub const ACCESS: &[Case] = &[
    case(
        "access.login_bypassrls",
        "around",
        "CREATE ROLE around LOGIN BYPASSRLS",
        "",
    ),
    case(
        "access.login_owner",
        "owning",
        "CREATE ROLE owning LOGIN; CREATE TABLE app.owned (tenant_id text); CREATE INDEX ON app.owned (tenant_id);
         SELECT ward.enable_tenant_isolation('app.owned'); ALTER TABLE app.owned OWNER TO owning",
        "ALTER TABLE app.owned OWNER TO app_owner",
    ),
    case(
        "access.login_member",
        "\"Mem Ber\" in bypassing",
        "CREATE ROLE bypassing NOLOGIN BYPASSRLS; CREATE ROLE between NOLOGIN; CREATE ROLE \"Mem Ber\" LOGIN;
         GRANT bypassing TO between; GRANT between TO \"Mem Ber\"",
        "REVOKE between FROM \"Mem Ber\"",
    ),
    case(
        "access.login_member",
        "heir in app_owner",
        "CREATE ROLE heir LOGIN; GRANT app_owner TO heir",
        "",
    ),
    case(
        "access.superusers",
        "second",
        "CREATE ROLE second SUPERUSER",
        "",
    ),
    case(
        "access.createrole",
        "maker",
        "CREATE ROLE maker LOGIN CREATEROLE",
        "",
    ),
    case(
        "access.replication",
        "copier",
        "CREATE ROLE copier LOGIN REPLICATION",
        "ALTER ROLE copier NOREPLICATION",
    ),
    case(
        "access.server_roles",
        "reader in pg_read_server_files",
        "CREATE ROLE reader; GRANT pg_read_server_files TO reader",
        "",
    ),
    case(
        "access.data_roles",
        "all_reader in pg_read_all_data",
        "CREATE ROLE all_reader; GRANT pg_read_all_data TO all_reader",
        "",
    ),
    case(
        "access.predefined_roles",
        "watcher in pg_monitor",
        "CREATE ROLE watcher; GRANT pg_monitor TO watcher",
        "",
    ),
    case(
        "access.public_create",
        "schema app",
        "GRANT CREATE ON SCHEMA app TO PUBLIC",
        "",
    ),
    case(
        "access.public_create",
        "database app",
        "GRANT CREATE ON DATABASE app TO PUBLIC",
        "",
    ),
    case(
        "access.public_table",
        "app.granted",
        "CREATE VIEW app.granted AS SELECT 1 AS one; GRANT SELECT ON app.granted TO PUBLIC",
        "",
    ),
    case(
        "access.public_table",
        "app.numbers",
        "CREATE SEQUENCE app.numbers; GRANT USAGE ON SEQUENCE app.numbers TO PUBLIC",
        "",
    ),
    case(
        "access.public_defaults",
        "tables of app_owner in app",
        "ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA app GRANT SELECT ON TABLES TO PUBLIC",
        "",
    ),
    case(
        "access.public_connect",
        "database app",
        "GRANT CONNECT ON DATABASE app TO PUBLIC",
        "",
    ),
    case(
        "access.definer_search_path",
        "app.definer(integer)",
        "CREATE FUNCTION app.definer(int) RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
         REVOKE ALL ON FUNCTION app.definer(int) FROM PUBLIC",
        "",
    ),
    case(
        "access.definer_temp_schema",
        "app.definer_temp()",
        "CREATE PROCEDURE app.definer_temp() LANGUAGE sql SECURITY DEFINER SET search_path = app AS 'SELECT 1';
         REVOKE ALL ON PROCEDURE app.definer_temp() FROM PUBLIC",
        "",
    ),
    case(
        "access.definer_public",
        "app.definer_public()",
        "CREATE FUNCTION app.definer_public() RETURNS int LANGUAGE sql SECURITY DEFINER
             SET search_path = pg_catalog, pg_temp AS 'SELECT 1'",
        "",
    ),
    case(
        "access.function_search_path",
        "app.plain()",
        "CREATE FUNCTION app.plain() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "",
    ),
    case(
        "access.sensitive_columns",
        "app.people.ssn",
        "CREATE TABLE app.people (ssn bytea, name text); GRANT SELECT (ssn, name) ON app.people TO PUBLIC",
        "",
    ),
    case(
        "access.md5_passwords",
        "old_hash",
        "SET password_encryption = 'md5'; CREATE ROLE old_hash PASSWORD 'x'; RESET password_encryption",
        "SET password_encryption = 'scram-sha-256'; ALTER ROLE old_hash PASSWORD 'x'; RESET password_encryption",
    ),
    case(
        "access.password_expiry",
        "for_ever",
        "CREATE ROLE for_ever LOGIN PASSWORD 'x'",
        "",
    ),
    case(
        "access.connection_limit",
        "greedy",
        "CREATE ROLE greedy LOGIN",
        "",
    ),
    case(
        "access.parameter_grants",
        "session_replication_role to app_user",
        "GRANT SET ON PARAMETER session_replication_role TO app_user",
        "",
    ),
    case(
        "access.role_settings",
        "app_user in app",
        "ALTER ROLE app_user IN DATABASE app SET session_replication_role = 'replica'",
        "",
    ),
    case(
        "access.untrusted_language",
        "evil",
        "CREATE LANGUAGE evil HANDLER plpgsql_call_handler",
        "",
    ),
    case(
        "access.extension_in_public",
        "plpgsql",
        "SET allow_system_table_mods = on;
         UPDATE pg_extension SET extnamespace = 'public'::regnamespace WHERE extname = 'plpgsql'",
        "UPDATE pg_extension SET extnamespace = 'pg_catalog'::regnamespace WHERE extname = 'plpgsql'",
    ),
    case(
        "access.extension_outdated",
        "plpgsql",
        "UPDATE pg_extension SET extversion = '0.9' WHERE extname = 'plpgsql'",
        "UPDATE pg_extension SET extversion = '1.0' WHERE extname = 'plpgsql'; RESET allow_system_table_mods",
    ),
];

/// The extension's own state, as far as statements can change it.
pub const EXTENSION: &[Case] = &[
    case(
        "ward.sensitive_plaintext",
        "app.secrets.api_key",
        "CREATE TABLE app.secrets (api_key text)",
        "ALTER TABLE app.secrets ALTER api_key TYPE bytea USING NULL",
    ),
    case(
        "ward.audit_trigger_disabled",
        "ward_audit on app.audited",
        "CREATE TABLE app.audited (n int); SELECT ward.enable_audit('app.audited'); ALTER TABLE app.audited DISABLE TRIGGER ward_audit",
        "",
    ),
    case(
        "ward.audit_trigger_disabled",
        "ward_audit_truncate on app.audited",
        "ALTER TABLE app.audited ENABLE TRIGGER ward_audit_truncate",
        "",
    ),
    case(
        "ward.audit_trigger_missing",
        "app.half_audited",
        "CREATE TABLE app.half_audited (n int); SELECT ward.enable_audit('app.half_audited');
         DROP TRIGGER ward_audit_truncate ON app.half_audited",
        "",
    ),
    case(
        "ward.audit_trigger_missing",
        "app.no_longer_audited",
        "CREATE TABLE app.no_longer_audited (n int); SELECT ward.enable_audit('app.no_longer_audited');
         DROP TRIGGER ward_audit ON app.no_longer_audited",
        "",
    ),
    case(
        "ward.audit_trigger_missing",
        "app.child",
        "CREATE TABLE app.parent (n int); SELECT ward.enable_audit('app.parent'); CREATE TABLE app.child () INHERITS (app.parent);
         DROP TRIGGER ward_audit ON app.child",
        "",
    ),
    case(
        "ward.audit_trigger_altered",
        "ward_audit on app.altered",
        "CREATE TABLE app.altered (n int); SELECT ward.enable_audit('app.altered');
         CREATE OR REPLACE TRIGGER ward_audit AFTER INSERT OR UPDATE OR DELETE ON app.altered FOR EACH ROW
             WHEN (false) EXECUTE FUNCTION ward.audit_capture('[]', '[]')",
        "",
    ),
    case(
        "ward.event_trigger",
        "ward_audit_ddl",
        "ALTER EVENT TRIGGER ward_audit_ddl ENABLE",
        "",
    ),
    case(
        "ward.registry_trigger",
        "registry_changed on ward.key_grant",
        "ALTER TABLE ward.key_grant DISABLE TRIGGER registry_changed",
        "",
    ),
    case(
        "ward.foreign_object",
        "ward.encrypt(integer)",
        "CREATE FUNCTION ward.encrypt(int) RETURNS bytea LANGUAGE sql AS 'SELECT ''''::bytea'",
        "",
    ),
    case(
        "ward.tables_granted",
        "ward.audit_block to app_user",
        "GRANT SELECT ON ward.audit_block TO app_user",
        "",
    ),
    case(
        "ward.tables_granted",
        "ward.key_grant to PUBLIC",
        "GRANT UPDATE (mac) ON ward.key_grant TO PUBLIC",
        "",
    ),
    case(
        "ward.functions_public",
        "ward.status()",
        "GRANT EXECUTE ON FUNCTION ward.status() TO PUBLIC",
        "",
    ),
    case(
        "ward.parameter_grants",
        "ward.log_origin to app_user",
        "GRANT SET ON PARAMETER ward.log_origin TO app_user",
        "",
    ),
    case(
        "ward.key_unusable",
        "halted",
        "SELECT ward.generate_encryption_key('halted'), ward.disable_encryption_key('halted')",
        "",
    ),
    case(
        "ward.no_default_key",
        "default key",
        "SELECT ward.generate_encryption_key('asleep'), ward.set_default_encryption_key('asleep'), ward.disable_encryption_key('asleep')",
        "SELECT ward.enable_encryption_key('asleep')",
    ),
    case(
        "ward.key_grant_void",
        "halted to \"Gone\"",
        "CREATE ROLE \"Gone\"; SELECT ward.grant_key('halted', 'Gone'); DROP ROLE \"Gone\"",
        "",
    ),
    case(
        "ward.context_loosened",
        "app_user",
        "SET allow_system_table_mods = on;
         INSERT INTO pg_db_role_setting VALUES (0, 'app_user'::regrole, '{ward.context_mode=trusted}'),
             ((SELECT oid FROM pg_database WHERE datname = 'app'), 0, '{ward.context_mode=token}')",
        "DELETE FROM pg_db_role_setting WHERE setconfig = '{ward.context_mode=token}'; RESET allow_system_table_mods",
    ),
];
