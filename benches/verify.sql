-- Verifying more than a million entries in SQL.
\set ON_ERROR_STOP 1
CALL fresh('ward');
SELECT fill('ward', 1000000) \gexec
SELECT ward.seal_audit_trail();
CREATE TABLE verdict AS SELECT * FROM ward.verify_audit_trail_integrity();
DO $$ BEGIN
    IF NOT (SELECT is_valid AND entries_checked >= 1000000 FROM verdict) THEN
        RAISE EXCEPTION 'the trail of the benchmark is not valid: %', (SELECT reason FROM verdict);
    END IF;
END $$;
INSERT INTO measurement SELECT 'verify, entries', 'ward', entries_checked FROM verdict;
CALL measure('verify', 'ward', 'SELECT * FROM ward.verify_audit_trail_integrity()');
CALL measure('verify', 'ward', 'SELECT * FROM ward.verify_audit_trail_integrity()');
CALL measure('verify', 'ward', 'SELECT * FROM ward.verify_audit_trail_integrity()');
