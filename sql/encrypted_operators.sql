-- Equality, order and hash of ward.encrypted_text: of its search tag. They look nothing up, decrypt
-- nothing and never raise, so they are IMMUTABLE, and index builds and ANALYZE need no grant.

CREATE FUNCTION ward.encrypted_text_eq(ward.encrypted_text, ward.encrypted_text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME', 'ward_encrypted_text_eq';
COMMENT ON FUNCTION ward.encrypted_text_eq(ward.encrypted_text, ward.encrypted_text) IS 'Equal texts: compares search tags.';
CREATE FUNCTION ward.encrypted_text_ne(ward.encrypted_text, ward.encrypted_text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME', 'ward_encrypted_text_ne';
COMMENT ON FUNCTION ward.encrypted_text_ne(ward.encrypted_text, ward.encrypted_text) IS 'Different texts: compares search tags.';
CREATE FUNCTION ward.encrypted_text_lt(ward.encrypted_text, ward.encrypted_text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME', 'ward_encrypted_text_lt';
COMMENT ON FUNCTION ward.encrypted_text_lt(ward.encrypted_text, ward.encrypted_text) IS 'Order of search tags, which says nothing about the texts.';
CREATE FUNCTION ward.encrypted_text_le(ward.encrypted_text, ward.encrypted_text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME', 'ward_encrypted_text_le';
COMMENT ON FUNCTION ward.encrypted_text_le(ward.encrypted_text, ward.encrypted_text) IS 'Order of search tags, which says nothing about the texts.';
CREATE FUNCTION ward.encrypted_text_ge(ward.encrypted_text, ward.encrypted_text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME', 'ward_encrypted_text_ge';
COMMENT ON FUNCTION ward.encrypted_text_ge(ward.encrypted_text, ward.encrypted_text) IS 'Order of search tags, which says nothing about the texts.';
CREATE FUNCTION ward.encrypted_text_gt(ward.encrypted_text, ward.encrypted_text) RETURNS boolean
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME', 'ward_encrypted_text_gt';
COMMENT ON FUNCTION ward.encrypted_text_gt(ward.encrypted_text, ward.encrypted_text) IS 'Order of search tags, which says nothing about the texts.';
CREATE FUNCTION ward.encrypted_text_cmp(ward.encrypted_text, ward.encrypted_text) RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME', 'ward_encrypted_text_cmp';
COMMENT ON FUNCTION ward.encrypted_text_cmp(ward.encrypted_text, ward.encrypted_text) IS 'Order of search tags, for btree indexes.';
CREATE FUNCTION ward.encrypted_text_hash(ward.encrypted_text) RETURNS integer
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME', 'ward_encrypted_text_hash';
COMMENT ON FUNCTION ward.encrypted_text_hash(ward.encrypted_text) IS 'Hash of the search tag.';
CREATE FUNCTION ward.encrypted_text_hash_extended(ward.encrypted_text, bigint) RETURNS bigint
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE LEAKPROOF AS 'MODULE_PATHNAME', 'ward_encrypted_text_hash_extended';
COMMENT ON FUNCTION ward.encrypted_text_hash_extended(ward.encrypted_text, bigint) IS 'Hash of the search tag with a seed.';
CREATE FUNCTION ward.search_tag(ward.encrypted_text) RETURNS bytea
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_encrypted_text_search_tag';
COMMENT ON FUNCTION ward.search_tag(ward.encrypted_text) IS 'The 24 bytes that decide equality: for unique indexes on values that are too long for an index entry.';

-- In pg_catalog, so that WHERE email = 'a@b.c' finds them under every search path.
CREATE OPERATOR pg_catalog.= (
    FUNCTION = ward.encrypted_text_eq, LEFTARG = ward.encrypted_text, RIGHTARG = ward.encrypted_text,
    COMMUTATOR = OPERATOR(pg_catalog.=), NEGATOR = OPERATOR(pg_catalog.<>),
    RESTRICT = eqsel, JOIN = eqjoinsel, HASHES, MERGES
);
CREATE OPERATOR pg_catalog.<> (
    FUNCTION = ward.encrypted_text_ne, LEFTARG = ward.encrypted_text, RIGHTARG = ward.encrypted_text,
    COMMUTATOR = OPERATOR(pg_catalog.<>), NEGATOR = OPERATOR(pg_catalog.=),
    RESTRICT = neqsel, JOIN = neqjoinsel
);
COMMENT ON OPERATOR pg_catalog.= (ward.encrypted_text, ward.encrypted_text) IS 'equal';
COMMENT ON OPERATOR pg_catalog.<> (ward.encrypted_text, ward.encrypted_text) IS 'not equal';
-- A btree needs an order. Its operators have names of their own: email < 'm' is refused instead of
-- answered by an order that is not the texts'.
CREATE OPERATOR ward.#<# (
    FUNCTION = ward.encrypted_text_lt, LEFTARG = ward.encrypted_text, RIGHTARG = ward.encrypted_text,
    COMMUTATOR = OPERATOR(ward.#>#), NEGATOR = OPERATOR(ward.#>=#), RESTRICT = scalarltsel, JOIN = scalarltjoinsel
);
COMMENT ON OPERATOR ward.#<# (ward.encrypted_text, ward.encrypted_text) IS 'order of search tags';
CREATE OPERATOR ward.#<=# (
    FUNCTION = ward.encrypted_text_le, LEFTARG = ward.encrypted_text, RIGHTARG = ward.encrypted_text,
    COMMUTATOR = OPERATOR(ward.#>=#), NEGATOR = OPERATOR(ward.#>#), RESTRICT = scalarlesel, JOIN = scalarlejoinsel
);
COMMENT ON OPERATOR ward.#<=# (ward.encrypted_text, ward.encrypted_text) IS 'order of search tags';
CREATE OPERATOR ward.#>=# (
    FUNCTION = ward.encrypted_text_ge, LEFTARG = ward.encrypted_text, RIGHTARG = ward.encrypted_text,
    COMMUTATOR = OPERATOR(ward.#<=#), NEGATOR = OPERATOR(ward.#<#), RESTRICT = scalargesel, JOIN = scalargejoinsel
);
COMMENT ON OPERATOR ward.#>=# (ward.encrypted_text, ward.encrypted_text) IS 'order of search tags';
CREATE OPERATOR ward.#># (
    FUNCTION = ward.encrypted_text_gt, LEFTARG = ward.encrypted_text, RIGHTARG = ward.encrypted_text,
    COMMUTATOR = OPERATOR(ward.#<#), NEGATOR = OPERATOR(ward.#<=#), RESTRICT = scalargtsel, JOIN = scalargtjoinsel
);
COMMENT ON OPERATOR ward.#># (ward.encrypted_text, ward.encrypted_text) IS 'order of search tags';

CREATE OPERATOR CLASS ward.encrypted_text_ops DEFAULT FOR TYPE ward.encrypted_text USING btree AS
    OPERATOR 1 ward.#<#, OPERATOR 2 ward.#<=#, OPERATOR 3 pg_catalog.=, OPERATOR 4 ward.#>=#, OPERATOR 5 ward.#>#,
    -- No equalimage function: equal values differ in their bytes, so entries must not be merged.
    FUNCTION 1 ward.encrypted_text_cmp(ward.encrypted_text, ward.encrypted_text);
CREATE OPERATOR CLASS ward.encrypted_text_ops DEFAULT FOR TYPE ward.encrypted_text USING hash AS
    OPERATOR 1 pg_catalog.=,
    FUNCTION 1 ward.encrypted_text_hash(ward.encrypted_text),
    FUNCTION 2 ward.encrypted_text_hash_extended(ward.encrypted_text, bigint);
COMMENT ON OPERATOR CLASS ward.encrypted_text_ops USING btree IS 'Equality by search tag.';
COMMENT ON OPERATOR CLASS ward.encrypted_text_ops USING hash IS 'Equality by search tag.';
COMMENT ON OPERATOR FAMILY ward.encrypted_text_ops USING btree IS 'Equality by search tag.';
COMMENT ON OPERATOR FAMILY ward.encrypted_text_ops USING hash IS 'Equality by search tag.';
