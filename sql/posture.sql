-- The posture as a whole: findings, score, validation, waivers.

CREATE FUNCTION ward.posture_skipped(verify_trail boolean)
RETURNS TABLE (check_id text, reason text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
SELECT c.check_id, 'needs EXECUTE on pg_hba_file_rules() and SELECT on the view of that name' FROM ward.posture_checks c
WHERE c.check_id LIKE 'server.hba%' AND NOT ward.posture_sees('hba')
UNION ALL
SELECT v.check_id, 'needs SELECT on pg_authid' FROM (VALUES ('access.md5_passwords'), ('access.password_expiry')) AS v (check_id)
WHERE NOT ward.posture_sees('passwords')
UNION ALL
SELECT 'access.privileged_session', 'needs membership in pg_read_all_stats' WHERE NOT ward.posture_sees('sessions')
UNION ALL
SELECT 'ward.no_checkpoint', 'needs SELECT on ward.audit_block and ward.audit_checkpoints' WHERE NOT ward.posture_sees('log')
UNION ALL
SELECT 'ward.key_grant_void', 'needs SELECT on ward.key_grant and ward.encryption_key' WHERE NOT ward.posture_sees('key_grants')
UNION ALL
SELECT v.check_id, 'needs EXECUTE on ward.status()'
FROM (VALUES ('ward.worker'), ('ward.seal_lag'), ('ward.checkpoint_refused'), ('ward.master_key_missing'), ('ward.master_key_environment'), ('ward.master_key_several')) AS v (check_id)
WHERE NOT ward.posture_sees('status')
UNION ALL
SELECT 'ward.trail_invalid', CASE WHEN verify_trail THEN 'needs EXECUTE on ward.verify_audit_trail_integrity()'
                                  ELSE 'reads the whole trail: SELECT * FROM ward.run_security_validation(verify_trail => true)' END
WHERE NOT (verify_trail AND ward.posture_sees('trail'))
UNION ALL
-- A setting that the caller may not see. (Those that this version of PostgreSQL does not have are not asked for.)
SELECT DISTINCT v.check_id, format('needs membership in pg_read_all_settings, to see %s', v.setting)
FROM (VALUES ('server.password_check', 'shared_preload_libraries'), ('server.log_statement', 'shared_preload_libraries')) AS v (check_id, setting)
WHERE NOT ward.posture_visible_settings() ? v.setting
$$;
COMMENT ON FUNCTION ward.posture_skipped(boolean) IS 'Checks that cannot be made for the caller, and why. Part of security_posture().';

CREATE FUNCTION ward.posture_sees(what text) RETURNS boolean
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
SELECT CASE what
    WHEN 'hba' THEN has_table_privilege('pg_catalog.pg_hba_file_rules', 'SELECT') AND has_function_privilege('pg_catalog.pg_hba_file_rules()', 'EXECUTE')
    WHEN 'passwords' THEN has_table_privilege('pg_catalog.pg_authid', 'SELECT')
    WHEN 'sessions' THEN pg_has_role('pg_read_all_stats', 'USAGE')
    WHEN 'key_grants' THEN has_table_privilege('ward.key_grant', 'SELECT') AND has_table_privilege('ward.encryption_key', 'SELECT')
    WHEN 'log' THEN has_table_privilege('ward.audit_block', 'SELECT') AND has_table_privilege('ward.audit_checkpoints', 'SELECT')
    WHEN 'status' THEN has_function_privilege('ward.status()', 'EXECUTE')
    WHEN 'trail' THEN has_function_privilege('ward.verify_audit_trail_integrity(timestamptz, timestamptz, integer)', 'EXECUTE')
    ELSE false END
$$;
COMMENT ON FUNCTION ward.posture_sees(text) IS 'Whether the caller may read what some checks need. Part of security_posture().';

CREATE FUNCTION ward.posture_findings(verify_trail boolean)
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE plpgsql STABLE STRICT PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT * FROM ward.posture_tables();
    RETURN QUERY SELECT * FROM ward.posture_views();
    RETURN QUERY SELECT * FROM ward.posture_keys();
    RETURN QUERY SELECT * FROM ward.posture_policies();
    RETURN QUERY SELECT * FROM ward.posture_roles();
    RETURN QUERY SELECT * FROM ward.posture_grants();
    RETURN QUERY SELECT * FROM ward.posture_functions();
    RETURN QUERY SELECT * FROM ward.posture_settings(ward.posture_visible_settings());
    RETURN QUERY SELECT * FROM ward.posture_capture();
    RETURN QUERY SELECT * FROM ward.posture_extension();
    RETURN QUERY SELECT * FROM ward.posture_registry(ward.posture_rows('ward.encryption_keys'));
    RETURN QUERY SELECT * FROM ward.posture_tokens(ward.posture_rows(to_regclass('ward.jwt_keys')));
    -- What the caller may not read is left out here and told by posture_skipped().
    IF ward.posture_sees('sessions') THEN RETURN QUERY SELECT * FROM ward.posture_sessions(); END IF;
    IF ward.posture_sees('passwords') THEN RETURN QUERY SELECT * FROM ward.posture_passwords(); END IF;
    IF ward.posture_sees('hba') THEN RETURN QUERY SELECT * FROM ward.posture_hba(ward.posture_hba_rules()); END IF;
    IF ward.posture_sees('key_grants') THEN RETURN QUERY SELECT * FROM ward.posture_key_grants(); END IF;
    IF ward.posture_sees('log') THEN RETURN QUERY SELECT * FROM ward.posture_checkpoints(ward.posture_visible_settings()); END IF;
    IF ward.posture_sees('status') THEN RETURN QUERY SELECT * FROM ward.posture_parts(ward.posture_status()); END IF;
    IF verify_trail AND ward.posture_sees('trail') THEN RETURN QUERY SELECT * FROM ward.posture_trail(); END IF;
END
$$;
COMMENT ON FUNCTION ward.posture_findings(boolean) IS 'Every finding, waived ones too. Part of security_posture().';

CREATE FUNCTION ward.posture_rank(level text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$ SELECT array_position('{critical,high,medium,low,info,skipped}', level) $$;
COMMENT ON FUNCTION ward.posture_rank(text) IS 'The order of levels, the worst first. For security_posture().';

CREATE FUNCTION ward.security_posture()
RETURNS TABLE (check_id text, level text, object text, detail text, remediation text, waived text)
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
SELECT * FROM (
    SELECT f.check_id, c.level, f.object, f.detail, f.remediation,
           CASE WHEN w.reason IS NOT NULL THEN format('by %I on %s: %s', w.waived_by, to_char(w.waived_at, 'YYYY-MM-DD'), w.reason) END
    FROM ward.posture_findings(false) f JOIN ward.posture_checks c USING (check_id)
    LEFT JOIN ward.posture_waiver w ON w.check_id = f.check_id AND w.object = f.object AND w.ended_at IS NULL
    UNION ALL
    SELECT s.check_id, 'skipped', NULL, s.reason, NULL, NULL FROM ward.posture_skipped(false) s
) AS row (check_id, level, object, detail, remediation, waived)
ORDER BY waived IS NOT NULL, ward.posture_rank(level), check_id, object
$$;

CREATE FUNCTION ward.security_score() RETURNS integer
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
-- Each failing check takes its share of what is left; the first finding takes half of the share, the second a
-- quarter, and so on. So mending a finding always raises the product, and no number of findings of one check
-- hides the others. A check that could not be made counts as one finding.
WITH failing AS (
    SELECT c.level, count(*) AS findings
    FROM (SELECT p.check_id FROM ward.security_posture() p WHERE p.waived IS NULL AND p.check_id <> 'ward.trail_invalid') f
    JOIN ward.posture_checks c USING (check_id)
    GROUP BY c.check_id, c.level
),
share AS (
    SELECT level, findings, CASE level WHEN 'critical' THEN 0.60 WHEN 'high' THEN 0.30 WHEN 'medium' THEN 0.12 WHEN 'low' THEN 0.04 ELSE 0 END AS weight
    FROM failing
)
SELECT floor(least(
    CASE WHEN bool_or(level = 'critical') THEN 49 WHEN bool_or(level = 'high') THEN 79 ELSE 100 END,
    100 * coalesce(exp(sum(ln(1 - weight * (1 - 0.5 ^ least(findings, 30))))), 1)))::integer
FROM share
$$;

CREATE FUNCTION ward.run_security_validation(verify_trail boolean DEFAULT false)
RETURNS TABLE (check_id text, level text, title text, status text, findings bigint, detail text, overall_status text)
LANGUAGE sql STABLE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
WITH finding AS (
    SELECT f.check_id, count(*) AS findings, min(f.object) AS example
    FROM ward.posture_findings(coalesce(verify_trail, false)) f
    WHERE NOT EXISTS (SELECT FROM ward.posture_waiver w WHERE w.check_id = f.check_id AND w.object = f.object AND w.ended_at IS NULL)
    GROUP BY f.check_id
),
result AS (
    SELECT c.check_id, c.level, c.title,
           CASE WHEN s.check_id IS NOT NULL THEN 'SKIP' WHEN f.findings IS NULL THEN 'PASS'
                WHEN c.level = 'info' THEN 'INFO' ELSE 'FAIL' END AS status,
           coalesce(f.findings, 0) AS findings,
           coalesce(s.reason, CASE f.findings WHEN 1 THEN f.example ELSE format('%s and %s more', f.example, f.findings - 1) END) AS detail
    FROM ward.posture_checks c LEFT JOIN finding f USING (check_id)
    LEFT JOIN ward.posture_skipped(coalesce(verify_trail, false)) s USING (check_id)
)
SELECT check_id, level, title, status, findings, CASE WHEN status <> 'PASS' THEN detail END,
       CASE WHEN bool_or(status = 'FAIL') OVER () THEN 'FAIL'
            WHEN bool_or(status = 'SKIP' AND check_id <> 'ward.trail_invalid') OVER () THEN 'INCOMPLETE' ELSE 'PASS' END
FROM result
ORDER BY ward.posture_rank(level), check_id
$$;

CREATE FUNCTION ward.waive_finding(check_id text, object text, reason text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF check_id IS NULL OR object IS NULL OR reason IS NULL OR reason !~ '\S' THEN
        RAISE null_value_not_allowed USING MESSAGE = 'check_id, object and reason must be given',
            HINT = 'Give check_id and object as ward.security_posture() shows them, and say why the finding is accepted.';
    END IF;
    IF char_length(waive_finding.reason) > 1000 THEN
        RAISE string_data_right_truncation USING MESSAGE = 'the reason is longer than 1000 characters', HINT = 'Shorten it.';
    END IF;
    IF NOT EXISTS (SELECT FROM ward.posture_checks c WHERE c.check_id = waive_finding.check_id) THEN
        RAISE undefined_object USING MESSAGE = 'there is no check of this id', HINT = 'See ward.posture_checks.';
    END IF;
    INSERT INTO ward.posture_waiver (check_id, object, reason, waived_by)
    VALUES (waive_finding.check_id, waive_finding.object, waive_finding.reason, session_user);
EXCEPTION WHEN unique_violation THEN
    RAISE duplicate_object USING MESSAGE = 'this finding is waived already',
        HINT = 'To change the reason, call ward.unwaive_finding() first.';
END
$$;

CREATE FUNCTION ward.unwaive_finding(check_id text, object text) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE ward.posture_waiver w SET ended_by = session_user, ended_at = clock_timestamp()
    WHERE w.check_id = unwaive_finding.check_id AND w.object = unwaive_finding.object AND w.ended_at IS NULL;
    IF NOT FOUND THEN
        RAISE undefined_object USING MESSAGE = 'this finding is not waived', HINT = 'See ward.posture_waiver.';
    END IF;
END
$$;

COMMENT ON FUNCTION ward.security_posture() IS
    'Weaknesses of this database and server, a row each, with what mends it. Runs with the caller''s rights; what it may not see is a row of level skipped.';
COMMENT ON FUNCTION ward.security_score() IS
    '0 to 100, from the findings of security_posture() that are not waived. Mending a finding never lowers it.';
COMMENT ON FUNCTION ward.run_security_validation(boolean) IS
    'One row per check: PASS, FAIL, INFO (findings of level info) or SKIP (cannot be seen), and the overall status on each.';
COMMENT ON FUNCTION ward.waive_finding(text, text, text) IS
    'Accepts a finding: it stays in security_posture(), marked, and no longer counts.';
COMMENT ON FUNCTION ward.unwaive_finding(text, text) IS
    'Ends a waiver. That it existed stays in ward.posture_waiver.';

-- A list of weaknesses is a map for an attacker: only for those who watch over the server.
DO $$
DECLARE
    helper regprocedure;
BEGIN
    FOR helper IN
        SELECT p.oid FROM pg_catalog.pg_proc p
        WHERE p.pronamespace = 'ward'::pg_catalog.regnamespace
          AND (p.proname LIKE 'posture\_%' OR p.proname IN ('security_posture', 'security_score', 'run_security_validation'))
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC; GRANT EXECUTE ON FUNCTION %1$s TO pg_monitor', helper);
    END LOOP;
END
$$;
REVOKE ALL ON FUNCTION ward.waive_finding(text, text, text), ward.unwaive_finding(text, text) FROM PUBLIC;
