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

/// A weakness, written shortly.
pub const fn case(
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
        "isolation.rls_disabled",
        "app.of_user",
        "CREATE TABLE app.of_user (user_id bigint)",
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
        "isolation.policy_always_true",
        "p on app.given_away",
        "CREATE TABLE app.given_away (tenant_id text); CREATE INDEX ON app.given_away (tenant_id);
         ALTER TABLE app.given_away ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY p ON app.given_away FOR UPDATE USING (tenant_id = ward.get_tenant_context()) WITH CHECK (true)",
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
