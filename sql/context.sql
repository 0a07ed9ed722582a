-- Grants and comments of the tenant and user context.

CREATE FUNCTION ward.get_current_tenant_id() RETURNS uuid
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_current_tenant_id';
CREATE FUNCTION ward.get_current_user_id() RETURNS uuid
    LANGUAGE c STABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'ward_current_user_id';

GRANT EXECUTE ON FUNCTION
    ward.set_tenant_context(uuid, bool), ward.set_tenant_context(text, bool),
    ward.set_security_context(uuid, text, text, inet, text, bool, text[], text[]),
    ward.clear_security_context(),
    ward.get_tenant_context(), ward.get_current_tenant_id(), ward.get_current_tenant_number(),
    ward.get_user_context(), ward.get_current_user_id(), ward.get_current_user_number(),
    ward.has_role(text), ward.has_permission(text), ward.current_claims()
TO PUBLIC;
-- Acting for any tenant is for the DBA to grant.
REVOKE ALL ON FUNCTION ward.override_tenant_context(text, text) FROM PUBLIC;

COMMENT ON FUNCTION ward.set_tenant_context(uuid, bool) IS
'Sets the tenant for this transaction, or for the session with is_local => false. A transaction keeps the first tenant it sets or reads.';
COMMENT ON FUNCTION ward.set_tenant_context(text, bool) IS
'Sets the tenant for this transaction, or for the session with is_local => false. A transaction keeps the first tenant it sets or reads.';
COMMENT ON FUNCTION ward.set_security_context(uuid, text, text, inet, text, bool, text[], text[]) IS
'Sets who acts: user, session, service, client address and user agent, roles and permissions. The tenant stays as it is.';
COMMENT ON FUNCTION ward.override_tenant_context(text, text) IS
'Makes this transaction act for another tenant, whatever tenant it was bound to. The reason is recorded when ward.audit_context is on.';
COMMENT ON FUNCTION ward.clear_security_context() IS
'Ends the context of the transaction and of the session. The running transaction stays bound to its tenant.';
COMMENT ON FUNCTION ward.get_tenant_context() IS
'The tenant as text, NULL when unset. For policies: compare a text column with it, bare.';
COMMENT ON FUNCTION ward.get_current_tenant_id() IS
'The tenant as uuid, NULL when unset or not a UUID. For policies: compare a uuid column with it, bare.';
COMMENT ON FUNCTION ward.get_current_tenant_number() IS
'The tenant as bigint, NULL when unset or not a plain decimal number. For policies: compare an integer column with it, bare.';
COMMENT ON FUNCTION ward.get_user_context() IS
'The user who acts as text, NULL when unset. For policies: compare a text column with it, bare.';
COMMENT ON FUNCTION ward.get_current_user_id() IS
'The user who acts as uuid, NULL when unset or not a UUID. For policies: compare a uuid column with it, bare.';
COMMENT ON FUNCTION ward.get_current_user_number() IS
'The user who acts as bigint, NULL when unset or not a plain decimal number. For policies: compare an integer column with it, bare.';
COMMENT ON FUNCTION ward.has_role(text) IS
'Whether the user who acts has this role. False when unset.';
COMMENT ON FUNCTION ward.has_permission(text) IS
'Whether the user who acts has this permission. False when unset.';
COMMENT ON FUNCTION ward.current_claims() IS
'All claims of the verified token, NULL without one.';
