-- Which checkpoints left the server. Only whoever carried one out can know, and says so here.

CREATE TABLE ward.published_checkpoint (
    tree_size   bigint NOT NULL,
    place       text NOT NULL CHECK (place ~ '\S' AND char_length(place) <= 1000),
    recorded_by name NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT pg_catalog.clock_timestamp()
);
CREATE INDEX published_checkpoint_recorded_at ON ward.published_checkpoint (recorded_at);
COMMENT ON TABLE ward.published_checkpoint IS
    'Checkpoints that were stored outside this server, as whoever stored them said. Changed only by record_checkpoint().';
REVOKE ALL ON ward.published_checkpoint FROM PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('ward.published_checkpoint', '');

CREATE FUNCTION ward.record_checkpoint(checkpoint text, place text) RETURNS bigint
LANGUAGE plpgsql VOLATILE PARALLEL UNSAFE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- A signed note: origin, tree size, root hash in base64, then the signatures.
    part text[] := regexp_match(checkpoint, '^[^\n]+\n(\d{1,18})\n([A-Za-z0-9+/]{43}=)\n');
BEGIN
    IF checkpoint IS NULL OR place IS NULL OR place !~ '\S' OR char_length(place) > 1000 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'checkpoint and place must be given, the place in at most 1000 characters',
            HINT = 'Give the whole text of ward.audit_checkpoint(), and say where it is kept.';
    END IF;
    IF part IS NULL OR NOT EXISTS (SELECT FROM ward.audit_block b WHERE b.tree_size = part[1]::bigint AND encode(b.root, 'base64') = part[2]) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'this is no checkpoint of this log',
            HINT = 'Give the whole text of ward.audit_checkpoint(). If it is one that this log gave, run ward.audit_violations().';
    END IF;
    INSERT INTO ward.published_checkpoint (tree_size, place, recorded_by) VALUES (part[1]::bigint, record_checkpoint.place, session_user);
    RETURN part[1]::bigint;
END
$$;
COMMENT ON FUNCTION ward.record_checkpoint(text, text) IS
    'Notes that a checkpoint was stored outside this server, and where; answers its tree size. For security_posture().';
REVOKE ALL ON FUNCTION ward.record_checkpoint(text, text) FROM PUBLIC;

CREATE FUNCTION ward.posture_checkpoints()
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
SELECT 'ward.no_checkpoint', 'audit log',
       CASE WHEN p.recorded_at IS NULL THEN 'no checkpoint is known to have left the server'
            ELSE format('the last checkpoint that left the server is of %s', to_char(p.recorded_at, 'YYYY-MM-DD')) END,
       '-- store the text of ward.audit_checkpoint() outside this server, then: SELECT ward.record_checkpoint(''…'', ''where it is'');'
FROM (SELECT tree_size FROM ward.audit_block ORDER BY block_no DESC LIMIT 1) b
LEFT JOIN (SELECT tree_size, recorded_at FROM ward.published_checkpoint ORDER BY recorded_at DESC LIMIT 1) p ON true
WHERE p.recorded_at IS NULL OR p.recorded_at < now() - interval '7 days' AND p.tree_size < b.tree_size
$$;
COMMENT ON FUNCTION ward.posture_checkpoints() IS 'Findings about checkpoints. Needs the log''s tables. Part of security_posture().';
