//! The memory of which tables are audited, and how. The triggers alone cannot tell that one of them
//! is missing.

use crate::error::{self, Result};
use crate::pg::{catalog, encoding, owner};
use pgrx::prelude::*;
use serde_json::{Map, Value};
use std::collections::HashMap;

const DOWN: &str = "down (oid) AS (SELECT $1 UNION \
    SELECT i.inhrelid FROM pg_inherits i JOIN down ON i.inhparent = down.oid)";

/// Remembers `relation` and all that inherits from it, as far as they have a row trigger.
pub fn remember(relation: pg_sys::Oid) -> Result<()> {
    run(
        &format!(
            "WITH RECURSIVE {DOWN} \
             INSERT INTO ward.audit_table AS a (table_schema, table_name, relation, is_partition, exclude, redact, gone) \
             SELECT n.nspname, c.relname, c.oid, c.relispartition, t.exclude, t.redact, t.gone \
             FROM down JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace \
             JOIN LATERAL (SELECT exclude, redact, gone FROM ward.audit_trigger WHERE relation = c.oid AND by_row \
                           ORDER BY inherited, name LIMIT 1) t ON true \
             ON CONFLICT (table_schema, table_name) DO UPDATE SET relation = excluded.relation, \
               former = CASE a.relation WHEN excluded.relation THEN a.former ELSE '{{}}' END, \
               is_partition = excluded.is_partition, exclude = excluded.exclude, redact = excluded.redact, gone = excluded.gone"
        ),
        Some(relation),
    )
}

/// Forgets those of `relation` and all that inherits from it that have no row trigger any more.
pub fn forget(relation: pg_sys::Oid) -> Result<()> {
    run(
        &format!(
            "WITH RECURSIVE {DOWN} DELETE FROM ward.audit_table a \
             USING down JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE a.table_schema = n.nspname AND a.table_name = c.relname \
               AND NOT EXISTS (SELECT FROM ward.audit_trigger t WHERE t.relation = c.oid AND t.by_row)"
        ),
        Some(relation),
    )
}

/// The tables that inherit from `relation` and may have been enabled by themselves: arrays of schema and name, or how many
/// there are when an entry could not hold them all.
pub fn children(relation: pg_sys::Oid) -> Result<Value> {
    let found = owner::run(|| {
        catalog::texts(
            &format!(
                "WITH RECURSIVE {DOWN} SELECT jsonb_build_array(a.table_schema, a.table_name)::text \
                 FROM down JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace \
                 JOIN ward.audit_table a ON (a.table_schema, a.table_name) = (n.nspname, c.relname) \
                 WHERE c.oid <> $1 AND NOT (c.relispartition AND a.is_partition) ORDER BY 1"
            ),
            relation,
            None,
        )
    })?;
    if found.len() > 50 {
        return Ok(found.len().into());
    }
    Ok(found
        .iter()
        .filter_map(|text| serde_json::from_str::<Value>(&encoding::to_utf8(text)).ok())
        .collect())
}

/// Tables of the memory whose names have changed, and no other table has got the old name.
const MOVED: &str = "SELECT a.table_schema AS old_schema, a.table_name AS old_name, n.nspname, c.relname, c.oid \
    FROM ward.audit_table a JOIN pg_class c ON c.oid = a.relation JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE (a.table_schema, a.table_name) <> (n.nspname, c.relname) \
      AND EXISTS (SELECT FROM ward.audit_trigger t WHERE t.relation = c.oid) \
      AND NOT EXISTS (SELECT FROM pg_class k JOIN pg_namespace m ON m.oid = k.relnamespace \
                      WHERE m.nspname = a.table_schema AND k.relname = a.table_name) \
      AND NOT EXISTS (SELECT FROM ward.audit_table o \
                      WHERE o.table_schema = n.nspname AND o.table_name = c.relname AND o.relation = c.oid)";

/// Follows tables to their new names. Answers former names, schema and table, by new ones.
pub fn follow_names() -> Result<HashMap<(String, String), [String; 2]>> {
    let moved = catalog::texts(
        &format!(
            "SELECT jsonb_build_array(nspname, relname, old_schema, old_name)::text FROM ({MOVED}) m WHERE $1 IS NOT NULL"
        ),
        pg_sys::InvalidOid,
        None,
    )?;
    if moved.is_empty() {
        return Ok(HashMap::new());
    }
    // A row under the new name is of a table that is gone.
    run(
        &format!(
            "DELETE FROM ward.audit_table a USING ({MOVED}) m WHERE a.table_schema = m.nspname \
             AND a.table_name = m.relname AND a.relation <> m.oid"
        ),
        None,
    )?;
    run(
        &format!(
            "UPDATE ward.audit_table a SET table_schema = m.nspname, table_name = m.relname FROM ({MOVED}) m \
             WHERE a.table_schema = m.old_schema AND a.table_name = m.old_name"
        ),
        None,
    )?;
    Ok(moved
        .iter()
        .filter_map(|text| serde_json::from_str::<[String; 4]>(&encoding::to_utf8(text)).ok())
        .map(|[schema, table, old_schema, old_table]| ((schema, table), [old_schema, old_table]))
        .collect())
}

/// In a restored database tables have other oids than the memory says: takes those of the tables that
/// have their triggers again, and keeps the former for the entries that say it.
pub fn found_again() -> Result<()> {
    run(
        "UPDATE ward.audit_table a SET relation = c.oid, former = coalesce( \
            (SELECT jsonb_build_object(l.incarnation, a.relation::bigint) FROM ward.audit_log l \
             WHERE NOT EXISTS (SELECT FROM ward.audit_log n WHERE n.previous = l.incarnation)), '{}') || a.former \
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE a.table_schema = n.nspname AND a.table_name = c.relname AND a.relation <> c.oid \
           AND EXISTS (SELECT FROM ward.audit_trigger t WHERE t.relation = c.oid AND t.by_row)",
        None,
    )
}

/// Forgets the tables that the running command dropped; answers a JSON object for each.
pub fn forget_dropped() -> Result<Vec<Map<String, Value>>> {
    let dropped = "FROM pg_event_trigger_dropped_objects() d WHERE d.object_type IN ('table', 'foreign table') \
         AND a.table_schema = d.address_names[1] AND a.table_name = d.address_names[2]";
    let found = owner::run(|| {
        catalog::texts(
            &format!(
                "SELECT jsonb_build_object('schema', a.table_schema, 'table', a.table_name)::text \
                 FROM ward.audit_table a WHERE $1 IS NOT NULL AND EXISTS (SELECT {dropped}) ORDER BY 1"
            ),
            pg_sys::InvalidOid,
            None,
        )
    })?;
    if !found.is_empty() {
        run(
            &format!("DELETE FROM ward.audit_table a WHERE EXISTS (SELECT {dropped})"),
            None,
        )?;
    }
    Ok(found
        .iter()
        .filter_map(|text| serde_json::from_str(&encoding::to_utf8(text)).ok())
        .collect())
}

/// Runs a command, with a relation for $1 if it has one.
fn run(command: &str, relation: Option<pg_sys::Oid>) -> Result<()> {
    owner::run(|| match relation {
        Some(relation) => Spi::run_with_args(command, &[relation.into()]),
        None => Spi::run(command),
    })
    .map_err(error::spi)
}
