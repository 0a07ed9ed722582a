-- Tables and views of pg_ward. Runs before the functions are created.

-- CREATE EXTENSION takes a schema of this name that exists already. If somebody else owns it, he can
-- put objects in it and change ours.
DO $$
BEGIN
    IF (SELECT nspowner <> CURRENT_USER::pg_catalog.regrole FROM pg_catalog.pg_namespace WHERE nspname = 'ward') THEN
        RAISE EXCEPTION 'the schema "ward" exists and belongs to another role'
            USING ERRCODE = 'insufficient_privilege',
                  HINT = 'Drop or rename that schema, then create the extension.';
    END IF;
END
$$;

GRANT USAGE ON SCHEMA ward TO PUBLIC;
