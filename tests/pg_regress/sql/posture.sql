-- Security posture: what findings look like, waivers, and who may ask.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = warning;
DROP ROLE IF EXISTS posture_owner, posture_app, posture_watcher;
CREATE ROLE posture_owner;
CREATE ROLE posture_app;
CREATE ROLE posture_watcher;
GRANT pg_monitor TO posture_watcher;
CREATE SCHEMA posture AUTHORIZATION posture_owner;
GRANT USAGE ON SCHEMA posture TO PUBLIC;

-- Of an isolated table there is nothing to say, whatever it is called.
CREATE TABLE posture."Odd ""Name""" (tenant_id text NOT NULL, id uuid PRIMARY KEY);
CREATE INDEX ON posture."Odd ""Name""" (tenant_id);
SELECT ward.enable_tenant_isolation('posture."Odd ""Name"""');
ALTER TABLE posture."Odd ""Name""" OWNER TO posture_owner;
CREATE VIEW posture.findings AS
SELECT check_id, level, object, detail, remediation, waived FROM ward.security_posture() WHERE object LIKE '%posture.%';
SELECT * FROM posture.findings;

-- Findings and what mends them.
CREATE VIEW posture."Loose" AS SELECT * FROM posture."Odd ""Name""";
CREATE TABLE posture.bare (tenant_id text);
GRANT SELECT ON posture.bare TO PUBLIC;
CREATE TABLE posture.open (tenant_id text, n int);
CREATE POLICY "All; DROP" ON posture.open USING (tenant_id = current_setting('posture.tenant'));
ALTER TABLE posture.open ENABLE ROW LEVEL SECURITY;
CREATE FUNCTION posture.define(text) RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
\x on
SELECT * FROM posture.findings;
\x off
ALTER VIEW posture."Loose" SET (security_invoker = true);
SELECT check_id, object FROM posture.findings WHERE check_id LIKE 'isolation.view%';

-- Settings, rules of pg_hba.conf and parts of pg_ward are judged by what is given.
SELECT * FROM ward.posture_settings('{"ssl": "off", "listen_addresses": "*", "fsync": "off", "log_line_prefix": "it''s", "log_destination": "stderr"}');
SELECT * FROM ward.posture_settings('{}');
SELECT * FROM ward.posture_settings(NULL);
SELECT * FROM ward.posture_hba('[{"line_number": 7, "type": "host", "database": ["all"], "user_name": ["all"], "address": "0.0.0.0", "netmask": "0.0.0.0", "auth_method": "md5"},
    {"line_number": 8, "file_name": "/etc/hba", "type": "local", "database": ["a", "b"], "user_name": ["+c"], "auth_method": "trust"},
    {"line_number": 9, "error": "no such method"}]');
SELECT * FROM ward.posture_hba('[]');
SELECT * FROM ward.posture_parts('[{"part": "master key", "ok": false, "state": "not configured", "what_to_do": "Set it."},
    {"part": "worker", "ok": true, "state": "sealing"}]');
SELECT * FROM ward.posture_registry('[{"name": "O''Key", "purpose": "data_encryption", "is_default": false, "state": "active", "master_key_id": "01", "rotation_due": "2020-02-03"},
    {"name": "old", "purpose": "data_encryption", "is_default": false, "state": "destroyed", "master_key_id": "02"},
    {"name": "off", "purpose": "data_encryption", "is_default": true, "state": "disabled", "master_key_id": "02"}]');

-- The catalogue of checks.
SELECT level, count(*) > 0 AS some FROM ward.posture_checks GROUP BY level ORDER BY ward.posture_rank(level);
SELECT check_id FROM ward.posture_checks GROUP BY check_id HAVING count(*) > 1;

-- Waivers.
SELECT ward.waive_finding('isolation.rls_disabled', 'posture.bare', 'holds the tenants themselves');
SELECT check_id, object, waived ~ '^by .* on \d{4}-\d\d-\d\d: holds the tenants themselves$' AS waived
FROM posture.findings WHERE object = 'posture.bare' ORDER BY 1;
SELECT ward.waive_finding('isolation.rls_disabled', 'posture.bare', 'again');
SELECT ward.waive_finding('isolation.nonsense', 'posture.bare', 'why');
SELECT ward.waive_finding('isolation.rls_disabled', 'posture.bare', ' ');
SELECT ward.waive_finding(NULL, 'posture.bare', 'why');
SELECT ward.waive_finding('isolation.rls_disabled', 'x', repeat('x', 1001));
SELECT ward.unwaive_finding('isolation.rls_disabled', 'posture.bare');
SELECT ward.unwaive_finding('isolation.rls_disabled', 'posture.bare');
SELECT check_id, object, reason, ended_at >= waived_at AS ended FROM ward.posture_waiver WHERE object LIKE 'posture.%';

-- Who may ask: those who watch over the server, and they see less than a superuser does.
SET ROLE posture_app;
SELECT * FROM ward.security_posture();
SELECT ward.security_score();
SELECT * FROM ward.run_security_validation();
SELECT ward.waive_finding('isolation.rls_disabled', 'posture.bare', 'mine');
SELECT * FROM ward.posture_waiver;
SELECT count(*) > 50 AS listed FROM ward.posture_checks;
SET ROLE posture_watcher;
SELECT ward.security_score() BETWEEN 0 AND 100 AS score;
SELECT check_id, status, detail FROM ward.run_security_validation() WHERE status = 'SKIP';
SELECT ward.waive_finding('isolation.rls_disabled', 'posture.bare', 'mine');
RESET ROLE;
DELETE FROM ward.posture_waiver WHERE object LIKE 'posture.%';
DROP SCHEMA posture CASCADE;
DROP ROLE posture_owner, posture_app, posture_watcher;
