//! Refuses what would store values that have no key of their own: columns, domains and composite
//! types whose type names no key.

use crate::error::{Result, report_hint};
use crate::pg::{catalog, owner};
use pgrx::prelude::*;

/// What the running command made and could store an encrypted value without a key, however deep in
/// arrays, domains, composites and ranges. Views and functions store nothing.
const WITHOUT_KEY: &str = "
WITH RECURSIVE made AS (
    SELECT DISTINCT c.classid, c.objid FROM pg_event_trigger_ddl_commands() c
    WHERE c.classid IN ('pg_class'::regclass, 'pg_type'::regclass) AND $1 IS NOT NULL
), part (what, type, modifier) AS (
    SELECT format('column %I of %s', a.attname, a.attrelid::regclass), a.atttypid, a.atttypmod
    FROM made m
    JOIN pg_class r ON r.oid = m.objid AND m.classid = 'pg_class'::regclass
                    OR r.reltype = m.objid AND m.classid = 'pg_type'::regclass
    JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
    WHERE r.relkind IN ('r', 'p', 'f', 'm', 'c')
    UNION
    SELECT format('type %s', m.objid::regtype), m.objid, 0
    FROM made m
    JOIN pg_type t ON m.classid = 'pg_type'::regclass AND t.oid = m.objid AND t.typtype IN ('d', 'r')
    UNION
    SELECT part.what, inner_type.type, inner_type.modifier
    FROM part JOIN pg_type t ON t.oid = part.type
    CROSS JOIN LATERAL (
        SELECT t.typelem, part.modifier WHERE t.typtype = 'b' AND t.typelem <> 0 AND t.typlen = -1
        UNION ALL
        SELECT t.typbasetype, t.typtypmod WHERE t.typtype = 'd'
        UNION ALL
        SELECT a.atttypid, a.atttypmod FROM pg_attribute a
        WHERE t.typtype = 'c' AND a.attrelid = t.typrelid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT g.rngsubtype, -1 FROM pg_range g WHERE g.rngtypid = t.oid OR g.rngmultitypid = t.oid
    ) AS inner_type (type, modifier)
)
SELECT part.what FROM part
WHERE part.type IN (
    SELECT t.oid FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
    WHERE n.nspname = 'ward' AND t.typname IN ('encrypted_text', 'secret_text'))
  AND part.modifier = -1
LIMIT 1";

/// Called at the end of a command that may have made something of such a type.
pub fn refuse_without_key() -> Result<()> {
    let found = owner::run(|| catalog::texts(WITHOUT_KEY, pg_sys::InvalidOid, None))?;
    let Some(what) = found.first() else {
        return Ok(());
    };
    Err(report_hint(
        PgSqlErrorCode::ERRCODE_INVALID_TABLE_DEFINITION,
        format!(
            "{} has an encrypted type that names no key",
            catalog::shown(what)
        ),
        "Name the key, as in ward.encrypted_text('name of the key').",
    ))
}
