-- The encrypted column types: input and output, modifiers, and casts. The bytes are described in
-- docs/envelope-format.md.
--
-- STABLE and not IMMUTABLE: each depends on keys and grants, and the planner would put a folded result
-- into EXPLAIN's output. Output functions look nothing up unless ward.reveal is on.

CREATE TYPE ward.encrypted_text;

CREATE FUNCTION ward.encrypted_text_in(cstring, oid, integer) RETURNS ward.encrypted_text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_encrypted_text_in';
COMMENT ON FUNCTION ward.encrypted_text_in(cstring, oid, integer) IS 'Input: encrypts text. Takes ciphertext from superusers, replication, and holders of usage import.';

CREATE FUNCTION ward.encrypted_text_out(ward.encrypted_text) RETURNS cstring
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_encrypted_text_out';
COMMENT ON FUNCTION ward.encrypted_text_out(ward.encrypted_text) IS 'Output: ciphertext.';

CREATE FUNCTION ward.encrypted_text_recv(internal, oid, integer) RETURNS ward.encrypted_text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_encrypted_text_recv';
COMMENT ON FUNCTION ward.encrypted_text_recv(internal, oid, integer) IS 'Binary input: encrypts text. Takes ciphertext from superusers, replication, and holders of usage import.';

CREATE FUNCTION ward.encrypted_text_send(ward.encrypted_text) RETURNS bytea
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_encrypted_text_send';
COMMENT ON FUNCTION ward.encrypted_text_send(ward.encrypted_text) IS 'Binary output: ciphertext.';

CREATE FUNCTION ward.encrypted_text_typmod_in(cstring[]) RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_encrypted_text_typmod_in';
COMMENT ON FUNCTION ward.encrypted_text_typmod_in(cstring[]) IS 'Turns the name of a key into a type modifier.';

CREATE FUNCTION ward.encrypted_text_typmod_out(integer) RETURNS cstring
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_encrypted_text_typmod_out';
COMMENT ON FUNCTION ward.encrypted_text_typmod_out(integer) IS 'Turns a type modifier into the name of a key.';

CREATE TYPE ward.encrypted_text (
    INPUT = ward.encrypted_text_in, OUTPUT = ward.encrypted_text_out,
    RECEIVE = ward.encrypted_text_recv, SEND = ward.encrypted_text_send,
    TYPMOD_IN = ward.encrypted_text_typmod_in, TYPMOD_OUT = ward.encrypted_text_typmod_out,
    INTERNALLENGTH = VARIABLE, ALIGNMENT = int4,
    -- Ciphertext cannot be compressed.
    STORAGE = external
);
COMMENT ON TYPE ward.encrypted_text IS 'Text that is stored encrypted under the key named in the type, and can be searched for equality.';

CREATE FUNCTION ward.encrypted_text(text, integer, boolean) RETURNS ward.encrypted_text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_encrypted_text_from_text';
COMMENT ON FUNCTION ward.encrypted_text(text, integer, boolean) IS 'Encrypts text under the key of the type modifier.';

CREATE FUNCTION ward.encrypted_text(bytea, integer, boolean) RETURNS ward.encrypted_text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_encrypted_text_from_bytea';
COMMENT ON FUNCTION ward.encrypted_text(bytea, integer, boolean) IS 'Encrypts text given as UTF-8 under the key of the type modifier.';

CREATE FUNCTION ward.encrypted_text(ward.encrypted_text, integer, boolean) RETURNS ward.encrypted_text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_encrypted_text_recode';
COMMENT ON FUNCTION ward.encrypted_text(ward.encrypted_text, integer, boolean) IS 'Encrypts a value under the key of the type modifier, unless it is so already.';

CREATE FUNCTION ward.encrypted_text_to_text(ward.encrypted_text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_encrypted_text_to_text';
COMMENT ON FUNCTION ward.encrypted_text_to_text(ward.encrypted_text) IS 'Decrypts. Needs usage decrypt of the key.';

CREATE FUNCTION ward.encrypted_text_to_bytea(ward.encrypted_text) RETURNS bytea
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_encrypted_text_to_bytea';
COMMENT ON FUNCTION ward.encrypted_text_to_bytea(ward.encrypted_text) IS 'Decrypts to text in UTF-8. Needs usage decrypt of the key.';

-- Implicit, so that email = lower($1) compares search tags. No cast leads back implicitly: nothing is
-- decrypted unless somebody writes it.
CREATE CAST (text AS ward.encrypted_text) WITH FUNCTION ward.encrypted_text(text, integer, boolean) AS IMPLICIT;
CREATE CAST (varchar AS ward.encrypted_text) WITH FUNCTION ward.encrypted_text(text, integer, boolean) AS IMPLICIT;
CREATE CAST (bytea AS ward.encrypted_text) WITH FUNCTION ward.encrypted_text(bytea, integer, boolean);
CREATE CAST (ward.encrypted_text AS ward.encrypted_text) WITH FUNCTION ward.encrypted_text(ward.encrypted_text, integer, boolean) AS IMPLICIT;
-- Explicit casts. Without them PostgreSQL would store the ciphertext's text where text is assigned.
CREATE CAST (ward.encrypted_text AS text) WITH FUNCTION ward.encrypted_text_to_text(ward.encrypted_text);
CREATE CAST (ward.encrypted_text AS varchar) WITH FUNCTION ward.encrypted_text_to_text(ward.encrypted_text);
CREATE CAST (ward.encrypted_text AS bpchar) WITH FUNCTION ward.encrypted_text_to_text(ward.encrypted_text);
CREATE CAST (ward.encrypted_text AS bytea) WITH FUNCTION ward.encrypted_text_to_bytea(ward.encrypted_text);

COMMENT ON CAST (text AS ward.encrypted_text) IS 'Encrypts.';
COMMENT ON CAST (varchar AS ward.encrypted_text) IS 'Encrypts.';
COMMENT ON CAST (bytea AS ward.encrypted_text) IS 'Encrypts text given as UTF-8.';
COMMENT ON CAST (ward.encrypted_text AS ward.encrypted_text) IS 'Encrypts under another key.';
COMMENT ON CAST (ward.encrypted_text AS text) IS 'Decrypts.';
COMMENT ON CAST (ward.encrypted_text AS varchar) IS 'Decrypts.';
COMMENT ON CAST (ward.encrypted_text AS bpchar) IS 'Decrypts.';
COMMENT ON CAST (ward.encrypted_text AS bytea) IS 'Decrypts to text in UTF-8.';

CREATE TYPE ward.secret_text;

CREATE FUNCTION ward.secret_text_in(cstring, oid, integer) RETURNS ward.secret_text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_secret_text_in';
COMMENT ON FUNCTION ward.secret_text_in(cstring, oid, integer) IS 'Input: encrypts text. Takes ciphertext from superusers, replication, and holders of usage import.';

CREATE FUNCTION ward.secret_text_out(ward.secret_text) RETURNS cstring
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_secret_text_out';
COMMENT ON FUNCTION ward.secret_text_out(ward.secret_text) IS 'Output: ciphertext.';

CREATE FUNCTION ward.secret_text_recv(internal, oid, integer) RETURNS ward.secret_text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_secret_text_recv';
COMMENT ON FUNCTION ward.secret_text_recv(internal, oid, integer) IS 'Binary input: encrypts text. Takes ciphertext from superusers, replication, and holders of usage import.';

CREATE FUNCTION ward.secret_text_send(ward.secret_text) RETURNS bytea
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_secret_text_send';
COMMENT ON FUNCTION ward.secret_text_send(ward.secret_text) IS 'Binary output: ciphertext.';

CREATE FUNCTION ward.secret_text_typmod_in(cstring[]) RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_secret_text_typmod_in';
COMMENT ON FUNCTION ward.secret_text_typmod_in(cstring[]) IS 'Turns the name of a key into a type modifier.';

CREATE FUNCTION ward.secret_text_typmod_out(integer) RETURNS cstring
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_encrypted_text_typmod_out';
COMMENT ON FUNCTION ward.secret_text_typmod_out(integer) IS 'Turns a type modifier into the name of a key.';

CREATE TYPE ward.secret_text (
    INPUT = ward.secret_text_in, OUTPUT = ward.secret_text_out,
    RECEIVE = ward.secret_text_recv, SEND = ward.secret_text_send,
    TYPMOD_IN = ward.secret_text_typmod_in, TYPMOD_OUT = ward.secret_text_typmod_out,
    INTERNALLENGTH = VARIABLE, ALIGNMENT = int4,
    -- Ciphertext cannot be compressed.
    STORAGE = external
);
COMMENT ON TYPE ward.secret_text IS 'Text that is stored encrypted under the key named in the type, and cannot be compared.';

CREATE FUNCTION ward.secret_text(text, integer, boolean) RETURNS ward.secret_text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_secret_text_from_text';
COMMENT ON FUNCTION ward.secret_text(text, integer, boolean) IS 'Encrypts text under the key of the type modifier.';

CREATE FUNCTION ward.secret_text(bytea, integer, boolean) RETURNS ward.secret_text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_secret_text_from_bytea';
COMMENT ON FUNCTION ward.secret_text(bytea, integer, boolean) IS 'Encrypts text given as UTF-8 under the key of the type modifier.';

CREATE FUNCTION ward.secret_text(ward.secret_text, integer, boolean) RETURNS ward.secret_text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_secret_text_recode';
COMMENT ON FUNCTION ward.secret_text(ward.secret_text, integer, boolean) IS 'Encrypts a value under the key of the type modifier, unless it is so already.';

CREATE FUNCTION ward.secret_text_to_text(ward.secret_text) RETURNS text
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_secret_text_to_text';
COMMENT ON FUNCTION ward.secret_text_to_text(ward.secret_text) IS 'Decrypts. Needs usage decrypt of the key.';

CREATE FUNCTION ward.secret_text_to_bytea(ward.secret_text) RETURNS bytea
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_secret_text_to_bytea';
COMMENT ON FUNCTION ward.secret_text_to_bytea(ward.secret_text) IS 'Decrypts to text in UTF-8. Needs usage decrypt of the key.';

CREATE CAST (text AS ward.secret_text) WITH FUNCTION ward.secret_text(text, integer, boolean) AS ASSIGNMENT;
CREATE CAST (varchar AS ward.secret_text) WITH FUNCTION ward.secret_text(text, integer, boolean) AS ASSIGNMENT;
CREATE CAST (bytea AS ward.secret_text) WITH FUNCTION ward.secret_text(bytea, integer, boolean);
CREATE CAST (ward.secret_text AS ward.secret_text) WITH FUNCTION ward.secret_text(ward.secret_text, integer, boolean) AS IMPLICIT;
-- Explicit casts. Without them PostgreSQL would store the ciphertext's text where text is assigned.
CREATE CAST (ward.secret_text AS text) WITH FUNCTION ward.secret_text_to_text(ward.secret_text);
CREATE CAST (ward.secret_text AS varchar) WITH FUNCTION ward.secret_text_to_text(ward.secret_text);
CREATE CAST (ward.secret_text AS bpchar) WITH FUNCTION ward.secret_text_to_text(ward.secret_text);
CREATE CAST (ward.secret_text AS bytea) WITH FUNCTION ward.secret_text_to_bytea(ward.secret_text);

COMMENT ON CAST (text AS ward.secret_text) IS 'Encrypts.';
COMMENT ON CAST (varchar AS ward.secret_text) IS 'Encrypts.';
COMMENT ON CAST (bytea AS ward.secret_text) IS 'Encrypts text given as UTF-8.';
COMMENT ON CAST (ward.secret_text AS ward.secret_text) IS 'Encrypts under another key.';
COMMENT ON CAST (ward.secret_text AS text) IS 'Decrypts.';
COMMENT ON CAST (ward.secret_text AS varchar) IS 'Decrypts.';
COMMENT ON CAST (ward.secret_text AS bpchar) IS 'Decrypts.';
COMMENT ON CAST (ward.secret_text AS bytea) IS 'Decrypts to text in UTF-8.';

-- PostgreSQL calls these itself, without asking for a right.
REVOKE ALL ON FUNCTION
    ward.encrypted_text_in(cstring, oid, integer), ward.encrypted_text_out(ward.encrypted_text), ward.encrypted_text_recv(internal, oid, integer),
    ward.encrypted_text_send(ward.encrypted_text), ward.encrypted_text_typmod_in(cstring[]), ward.encrypted_text_typmod_out(integer),
    ward.secret_text_in(cstring, oid, integer), ward.secret_text_out(ward.secret_text), ward.secret_text_recv(internal, oid, integer),
    ward.secret_text_send(ward.secret_text), ward.secret_text_typmod_in(cstring[]), ward.secret_text_typmod_out(integer)
FROM PUBLIC;
