-- Grants and comments. Runs after every function exists.

-- A body is parsed when it runs: a backslash in it must mean the same whatever the session has set.
DO $$
DECLARE
    helper regprocedure;
BEGIN
    FOR helper IN
        SELECT p.oid FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_language l ON l.oid = p.prolang
        WHERE p.pronamespace = 'ward'::pg_catalog.regnamespace AND l.lanname IN ('sql', 'plpgsql')
          AND pg_catalog.strpos(p.prosrc, pg_catalog.chr(92)) > 0
    LOOP
        EXECUTE pg_catalog.format('ALTER ROUTINE %s SET standard_conforming_strings = on', helper);
    END LOOP;
END
$$;
