-- test_isolation tries, and says what it could not try.
\set VERBOSITY default
\set SHOW_CONTEXT never
SET client_min_messages = error;
DROP ROLE IF EXISTS trial_owner, trial_app, trial_reader, trial_other, trial_bypass;
CREATE ROLE trial_owner;
CREATE ROLE trial_app;
CREATE ROLE trial_reader;
CREATE ROLE trial_other;
CREATE ROLE trial_bypass BYPASSRLS;
GRANT trial_app, trial_reader, trial_bypass TO trial_owner;
-- It acts for any tenant, so a table's owner needs a grant.
GRANT EXECUTE ON FUNCTION ward.test_isolation(regclass, name, text, text) TO trial_owner, trial_app;
CREATE SCHEMA trial AUTHORIZATION trial_owner;
GRANT USAGE ON SCHEMA trial TO PUBLIC;
SET ROLE trial_owner;
SET search_path = trial;
CREATE TABLE doc (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id text NOT NULL, title text, twice text GENERATED ALWAYS AS (title || title) STORED);
INSERT INTO doc (tenant_id, title) VALUES ('a', 'secret of a'), ('a', 'x'), ('b', 'secret of b');
SELECT ward.test_isolation('doc', 'trial_app', 'a', 'b');
SELECT ward.enable_tenant_isolation('doc');
GRANT SELECT, INSERT, UPDATE, DELETE ON doc TO trial_app;
GRANT SELECT ON doc TO trial_reader;
GRANT ALL ON doc TO trial_bypass;
SELECT * FROM ward.test_isolation('doc', 'trial_app', 'a', 'b');
-- Rights are a separate matter.
SELECT * FROM ward.test_isolation('doc', 'trial_reader', 'a', 'b') WHERE attempt ~ '^a|with';
-- A role that no policy binds.
SELECT * FROM ward.test_isolation('doc', 'trial_bypass', 'a', 'b') WHERE attempt ~ '^a|with|trunc';
-- Nothing to try with is not a success.
SELECT * FROM ward.test_isolation('doc', 'trial_app', 'a', 'nobody') WHERE attempt !~ '^b';
SELECT bool_and(isolated IS TRUE), count(isolated) FROM ward.test_isolation('doc', 'trial_app', 'c', 'nobody');
-- Nothing of it stays: not rows, not the context, not the binding of the transaction.
CREATE TABLE noise (n int);
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO trial.noise VALUES (1);
    RETURN NEW;
END $$;
CREATE TRIGGER note BEFORE INSERT OR UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION note();
GRANT INSERT ON noise TO trial_app;
BEGIN;
SELECT ward.set_tenant_context('b');
SELECT count(*) FROM doc;
SELECT count(*) FROM ward.test_isolation('doc', 'trial_app', 'a', 'b') WHERE isolated;
SELECT ward.get_tenant_context(), current_user, current_setting('search_path');
SELECT count(*) FROM doc;
SELECT ward.set_tenant_context('a');
ROLLBACK;
SELECT count(*) FROM noise;
-- It leaves the transaction unbound, too.
BEGIN;
SELECT count(*) FROM ward.test_isolation('doc', 'trial_app', 'a', 'b');
SELECT ward.get_tenant_context();
SELECT ward.set_tenant_context('c');
COMMIT;

-- Broken isolation is found, whichever side is broken.
CREATE POLICY peep ON doc FOR SELECT USING (true);
SELECT * FROM ward.test_isolation('doc', 'trial_app', 'a', 'b') WHERE NOT isolated;
ALTER POLICY ward_tenant_isolation ON doc USING (tenant_id = ward.get_tenant_context() OR true);
SELECT * FROM ward.test_isolation('doc', 'trial_app', 'a', 'b') WHERE NOT isolated;
ALTER POLICY ward_tenant_isolation ON doc WITH CHECK (true);
SELECT * FROM ward.test_isolation('doc', 'trial_app', 'a', 'b') WHERE NOT isolated;
ALTER POLICY ward_access ON doc USING (true) WITH CHECK (true);
SELECT * FROM ward.test_isolation('doc', 'trial_app', 'a', 'b') WHERE NOT isolated;
-- A constraint that stops an attempt does not make it a success; a trigger that puts it right does.
DROP TRIGGER note ON doc;
ALTER TABLE doc ADD CHECK (title <> 'x' OR tenant_id = 'a'), ADD UNIQUE (title);
SELECT * FROM ward.test_isolation('doc', 'trial_app', 'a', 'b') WHERE attempt ~ 'inserts';
CREATE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.tenant_id := COALESCE(ward.get_tenant_context(), 'none');
    NEW.title := NEW.title || clock_timestamp();
    RETURN NEW;
END $$;
CREATE TRIGGER mine BEFORE INSERT OR UPDATE ON doc FOR EACH ROW EXECUTE FUNCTION mine();
SELECT * FROM ward.test_isolation('doc', 'trial_app', 'a', 'b') WHERE attempt ~ 'inserts|gives';
-- A trigger's own error proves nothing; one that tries to become somebody else fails.
CREATE OR REPLACE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE 'no % today', OLD.title;
END $$;
SELECT * FROM ward.test_isolation('doc', 'trial_app', 'a', 'b') WHERE attempt ~ '^a';
CREATE OR REPLACE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RESET ROLE;
    RETURN NEW;
END $$;
SELECT * FROM ward.test_isolation('doc', 'trial_app', 'a', 'b') WHERE attempt = 'a changes a row of b';
CREATE OR REPLACE FUNCTION mine() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM ward.set_tenant_context('b');
    RETURN NEW;
END $$;
SELECT * FROM ward.test_isolation('doc', 'trial_app', 'a', 'b') WHERE attempt = 'a changes a row of b';
DROP TRIGGER mine ON doc;
-- A policy that tells nothing about whose a row is cannot be tried.
ALTER POLICY ward_tenant_isolation ON doc USING (true);
SELECT ward.test_isolation('doc', 'trial_app', 'a', 'b');
ALTER POLICY ward_tenant_isolation ON doc USING (tenant_id = 'a');
SELECT ward.enable_tenant_isolation('doc');
-- With row_security off it is still tried.
SET row_security = off;
SELECT bool_and(isolated IS TRUE) FROM ward.test_isolation('doc', 'trial_app', 'a', 'b');
RESET row_security;

-- Partitions, by user, by parent, by tenant and user.
CREATE TABLE part (tenant_id text, n int) PARTITION BY RANGE (n);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (10) TO (20);
INSERT INTO part VALUES ('a', 1), ('b', 11);
GRANT ALL ON part, part_1, part_2 TO trial_app;
SELECT ward.enable_tenant_isolation('part');
SELECT * FROM ward.test_isolation('part', 'trial_app', 'a', 'b') WHERE attempt !~ '^b';
ALTER TABLE part_2 DISABLE ROW LEVEL SECURITY;
SELECT * FROM ward.test_isolation('part', 'trial_app', 'a', 'b') WHERE NOT isolated;
CREATE TABLE both_of (tenant_id text, user_id uuid, id int PRIMARY KEY);
INSERT INTO both_of VALUES ('a', 'a0000000-0000-4000-8000-000000000001', 1), ('a', 'a0000000-0000-4000-8000-000000000002', 2);
CREATE TABLE below (both_of int REFERENCES both_of);
INSERT INTO below VALUES (1), (2);
SELECT ward.enable_user_isolation('both_of');
GRANT ALL ON both_of, below TO trial_app;
REVOKE TRUNCATE ON both_of, below FROM trial_app;
SELECT bool_and(isolated IS TRUE), count(isolated) FROM ward.test_isolation('both_of', 'trial_app', 'a0000000-0000-4000-8000-000000000001', 'a0000000-0000-4000-8000-000000000002');
SELECT ward.enable_tenant_isolation('both_of');
SELECT ward.enable_parent_isolation('below', 'both_of');
SELECT t, bool_and(isolated IS TRUE), count(isolated)
FROM unnest('{both_of,below}'::regclass[]) t,
     ward.test_isolation(t, 'trial_app', '{"tenant": "a", "user": "a0000000-0000-4000-8000-000000000001"}', '{"tenant": "a", "user": "a0000000-0000-4000-8000-000000000002"}')
GROUP BY t ORDER BY t;
SELECT ward.test_isolation('both_of', 'trial_app', 'a', 'b');
SELECT ward.test_isolation('both_of', 'trial_app', '{"tenant": "a"}', 'b');
SELECT ward.test_isolation('both_of', 'trial_app', '{"tenant": "a", "user": "u", "x": 1}', 'b');
-- Without the right to read the parent not even own rows are seen.
REVOKE ALL ON both_of FROM trial_app;
SELECT * FROM ward.test_isolation('below', 'trial_app', '{"tenant": "a", "user": "a0000000-0000-4000-8000-000000000001"}', '{"tenant": "a", "user": "a0000000-0000-4000-8000-000000000002"}') WHERE attempt ~ '^a';

-- Integer and text users, as tokens name them; hostile names; a database where only tokens count.
CREATE TABLE "Trial ""of' %I" ("The ""User" int, "Name" text, "$1" text);
INSERT INTO "Trial ""of' %I" VALUES (7, 'seven', '$2'), (8, 'eight', NULL);
GRANT SELECT, INSERT, UPDATE, DELETE ON "Trial ""of' %I" TO trial_app;
SELECT ward.enable_user_isolation('"Trial ""of'' %I"', 'The "User');
RESET ROLE;
SET ward.context_mode = 'token';
SELECT bool_and(isolated IS TRUE), count(isolated) FROM ward.test_isolation('"Trial ""of'' %I"', 'trial_app', '7', '8');
RESET ward.context_mode;
SET ROLE trial_owner;
SELECT count(isolated) FROM ward.test_isolation('"Trial ""of'' %I"', 'trial_app', '07', '8.0');
SELECT ward.disable_isolation('"Trial ""of'' %I"');
SELECT ward.enable_user_isolation('"Trial ""of'' %I"', 'Name');
SELECT bool_and(isolated IS TRUE), count(isolated) FROM ward.test_isolation('"Trial ""of'' %I"', 'trial_app', 'seven', 'eight');
SELECT bool_and(isolated IS TRUE), count(isolated) FROM ward.test_isolation('"Trial ""of'' %I"', 'trial_app', 'seven'' OR true --', 'eight');

-- Who may, and with what.
SELECT ward.test_isolation(NULL, 'trial_app', 'a', 'b');
SELECT ward.test_isolation('doc', NULL, 'a', 'b');
SELECT ward.test_isolation('doc', 'trial_app', NULL, 'b');
SELECT ward.test_isolation('doc', 'trial_app', 'a', NULL);
SELECT ward.test_isolation('doc', 'trial_app', 'a', 'a');
SELECT ward.test_isolation('doc', 'trial_app', '', 'a');
SELECT ward.test_isolation('doc', 'trial_app', repeat('a', 256), 'a');
SELECT ward.test_isolation('doc', 'nobody_at_all', 'a', 'b');
SELECT ward.test_isolation('doc', 'trial_other', 'a', 'b');
SELECT ward.test_isolation('noise', 'trial_app', 'a', 'b');
SET ROLE trial_app;
SELECT ward.test_isolation('trial.doc', 'trial_app', 'a', 'b');
SET ROLE trial_owner;
BEGIN READ ONLY;
SELECT ward.test_isolation('doc', 'trial_app', 'a', 'b');
ROLLBACK;

RESET ROLE;
RESET search_path;
DROP SCHEMA trial CASCADE;
REVOKE EXECUTE ON FUNCTION ward.test_isolation(regclass, name, text, text) FROM trial_owner, trial_app;
DROP ROLE trial_owner, trial_app, trial_reader, trial_other, trial_bypass;
