COMMENT ON FUNCTION ward.encrypt(text, text, text) IS 'Encrypts text under a key (NULL: the default key). The same aad is needed to decrypt.';
COMMENT ON FUNCTION ward.encrypt(bytea, text, text) IS 'Encrypts bytes under a key (NULL: the default key). The same aad is needed to decrypt.';
COMMENT ON FUNCTION ward.encrypt(jsonb, text, text) IS 'Encrypts a jsonb document under a key (NULL: the default key). The same aad is needed to decrypt.';
COMMENT ON FUNCTION ward.decrypt(bytea, text) IS 'Decrypts what was encrypted as text. Needs usage decrypt of its key.';
COMMENT ON FUNCTION ward.decrypt_bytea(bytea, text) IS 'Decrypts what was encrypted as bytea. Needs usage decrypt of its key.';
COMMENT ON FUNCTION ward.decrypt_jsonb(bytea, text) IS 'Decrypts what was encrypted as jsonb. Needs usage decrypt of its key.';
