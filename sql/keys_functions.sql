-- Who may manage keys is for the DBA to grant. Using them takes a grant on the key instead.
REVOKE ALL ON FUNCTION
    ward.generate_encryption_key(text, text, name),
    ward.set_default_encryption_key(text),
    ward.rotate_encryption_key(text),
    ward.disable_encryption_key(text),
    ward.enable_encryption_key(text),
    ward.destroy_encryption_key(text, text),
    ward.grant_key(text, name, text[]),
    ward.revoke_key(text, name, text[]),
    ward.registry_changed()
FROM PUBLIC;

COMMENT ON FUNCTION ward.generate_encryption_key(text, text, name) IS 'Makes a key; the grantee (NULL: nobody) may encrypt, decrypt and search with it. The first data_encryption key becomes the default.';
COMMENT ON FUNCTION ward.set_default_encryption_key(text) IS 'Makes a key the one that ward.encrypt uses when none is named.';
COMMENT ON FUNCTION ward.rotate_encryption_key(text) IS 'Gives a key a new active version and returns its number; older versions then only decrypt.';
COMMENT ON FUNCTION ward.disable_encryption_key(text) IS 'Stops all use of a key, in every session at once, until it is enabled.';
COMMENT ON FUNCTION ward.enable_encryption_key(text) IS 'Allows the use of a disabled key again.';
COMMENT ON FUNCTION ward.destroy_encryption_key(text, text) IS 'Erases a key for good: what it encrypted cannot be read any more. confirm repeats the name.';
COMMENT ON FUNCTION ward.grant_key(text, name, text[]) IS 'Allows a role to use a key. Usages: encrypt, decrypt, search, import. Superusers need a grant too.';
COMMENT ON FUNCTION ward.revoke_key(text, name, text[]) IS 'Takes usages of a key from a role, in every session at once.';
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
