//! The triggers of audited tables. What the catalog says is what is captured; `registry` remembers
//! what it should say.
//!
//! Commands are put together by PostgreSQL, which quotes names and keeps them in its own encoding.

use super::hidden::Lists;
use super::registry;
use crate::error::{self, Result};
use crate::pg::{catalog, owner};
use pgrx::prelude::*;
use std::cell::Cell;
use std::ffi::CString;

/// The relation $1 and all that inherits from it, partitions included.
const DOWN: &str = "down (oid) AS (SELECT $1 UNION \
    SELECT i.inhrelid FROM pg_inherits i JOIN down ON i.inhparent = down.oid)";

/// All that $1 inherits from.
const UP: &str = "up (oid) AS (SELECT inhparent FROM pg_inherits WHERE inhrelid = $1 UNION \
    SELECT i.inhparent FROM pg_inherits i JOIN up ON i.inhrelid = up.oid)";

/// Makes the row trigger of table `c`. Triggers sort after a table's own of usual names, so that a
/// change one of those makes to another audited table is recorded in the order it was made. The name
/// on a partitioned table is its own, so that a table with auditing can be attached to another.
const ROW: &str = "format('CREATE TRIGGER %1$I AFTER INSERT OR UPDATE OR DELETE ON %2$s FOR EACH ROW \
    EXECUTE FUNCTION ward.audit_capture(%3$L, %4$L%6$s); ALTER TABLE %5$s %2$s ENABLE ALWAYS TRIGGER %1$I', \
    CASE c.relkind WHEN 'p' THEN 'ward_audit_' || c.oid ELSE 'ward_audit' END, \
    c.oid::regclass, lists.exclude, lists.redact, CASE c.relkind WHEN 'p' THEN '' ELSE 'ONLY' END, \
    CASE WHEN lists.gone <> '' THEN format(', %L', lists.gone) ELSE '' END)";

/// Makes the TRUNCATE trigger of table `c`, which partitions do not get from their parent.
const TRUNCATE: &str = "format('CREATE TRIGGER ward_audit_truncate AFTER TRUNCATE ON %1$s FOR EACH STATEMENT \
    EXECUTE FUNCTION ward.audit_capture(%2$L, %3$L%4$s); \
    ALTER TABLE ONLY %1$s ENABLE ALWAYS TRIGGER ward_audit_truncate', \
    c.oid::regclass, lists.exclude, lists.redact, \
    CASE WHEN lists.gone <> '' THEN format(', %L', lists.gone) ELSE '' END)";

/// Whether `relation` has a row trigger of its own.
pub fn audited(relation: pg_sys::Oid) -> Result<bool> {
    let found = catalog::texts(
        "SELECT name FROM ward.audit_trigger WHERE relation = $1 AND by_row AND NOT inherited",
        relation,
        None,
    )?;
    Ok(!found.is_empty())
}

/// The audited table that `relation` is a partition of, or inherits from.
pub fn audited_ancestor(relation: pg_sys::Oid) -> Result<Option<CString>> {
    let found = catalog::texts(
        &format!(
            "WITH RECURSIVE {UP} SELECT relation::regclass::text FROM up JOIN ward.audit_trigger \
             ON relation = up.oid AND by_row AND NOT inherited ORDER BY relation LIMIT 1"
        ),
        relation,
        None,
    )?;
    Ok(found.into_iter().next())
}

/// Keeps others from adding partitions or children, and from writing, until the transaction ends.
pub fn lock(relation: pg_sys::Oid) -> Result<()> {
    perform(
        "SELECT format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', $1::regclass)",
        relation,
        None,
    )
}

/// Makes the triggers of `relation` and of all that inherits from it.
pub fn create(relation: pg_sys::Oid, lists: &Lists) -> Result<()> {
    perform(
        &format!(
            "WITH RECURSIVE {DOWN}, lists AS (SELECT $2 AS exclude, $3 AS redact, $4 AS gone), \
             c AS (SELECT c.* FROM down JOIN pg_class c USING (oid) WHERE relpersistence <> 't') \
             SELECT {ROW} FROM c, lists WHERE oid = $1 OR NOT relispartition \
             UNION ALL SELECT {TRUNCATE} FROM c, lists WHERE relkind <> 'f'"
        ),
        relation,
        Some(&lists.arguments()),
    )?;
    allow_owners(relation)
}

/// Makes the triggers of `relation`, which has one for rows of its own, and of its partitions anew.
pub fn replace(relation: pg_sys::Oid, lists: &Lists) -> Result<()> {
    perform(
        &format!(
            "WITH RECURSIVE part (oid) AS (SELECT $1 UNION \
               SELECT i.inhrelid FROM part JOIN pg_inherits i ON i.inhparent = part.oid \
               JOIN pg_class k ON k.oid = i.inhrelid AND k.relispartition), \
             lists AS (SELECT $2 AS exclude, $3 AS redact, $4 AS gone), \
             c AS (SELECT c.* FROM part JOIN pg_class c USING (oid) WHERE relpersistence <> 't') \
             SELECT format('DROP TRIGGER %I ON %s', name, relation::regclass) \
               FROM c JOIN ward.audit_trigger ON relation = c.oid AND NOT inherited \
             UNION ALL SELECT {ROW} FROM c, lists WHERE oid = $1 \
             UNION ALL SELECT {TRUNCATE} FROM c, lists WHERE relkind <> 'f'"
        ),
        relation,
        Some(&lists.arguments()),
    )
}

/// Drops the triggers of `relation` and of all that inherits from it, except what another audited
/// table gives to those.
pub fn drop(relation: pg_sys::Oid) -> Result<()> {
    perform(
        &format!(
            "WITH RECURSIVE {DOWN} SELECT format('DROP TRIGGER %I ON %s', name, relation::regclass) \
             FROM down JOIN ward.audit_trigger ON relation = down.oid AND NOT inherited"
        ),
        relation,
        None,
    )?;
    let shared = format!(
        "WITH RECURSIVE {DOWN} SELECT inhrelid::text FROM down JOIN pg_inherits ON inhrelid = down.oid \
         GROUP BY inhrelid HAVING count(*) > 1"
    );
    for child in catalog::oids(&shared, relation)? {
        extend(child)?;
    }
    Ok(())
}

/// Where `relation` or what it inherits from is audited, gives those below it the triggers they lack.
/// A partition follows its root's lists of columns; an inheritance child keeps its own.
pub fn extend(relation: pg_sys::Oid) -> Result<()> {
    perform(
        &format!(
            "WITH RECURSIVE {DOWN}, {UP}, \
             lists AS (SELECT relation, exclude, redact, gone FROM ward.audit_trigger \
               WHERE relation IN (SELECT $1 UNION SELECT oid FROM up) AND by_row AND NOT inherited \
               ORDER BY relation <> $1, relation LIMIT 1), \
             c AS MATERIALIZED (SELECT c.* FROM lists, down JOIN pg_class c USING (oid), LATERAL \
               (SELECT coalesce(bool_or(by_row AND NOT inherited), false) AS by_row, \
                       coalesce(bool_or(NOT by_row), false) AS by_truncate \
                FROM ward.audit_trigger WHERE relation = c.oid) has \
               WHERE c.oid <> lists.relation AND relpersistence <> 't' \
                 AND CASE WHEN relispartition THEN has.by_row OR NOT has.by_truncate AND relkind <> 'f' \
                          ELSE NOT has.by_row END) \
             SELECT format('DROP TRIGGER %I ON %s', name, relation::regclass) \
               FROM c JOIN ward.audit_trigger ON relation = c.oid AND NOT inherited \
             UNION ALL SELECT {ROW} FROM c, lists WHERE NOT relispartition \
             UNION ALL SELECT {TRUNCATE} FROM c, lists WHERE relkind <> 'f'"
        ),
        relation,
        None,
    )?;
    if audited(relation)? || audited_ancestor(relation)?.is_some() {
        allow_owners(relation)?;
        registry::remember(relation)?;
    }
    Ok(())
}

/// Gives partitions that were detached from an audited table a row trigger of their own. They are
/// known by the TRUNCATE trigger, which a detached partition keeps.
pub fn keep_detached() -> Result<()> {
    let detached = "SELECT relation::text FROM ward.audit_trigger lists JOIN pg_class c ON c.oid = relation \
         WHERE NOT by_row AND NOT relispartition AND $1 IS NOT NULL AND NOT EXISTS \
           (SELECT FROM ward.audit_trigger r WHERE r.relation = lists.relation AND r.by_row)";
    for relation in catalog::oids(detached, pg_sys::InvalidOid)? {
        perform(
            &format!(
                "SELECT {ROW} FROM ward.audit_trigger lists JOIN pg_class c ON c.oid = relation \
                 WHERE relation = $1 AND NOT by_row LIMIT 1"
            ),
            relation,
            None,
        )?;
        allow_owners(relation)?;
        registry::remember(relation)?;
    }
    Ok(())
}

/// A new partition copies the trigger with the rights of whoever makes it, so the owners of partitioned
/// tables need EXECUTE on the trigger function. They could drop the trigger anyway.
fn allow_owners(relation: pg_sys::Oid) -> Result<()> {
    perform(
        &format!(
            "WITH RECURSIVE {DOWN} SELECT DISTINCT \
               format('GRANT EXECUTE ON FUNCTION ward.audit_capture() TO %I', rolname) \
             FROM down JOIN pg_class c USING (oid) JOIN pg_roles r ON r.oid = relowner \
             WHERE relkind = 'p' AND NOT has_function_privilege(r.oid, 'ward.audit_capture()', 'EXECUTE')"
        ),
        relation,
        None,
    )
}

/// What the keys of partitioned tables below $1 use that belongs to somebody else than a superuser.
const CODE: &str = "SELECT DISTINCT pg_describe_object(d.refclassid, d.refobjid, 0) \
    FROM down JOIN pg_partitioned_table p ON p.partrelid = down.oid AND p.partexprs IS NOT NULL \
    JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = down.oid AND d.objsubid = 0 \
    LEFT JOIN pg_proc f ON d.refclassid = 'pg_proc'::regclass AND f.oid = d.refobjid \
    LEFT JOIN pg_operator o ON d.refclassid = 'pg_operator'::regclass AND o.oid = d.refobjid \
    LEFT JOIN pg_type t ON d.refclassid = 'pg_type'::regclass AND t.oid = d.refobjid \
    JOIN pg_roles r ON r.oid = coalesce(f.proowner, o.oprowner, t.typowner) WHERE NOT r.rolsuper ORDER BY 1 LIMIT 1";

/// PostgreSQL calls the functions that a partition key uses on constants, with the rights of whoever opens the table:
/// here those of the extension's owner.
fn refuse_code(relation: pg_sys::Oid) -> Result<()> {
    let found = catalog::texts(&format!("WITH RECURSIVE {DOWN} {CODE}"), relation, None)?;
    match found.first() {
        None => Ok(()),
        Some(code) => Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!(
                "the partition key of an audited table uses {}, which does not belong to a superuser",
                catalog::shown(code)
            ),
            "It would run with the rights of pg_ward's owner. Let a superuser own it.",
        )),
    }
}

/// Runs the commands that `query` gives.
fn perform(query: &str, relation: pg_sys::Oid, lists: Option<&[String]>) -> Result<()> {
    let commands = catalog::texts(query, relation, lists)?;
    if !commands.is_empty() {
        refuse_code(relation)?;
    }
    let _own = OwnCommand::begin();
    owner::run(|| {
        commands
            .iter()
            .try_for_each(|command| catalog::execute(command))
    })
}

thread_local! {
    /// Whether a command of this module runs: it is no entry of the trail, what asked for it is.
    static OWN_COMMAND: Cell<bool> = const { Cell::new(false) };
}

/// Whether the running command is one of this module's.
pub fn is_own_command() -> bool {
    OWN_COMMAND.get()
}

/// While it lives, commands are this module's; it ends with an error, too.
struct OwnCommand {
    before: bool,
}

impl OwnCommand {
    fn begin() -> Self {
        OwnCommand {
            before: OWN_COMMAND.replace(true),
        }
    }
}

impl Drop for OwnCommand {
    fn drop(&mut self) {
        OWN_COMMAND.set(self.before);
    }
}
