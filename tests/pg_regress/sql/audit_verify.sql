-- Verifications that are recorded, the health of the trail, its growth, and rows compared with it.
\set VERBOSITY terse
CREATE TABLE verified (id int PRIMARY KEY, note text);
SELECT ward.enable_audit('verified');
INSERT INTO verified SELECT g, 'n' FROM generate_series(1, 10) g;
SELECT ward.seal_audit_trail() > 10 AS sealed;
SELECT unsealed_entries, unsealed_bytes, oldest_unsealed IS NULL AS none, sealed_leaves > 10 AS sealed,
       last_sealed_at <= now() + interval '1 minute' AS dated, worker_ok
FROM ward.audit_health;
SELECT sum(leaves) > 10 AS grown, sum(blocks) > 0 AS blocks FROM ward.audit_growth;

SELECT is_valid, first_bad_entry, reason FROM ward.verify_audit_trail_incremental();
SELECT is_valid, entries_checked, blocks_checked FROM ward.verify_audit_trail_incremental(jobs => 2);
SELECT is_valid, entries_checked >= 10 AS all FROM ward.verify_audit_trail_incremental(full => true);
SELECT verification_no, verified_by = session_user AS mine, to_block >= 0 AS placed, violations, length(mac)
FROM ward.audit_verification ORDER BY 1;
SELECT verified_valid, verified_leaves = sealed_leaves AS all_verified FROM ward.audit_health;

-- Rows are compared with what the trail says of them, this transaction included.
SELECT * FROM ward.verify_current_rows('verified');
BEGIN;
UPDATE verified SET note = 'changed' WHERE id = 1;
SELECT * FROM ward.verify_current_rows('verified');
ROLLBACK;
BEGIN;
ALTER TABLE verified DISABLE TRIGGER ALL;
UPDATE verified SET note = NULL WHERE id = 1;
DELETE FROM verified WHERE id = 2;
INSERT INTO verified VALUES (11, 'n');
SELECT * FROM ward.verify_current_rows('verified') ORDER BY 1;
ROLLBACK;

SELECT * FROM ward.verify_audit_trail_incremental(full => NULL);
SELECT * FROM ward.verify_audit_trail_incremental(jobs => NULL);
SELECT * FROM ward.verify_audit_trail_integrity(jobs => 0);
SELECT * FROM ward.audit_violations(jobs => 65);
SELECT * FROM ward.verify_current_rows(NULL);
SELECT ward.audit_same_row('', ''), ward.audit_same_row('', '\x00'), ward.audit_same_row(NULL, '') IS NULL AS unknown;

CREATE ROLE ward_verify_nobody;
SET ROLE ward_verify_nobody;
SELECT * FROM ward.audit_health;
SELECT * FROM ward.audit_health_state();
SELECT ward.verify_audit_trail_incremental();
RESET ROLE;
DROP ROLE ward_verify_nobody;
DROP TABLE verified;
