-- status(): how each part stands, before and after a table is audited.
\set VERBOSITY default
\set SHOW_CONTEXT never
SELECT current_database() AS origin \gset
SET client_min_messages = warning;
DROP DATABASE IF EXISTS ward_status;
DROP ROLE IF EXISTS ward_status_app;
CREATE DATABASE ward_status ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0;
CREATE ROLE ward_status_app;
\c ward_status
SET client_min_messages = warning;
CREATE EXTENSION pg_ward;
RESET client_min_messages;

SELECT part, ok, what_to_do FROM ward.status();
SELECT part, state FROM ward.status() WHERE part IN ('seal lag', 'checkpoints');
SELECT state ~ '^from (file|command|environment), id [0-9a-f]{16}(, [0-9a-f]{16})*$' AS named,
       state ~ '[0-9a-f]{64}' AS shows_a_key
FROM ward.status() WHERE part = 'master key';
SELECT state IN ('sealing', 'waiting for work') AS idle FROM ward.status() WHERE part = 'worker';

CREATE TABLE t (id int PRIMARY KEY);
SELECT ward.enable_audit('t');
INSERT INTO t SELECT generate_series(1, 100);
SELECT ward.seal_audit_trail() > 100 AS sealed;
SELECT part, ok, what_to_do FROM ward.status();
SELECT part, regexp_replace(state, '[0-9]+', 'N', 'g') AS state FROM ward.status() WHERE part IN ('seal lag', 'checkpoints');
-- An open transaction with changes does not make it less ok.
BEGIN;
INSERT INTO t VALUES (101);
SELECT part, ok FROM ward.status();
COMMIT;
-- Nor does an aborted one that wrote to the journal.
BEGIN;
INSERT INTO t SELECT generate_series(1000, 9000);
ROLLBACK;
SELECT ward.seal_audit_trail() > 100 AS sealed;
SELECT bool_and(ok) AS ok, count(*) AS parts FROM ward.status();
SELECT is_valid, reason FROM ward.verify_audit_trail_integrity();

-- It is for the DBA to grant.
SET ROLE ward_status_app;
SELECT * FROM ward.status();
RESET ROLE;
GRANT EXECUTE ON FUNCTION ward.status() TO ward_status_app;
SET ROLE ward_status_app;
SELECT part, ok FROM ward.status();
RESET ROLE;
-- A session whose search path has traps sees the same.
CREATE SCHEMA trap;
CREATE TABLE trap.audit_block (block_no bigint, sealed_at text);
SET search_path = trap, public, pg_catalog;
SELECT bool_and(ok) AS ok FROM ward.status();
RESET search_path;

\c :origin
SET client_min_messages = warning;
DROP DATABASE ward_status WITH (FORCE);
DROP ROLE ward_status_app;
