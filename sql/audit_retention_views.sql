-- What users see of retention.

CREATE VIEW ward.audit_retention AS
    SELECT r.period, r.next_period, r.next_from, r.segments, r.prunable_segments,
           r.pruned_entries, r.erasures, r.erased_images, r.unfinished
    FROM ward.audit_retention_state() AS r;
COMMENT ON VIEW ward.audit_retention IS
    'How long entries are kept (NULL: for ever), what follows, how many segments could be pruned now, and what was removed.';

REVOKE ALL ON ward.audit_retention FROM PUBLIC;

REVOKE ALL ON FUNCTION ward.set_audit_retention(interval) FROM PUBLIC;
REVOKE ALL ON FUNCTION ward.prune_audit_trail(timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION ward.erase_audit_images(regclass, text, text) FROM PUBLIC;
REVOKE ALL ON FUNCTION ward.erase_audit_images(text, text, text, text) FROM PUBLIC;

COMMENT ON FUNCTION ward.audit_retention_state() IS 'The row of the view audit_retention. Needs SELECT on audit_trail.';
COMMENT ON FUNCTION ward.set_audit_retention(interval) IS
    'How long entries are kept at least; 0 for ever. Returns when it takes effect: a shorter period after the old one.';
COMMENT ON FUNCTION ward.prune_audit_trail(timestamptz) IS
    'Has segments removed whose entries are all older than this and than the retention period, and are covered by a published checkpoint. Returns how many.';
COMMENT ON FUNCTION ward.erase_audit_images(regclass, text, text) IS
    'Has the values of all entries of a record removed; that it was changed, when and by whom stays. Returns how many.';
COMMENT ON FUNCTION ward.erase_audit_images(text, text, text, text) IS
    'The same for a table that was dropped or renamed, by schema and name as the trail shows them.';
COMMENT ON FUNCTION ward.archive_segment(bigint) IS
    'A full segment of the audit trail as lines of text for ward-verify, with what proves it to be of this log. Needs SELECT on audit_trail.';
