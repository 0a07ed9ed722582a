//! Weaknesses of roles, grants and functions, and of the extension's own state.

use crate::posture_cases::{Case, case};

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
        "ward.tables_granted",
        "schema ward to app_user",
        "GRANT CREATE ON SCHEMA ward TO app_user",
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
