-- Three roles for an application's schema: one that reads, one that writes, one that administers the data.

CREATE FUNCTION ward.application_role(role name, schema regnamespace) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    holder pg_roles;
BEGIN
    IF role ~ '^pg_' OR role IN ('public', 'none', '') THEN
        RAISE reserved_name USING MESSAGE = format('role name "%s" is reserved', role), HINT = 'Choose a name of your own, as app_read_only.';
    END IF;
    SELECT * INTO holder FROM pg_roles WHERE rolname = role;
    IF NOT FOUND THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', role);
        RAISE NOTICE 'role % was created; grant it to the roles that log in', quote_ident(role);
        RETURN;
    END IF;
    -- Grants do not limit these.
    IF holder.rolsuper OR holder.rolbypassrls THEN
        RAISE invalid_grant_operation USING MESSAGE = format('role "%s" is superuser or has BYPASSRLS', role),
            HINT = 'Choose a role that is subject to grants and to row level security.';
    END IF;
    IF EXISTS (SELECT FROM pg_class c WHERE c.relnamespace = schema AND pg_has_role(holder.oid, c.relowner, 'MEMBER'))
       OR EXISTS (SELECT FROM pg_namespace n WHERE n.oid = schema AND pg_has_role(holder.oid, n.nspowner, 'MEMBER')) THEN
        RAISE invalid_grant_operation USING MESSAGE = format('role "%s" owns objects of schema %s, or is a member of their owner', role, schema),
            HINT = 'Let a role that applications do not use own the schema and what is in it.';
    END IF;
END
$$;
COMMENT ON FUNCTION ward.application_role(name, regnamespace) IS
    'Makes a role for grant_application_roles(), or checks that grants limit it.';

CREATE FUNCTION ward.grant_application_roles(
    schema regnamespace,
    read name DEFAULT 'app_read_only',
    write name DEFAULT 'app_read_write',
    admin name DEFAULT 'app_admin',
    deletes boolean DEFAULT false
) RETURNS void
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    writes text := 'SELECT, INSERT, UPDATE' || CASE WHEN deletes THEN ', DELETE' ELSE '' END;
    manages text := 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER';
    everyone text;
    routine record;
    creator name;
BEGIN
    IF schema IS NULL OR read IS NULL OR write IS NULL OR admin IS NULL OR deletes IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'schema, roles and deletes must not be NULL';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_namespace WHERE oid = schema) THEN
        RAISE invalid_schema_name USING MESSAGE = 'the schema does not exist';
    END IF;
    IF schema::text ~ '^"?pg_' OR schema IN ('ward'::regnamespace, 'information_schema'::regnamespace) THEN
        RAISE insufficient_privilege USING MESSAGE = format('schema %s is not an application''s', schema),
            HINT = 'What applications need of schema ward, everybody has: see docs/permissions.md.';
    END IF;
    IF read = write OR read = admin OR write = admin THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the three roles must be different ones';
    END IF;
    -- PostgreSQL grants what the caller may and warns of the rest; here it is all or nothing.
    IF EXISTS (
        SELECT FROM (SELECT nspowner FROM pg_namespace WHERE oid = schema
                     UNION SELECT relowner FROM pg_class WHERE relnamespace = schema
                     UNION SELECT proowner FROM pg_proc WHERE pronamespace = schema AND NOT EXISTS (
                         SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = pg_proc.oid AND d.deptype = 'e')
                    ) AS owner (oid)
        WHERE NOT pg_has_role(owner.oid, 'USAGE'))
    THEN
        RAISE insufficient_privilege USING MESSAGE = format('must be owner of schema %s and of what is in it', schema),
            HINT = 'Call it as a role that is a member of all the owners.';
    END IF;
    PERFORM ward.application_role(role, schema) FROM unnest(ARRAY[read, write, admin]) AS role;

    everyone := format('%I, %I, %I', read, write, admin);
    -- First take what they and PUBLIC have, so that the result is the same whatever was there.
    EXECUTE format('REVOKE ALL ON SCHEMA %s FROM PUBLIC, %s', schema, everyone);
    EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %s FROM PUBLIC, %s', schema, everyone);
    EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA %s FROM PUBLIC, %s', schema, everyone);

    EXECUTE format('GRANT USAGE ON SCHEMA %s TO %s', schema, everyone);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %s TO %I', schema, read);
    EXECUTE format('GRANT %s ON ALL TABLES IN SCHEMA %s TO %I', writes, schema, write);
    EXECUTE format('GRANT %s ON ALL TABLES IN SCHEMA %s TO %I', manages, schema, admin);
    EXECUTE format('GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA %s TO %I, %I', schema, write, admin);
    EXECUTE format('GRANT UPDATE ON ALL SEQUENCES IN SCHEMA %s TO %I', schema, admin);

    -- A reader may execute what cannot write. What an extension brought along stays as it is.
    FOR routine IN
        SELECT p.oid::regprocedure AS name, p.provolatile <> 'v' AND NOT p.prosecdef AND p.prokind <> 'p' AS only_reads
        FROM pg_proc p
        WHERE p.pronamespace = schema AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC, %s', routine.name, everyone);
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I, %I', routine.name, write, admin);
        IF routine.only_reads THEN
            EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %I', routine.name, read);
        END IF;
    END LOOP;

    -- What is created later, by those who created what is there.
    FOR creator IN
        SELECT pg_get_userbyid(oid)
        FROM (SELECT relowner FROM pg_class WHERE relnamespace = schema AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
              UNION SELECT proowner FROM pg_proc WHERE pronamespace = schema AND NOT EXISTS (
                  SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = pg_proc.oid AND d.deptype = 'e')
              UNION SELECT nspowner FROM pg_namespace WHERE oid = schema) AS owner (oid)
    LOOP
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %s REVOKE ALL ON TABLES FROM PUBLIC, %s', creator, schema, everyone);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %s GRANT SELECT ON TABLES TO %I', creator, schema, read);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %s GRANT %s ON TABLES TO %I', creator, schema, writes, write);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %s GRANT %s ON TABLES TO %I', creator, schema, manages, admin);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %s REVOKE ALL ON SEQUENCES FROM PUBLIC, %s', creator, schema, everyone);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %s GRANT USAGE, SELECT ON SEQUENCES TO %I, %I', creator, schema, write, admin);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %s GRANT UPDATE ON SEQUENCES TO %I', creator, schema, admin);
        EXECUTE format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %s GRANT EXECUTE ON ROUTINES TO %I, %I', creator, schema, write, admin);
    END LOOP;
END
$$;
COMMENT ON FUNCTION ward.grant_application_roles(regnamespace, name, name, name, boolean) IS
    'Gives three roles the least rights on a schema that reading, writing and managing its data take, now and for what is created later, and takes PUBLIC''s.';

-- Both run with the caller's rights, and so for everybody: they can do nothing that he could not do himself.
