//! Follows changes of tables: what is audited stays audited as a whole, hidden columns stay hidden
//! under their new names, and the trail says what was done to a table and to its triggers.

use super::{owners, registry, triggers};
use crate::audit::{event, store};
use crate::error::Result;
use crate::pg::ddl::{Action, Event, Membership, Statement};
use crate::pg::{catalog, encoding, owner, relation};
use pgrx::prelude::*;
use serde_json::{Map, Value, json};
use ward_log::Severity;

/// The tables that the running command created or altered, those of an altered type included.
const TABLES: &str = "SELECT DISTINCT objid::text FROM pg_event_trigger_ddl_commands() \
    WHERE classid = 'pg_class'::regclass AND object_type IN ('table', 'foreign table', 'table column', 'foreign table column') AND $1 IS NOT NULL \
    UNION SELECT c.oid::text FROM pg_event_trigger_ddl_commands() m JOIN pg_type y ON y.typrelid = m.objid \
    JOIN pg_class c ON c.reloftype = y.oid WHERE m.classid = 'pg_class'::regclass";

/// What the running command did to audited tables, a JSON object each. A command for a type is one for its tables; with
/// $2, one for a table that is not audited is one for the audited ones that inherit from it.
const ALTERED: &str = "WITH RECURSIVE audited (oid) AS MATERIALIZED ( \
        SELECT relation FROM ward.audit_trigger \
        UNION SELECT c.oid FROM ward.audit_table t JOIN pg_namespace n ON n.nspname = t.table_schema \
              JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.table_name), \
    command AS MATERIALIZED ( \
        SELECT command_tag AS tag, object_type AS type, object_identity AS identity, r.relation \
        FROM pg_event_trigger_ddl_commands() m, LATERAL ( \
            SELECT m.objid AS relation WHERE m.classid = 'pg_class'::regclass \
            UNION ALL SELECT c.oid FROM pg_type y JOIN pg_class c ON c.reloftype = y.oid \
                WHERE y.typrelid = m.objid AND m.classid = 'pg_class'::regclass \
            UNION ALL SELECT tgrelid FROM pg_trigger WHERE oid = m.objid AND m.classid = 'pg_trigger'::regclass \
            UNION ALL SELECT polrelid FROM pg_policy WHERE oid = m.objid AND m.classid = 'pg_policy'::regclass \
            UNION ALL SELECT ev_class FROM pg_rewrite WHERE oid = m.objid AND m.classid = 'pg_rewrite'::regclass \
            UNION ALL SELECT oid FROM pg_class WHERE relnamespace = m.objid AND m.classid = 'pg_namespace'::regclass \
                AND m.command_tag = 'ALTER SCHEMA') r), \
    d AS (SELECT * FROM command \
        UNION SELECT d.tag, d.type, d.identity, i.inhrelid FROM d JOIN pg_inherits i ON i.inhparent = d.relation \
              WHERE $2 = 'true' AND NOT EXISTS (SELECT FROM audited a WHERE a.oid = d.relation)) \
    SELECT DISTINCT jsonb_build_object('command', d.tag, 'object_type', d.type, 'object', d.identity, \
        'schema', n.nspname, 'table', c.relname)::text \
    FROM d \
    JOIN pg_class c ON c.oid = d.relation AND c.relkind IN ('r', 'p', 'f') \
    JOIN pg_namespace n ON n.oid = c.relnamespace \
    JOIN audited a ON a.oid = c.oid WHERE $1 IS NOT NULL \
    ORDER BY 1";

/// Trigger functions of the extension that the running command made or altered.
const FUNCTIONS: &str = "SELECT jsonb_build_object('command', m.command_tag, 'object', m.object_identity)::text \
    FROM pg_event_trigger_ddl_commands() m JOIN pg_proc p ON p.oid = m.objid \
    JOIN pg_depend d ON d.classid = m.classid AND d.objid = m.objid AND d.deptype = 'e' \
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND e.oid = d.refobjid \
    WHERE m.classid = 'pg_proc'::regclass AND e.extname = 'pg_ward' AND $1 IS NOT NULL \
      AND p.prorettype IN ('trigger'::regtype, 'event_trigger'::regtype)";

/// Parts of audited tables that the running command dropped, while the table stays.
const PARTS: &str = "SELECT jsonb_build_object('object_type', d.object_type, 'object', d.object_identity, \
        'schema', n.nspname, 'table', c.relname, 'name', d.address_names[3], 'relation', c.oid::text)::text \
    FROM pg_event_trigger_dropped_objects() d \
    JOIN ward.audit_table t ON t.table_schema = d.address_names[1] AND t.table_name = d.address_names[2] \
    JOIN pg_namespace n ON n.nspname = t.table_schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.table_name \
    WHERE d.object_type IN ('trigger', 'policy', 'rule', 'table column', 'table constraint') AND $1 IS NOT NULL \
      AND NOT (d.object_type = 'trigger' AND d.address_names[3] LIKE 'RI\\_ConstraintTrigger%') ORDER BY 1";

/// The table that the running command rewrites, if it is audited, and why: see
/// pg_event_trigger_table_rewrite_reason().
const REWRITTEN: &str = "SELECT jsonb_build_object('schema', n.nspname, 'table', c.relname, 'because', \
        array_remove(ARRAY[CASE WHEN why & 1 <> 0 THEN 'persistence' END, CASE WHEN why & 2 <> 0 THEN 'default' END, \
            CASE WHEN why & 4 <> 0 THEN 'column type' END, CASE WHEN why & 8 <> 0 THEN 'access method' END], NULL))::text \
    FROM pg_event_trigger_table_rewrite_reason() AS w (why), pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.oid = pg_event_trigger_table_rewrite_oid() AND $1 IS NOT NULL \
      AND EXISTS (SELECT FROM ward.audit_trigger t WHERE t.relation = c.oid)";

/// What is wrong with the triggers of table $2.$3.
const PROBLEMS: &str = "SELECT problem FROM ward.audit_trigger_problems \
    WHERE table_schema = $2 AND table_name = $3 AND $1 IS NOT NULL ORDER BY 1";

/// Called at the end of commands, when they dropped something, and before they rewrite a table.
pub fn follow(event: &Event) -> Result<()> {
    if triggers::is_own_command() {
        return Ok(());
    }
    match event {
        Event::End(statement) if statement.relevant => ended(statement),
        Event::Drop(statement, tag) => dropped(statement, tag),
        Event::Rewrite if is_here() => {
            for found in facts(REWRITTEN)? {
                record("table_rewritten", Severity::Medium, found)?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether the log is that of this database. A log that was copied or restored and has not been taken
/// on here is not: commands that restore a dump are no entries of it.
fn is_here() -> bool {
    owner::table(c"audit_log").is_some()
        && owner::run(store::identity).is_some_and(|identity| identity.is_here())
}

fn ended(statement: &Statement) -> Result<()> {
    if let Some(membership) = &statement.membership
        && is_here()
    {
        member(membership)?;
    }
    // The extension itself is being made.
    if owner::table(c"audit_table").is_none() {
        return Ok(());
    }
    if statement.joins || statement.detaches {
        owner::run(|| {
            let tables = catalog::oids(TABLES, pg_sys::InvalidOid)?;
            if statement.detaches {
                triggers::keep_detached()?;
            }
            tables.into_iter().try_for_each(triggers::extend)
        })?;
    }
    let here = is_here();
    if !here {
        registry::found_again()?;
    }
    let moved = registry::follow_names()?;
    let tables = owner::run(|| catalog::oids(TABLES, pg_sys::InvalidOid))?;
    if let Some((old, new)) = &statement.renamed_column {
        for table in &tables {
            super::hidden::renamed(*table, old, new)?;
        }
    }
    if statement.adds_column {
        for table in &tables {
            super::hidden::recheck(*table)?;
        }
    }
    if !here {
        return Ok(());
    }
    let inherits = [statement.inherits.to_string()];
    for mut found in facts_of(ALTERED, Some(&inherits))? {
        let place = place(&found);
        if let Some(from) = moved.get(&place) {
            found.insert("from".to_owned(), json!(from));
        }
        if !statement.actions.is_empty() {
            found.insert("actions".to_owned(), actions(&statement.actions));
        }
        record("table_altered", Severity::Low, found)?;
        if statement.triggers {
            problems("audit_trigger_altered", &place)?;
        }
    }
    for found in facts(FUNCTIONS)? {
        record("audit_function_altered", Severity::High, found)?;
    }
    Ok(())
}

/// Called before REASSIGN OWNED.
pub fn owners_may_change() {
    if owner::table(c"audit_table").is_some() {
        owner::run(owners::remember);
    }
}

/// Called when it has ended.
pub fn owners_have_changed() -> Result<()> {
    if owner::table(c"audit_table").is_none() {
        return Ok(());
    }
    let here = is_here();
    for table in owner::run(owners::changed) {
        owner::run(|| triggers::extend(table))?;
        if here {
            record("table_altered", Severity::Low, given(table))?;
        }
    }
    Ok(())
}

fn dropped(statement: &Statement, tag: &str) -> Result<()> {
    if owner::table(c"audit_table").is_none() {
        return Ok(());
    }
    let here = is_here();
    for mut found in registry::forget_dropped()? {
        if here {
            found.insert("command".to_owned(), json!(tag));
            record("table_dropped", Severity::Medium, found)?;
        }
    }
    let mut suspects: Vec<(String, String)> = Vec::new();
    for mut found in facts(PARTS)? {
        let relation = found.remove("relation");
        let relation = relation.as_ref().and_then(Value::as_str).unwrap_or("0");
        let kind = found.get("object_type").and_then(Value::as_str);
        if kind == Some("table column")
            && let Some(column) = found.get("name").and_then(Value::as_str)
        {
            let relation = pg_sys::Oid::from(relation.parse::<u32>().unwrap_or(0));
            super::hidden::dropped(relation, column)?;
        }
        if !here {
            continue;
        }
        // A partition that is detached loses the triggers it had from its parent and gets its own.
        if kind == Some("trigger") && !statement.detaches {
            let place = place(&found);
            if !suspects.contains(&place) {
                suspects.push(place);
            }
        }
        // What ALTER TABLE drops stands in its own entry.
        if !matches!(tag, "ALTER TABLE" | "ALTER FOREIGN TABLE" | "ALTER TYPE") {
            found.insert("command".to_owned(), json!(tag));
            record("table_altered", Severity::Low, found)?;
        }
    }
    for place in suspects {
        problems("audit_trigger_dropped", &place)?;
    }
    Ok(())
}

/// Records what is wrong with the triggers of a table, if anything is.
fn problems(event_type: &str, place: &(String, String)) -> Result<()> {
    let list = [place.0.clone(), place.1.clone()];
    for problem in catalog::texts(PROBLEMS, pg_sys::InvalidOid, Some(&list))? {
        let mut found = Map::new();
        found.insert("schema".to_owned(), json!(place.0));
        found.insert("table".to_owned(), json!(place.1));
        found.insert("problem".to_owned(), json!(encoding::to_utf8(&problem)));
        record(event_type, Severity::High, found)?;
    }
    Ok(())
}

/// The JSON objects that a query gives.
fn facts(query: &str) -> Result<Vec<Map<String, Value>>> {
    facts_of(query, None)
}

/// As [`facts`], with texts from $2 on.
fn facts_of(query: &str, texts: Option<&[String]>) -> Result<Vec<Map<String, Value>>> {
    Ok(
        owner::run(|| catalog::texts(query, pg_sys::InvalidOid, texts))?
            .iter()
            .filter_map(|text| serde_json::from_str(&encoding::to_utf8(text)).ok())
            .collect(),
    )
}

/// Records that an object became a member of the extension, or is none any more: what is not a member may be replaced
/// like any other object.
fn member(membership: &Membership) -> Result<()> {
    let mut found = Map::new();
    found.insert("command".to_owned(), json!("ALTER EXTENSION"));
    found.insert("action".to_owned(), json!(membership.what));
    if let Some(name) = &membership.name {
        found.insert("object".to_owned(), json!(name));
    }
    let event_type = if membership.function {
        "audit_function_altered"
    } else {
        "audit_extension_altered"
    };
    record(event_type, Severity::High, found)
}

/// What is recorded of a table that REASSIGN OWNED gave to its owner.
fn given(table: pg_sys::Oid) -> Map<String, Value> {
    let (schema, name) = relation::name(table);
    let identity = catalog::shown(&catalog::qualified_name(table));
    let action = json!([{ "action": "OWNER TO" }]);
    let command = json!("REASSIGN OWNED");
    [
        ("command", command),
        ("object_type", json!("table")),
        ("object", json!(identity)),
        ("schema", json!(schema)),
        ("table", json!(name)),
        ("actions", action),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into_iter()
    .collect()
}

fn place(found: &Map<String, Value>) -> (String, String) {
    let text = |key| found.get(key).and_then(Value::as_str).unwrap_or_default();
    (text("schema").to_owned(), text("table").to_owned())
}

/// How many actions of one command an entry lists.
const MAX_ACTIONS: usize = 50;

fn actions(list: &[Action]) -> Value {
    let shown = list.iter().take(MAX_ACTIONS).map(|action| {
        let mut shown = Map::new();
        shown.insert("action".to_owned(), json!(action.what));
        for (key, text) in [("name", &action.name), ("to", &action.to)] {
            if let Some(text) = text {
                shown.insert(key.to_owned(), json!(text));
            }
        }
        Value::Object(shown)
    });
    let more = list.len().saturating_sub(MAX_ACTIONS);
    shown
        .chain((more > 0).then(|| json!({ "more_actions": more })))
        .collect()
}

fn record(event_type: &str, severity: Severity, details: Map<String, Value>) -> Result<()> {
    event::record(event_type, severity, &Value::Object(details).to_string())
}
