-- Who may manage keys is for the DBA to grant. Using them takes a grant on the key instead.
REVOKE ALL ON FUNCTION
    ward.generate_encryption_key(text, text, name, interval),
    ward.set_default_encryption_key(text),
    ward.set_encryption_key_max_age(text, interval),
    ward.rotate_encryption_key(text),
    ward.disable_encryption_key(text),
    ward.enable_encryption_key(text),
    ward.destroy_encryption_key(text, text, boolean),
    ward.grant_key(text, name, text[]),
    ward.revoke_key(text, name, text[]),
    ward.rewrap_keys(),
    ward.shredding_status(),
    ward.export_encryption_keys(text[]),
    ward.import_encryption_keys(text),
    ward.key_usage_counts(),
    ward.flush_key_usage(),
    ward.registry_changed()
FROM PUBLIC;

CREATE VIEW ward.key_usage AS
SELECT k.name, v.version, v.state,
       coalesce(u.encryptions, 0) + c.encryptions AS encryptions,
       coalesce(u.decryptions, 0) + c.decryptions AS decryptions,
       greatest(u.last_used_at, c.last_used_at) AS last_used_at
FROM ward.encryption_key k
JOIN ward.encryption_key_version v USING (key)
JOIN ward.key_usage_counts() c USING (key_id)
LEFT JOIN ward.encryption_key_usage u USING (key_id)
WHERE k.purpose = 'data_encryption';

CREATE VIEW ward.shredding_status AS SELECT * FROM ward.shredding_status();

REVOKE ALL ON ward.key_usage, ward.shredding_status FROM PUBLIC;
GRANT SELECT ON ward.key_usage TO pg_monitor;
GRANT EXECUTE ON FUNCTION ward.key_usage_counts() TO pg_monitor;

COMMENT ON VIEW ward.key_usage IS 'How often each key version encrypted and decrypted, and when last. Statistics: a crash may lose the last minute.';
COMMENT ON VIEW ward.shredding_status IS 'Per destroyed key version: which master keys could still open copies of it in WAL, backups and exports.';

COMMENT ON FUNCTION ward.generate_encryption_key(text, text, name, interval) IS 'Makes a key; the grantee (NULL: nobody) may encrypt, decrypt and search with it. The first data_encryption key becomes the default.';
COMMENT ON FUNCTION ward.set_default_encryption_key(text) IS 'Makes a key the one that ward.encrypt uses when none is named.';
COMMENT ON FUNCTION ward.rotate_encryption_key(text) IS 'Gives a key a new active version and returns its number; older versions then only decrypt.';
COMMENT ON FUNCTION ward.disable_encryption_key(text) IS 'Stops all use of a key, in every session at once, until it is enabled.';
COMMENT ON FUNCTION ward.enable_encryption_key(text) IS 'Allows the use of a disabled key again.';
COMMENT ON FUNCTION ward.destroy_encryption_key(text, text, boolean) IS 'Erases a key for good: what it encrypted cannot be read any more. confirm repeats the name; force does it although columns name the key.';
COMMENT ON FUNCTION ward.grant_key(text, name, text[]) IS 'Allows a role to use a key. Usages: encrypt, decrypt, search, import. Superusers need a grant too.';
COMMENT ON FUNCTION ward.revoke_key(text, name, text[]) IS 'Takes usages of a key from a role, in every session at once.';
COMMENT ON FUNCTION ward.set_encryption_key_max_age(text, interval) IS 'Says after what time a version of the key should be replaced (NULL: no reminder). Changes nothing by itself.';
COMMENT ON FUNCTION ward.rewrap_keys() IS 'Wraps all keys under the first master key configured and returns how many versions were under another. No data is touched.';
COMMENT ON FUNCTION ward.shredding_status() IS 'Per destroyed key version: which master keys could still open copies of it in WAL, backups and exports.';
COMMENT ON FUNCTION ward.export_encryption_keys(text[]) IS 'The keys of these names (NULL: all for fields and search), wrapped under the backup master key. Without grants.';
COMMENT ON FUNCTION ward.import_encryption_keys(text) IS 'Stores the keys of an export and returns how many versions were new. Grants nothing; replaces and revives nothing.';
COMMENT ON FUNCTION ward.key_usage_counts() IS 'Uses counted since they were last written to the table. Read the view ward.key_usage.';
COMMENT ON FUNCTION ward.flush_key_usage() IS 'Writes the usage counted so far to the table. The worker does it about once a minute.';
COMMENT ON FUNCTION ward.registry_changed() IS 'Tells every session to read the key registry again.';

-- Also for changes by hand, by a restore, and by replication.
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ward.encryption_key
    FOR EACH STATEMENT EXECUTE FUNCTION ward.registry_changed();
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ward.encryption_key_version
    FOR EACH STATEMENT EXECUTE FUNCTION ward.registry_changed();
CREATE TRIGGER registry_changed AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON ward.key_grant
    FOR EACH STATEMENT EXECUTE FUNCTION ward.registry_changed();
ALTER TABLE ward.encryption_key ENABLE ALWAYS TRIGGER registry_changed;
ALTER TABLE ward.encryption_key_version ENABLE ALWAYS TRIGGER registry_changed;
ALTER TABLE ward.key_grant ENABLE ALWAYS TRIGGER registry_changed;
