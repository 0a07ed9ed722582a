-- How the history of the log goes on: declared restores, replaced signing keys, what the signer refuses.

REVOKE ALL ON FUNCTION ward.declare_restore(text, bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION ward.rotate_audit_signing_key() FROM PUBLIC;
REVOKE ALL ON FUNCTION ward.audit_signer_state() FROM PUBLIC;

COMMENT ON FUNCTION ward.declare_restore(text, bigint) IS
    'Records that the log was meant to go on from an earlier state: a restored backup, a failover, a copy. Returns how many leaves of the former history it has.';
COMMENT ON FUNCTION ward.rotate_audit_signing_key() IS
    'Gives checkpoints a new signing key and returns its version. The first checkpoint that covers the change is signed by both keys.';
COMMENT ON FUNCTION ward.audit_signer_state() IS
    'Whether checkpoints are signed: ready, refused, unusable, or nothing sealed; what was signed last, and why nothing is.';
