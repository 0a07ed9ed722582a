//! What in the database names a key: columns of an encrypted type, and defaults that encrypt.

use super::error::KeyError;
use pgrx::spi::SpiClient;
use ward_crypto::type_modifier;

/// The column types whose modifier is the name of a key.
const TYPES: [&str; 2] = ["encrypted_text", "secret_text"];

/// How many columns a message lists.
const LISTED: usize = 10;

/// Refuses when a column names the key; the error lists the columns.
pub fn require_none(client: &SpiClient<'_>, name: &str) -> Result<(), KeyError> {
    let mut users = of_types(client, name)?;
    users.extend(defaults(client, name)?);
    users.sort_unstable();
    users.dedup();
    if users.is_empty() {
        return Ok(());
    }
    let more = users.len().saturating_sub(LISTED);
    users.truncate(LISTED);
    let mut list = users.join(", ");
    if more > 0 {
        list.push_str(&format!(" and {more} more"));
    }
    Err(KeyError::InUse {
        name: name.to_owned(),
        users: list,
    })
}

/// Columns of tables and composite types whose type, or its array, or a domain over one of them, has
/// the key as its modifier.
fn of_types(client: &SpiClient<'_>, name: &str) -> Result<Vec<String>, KeyError> {
    texts(
        client,
        "WITH RECURSIVE named (oid) AS (
             -- The types themselves carry the modifier where they are used, so do their arrays.
             SELECT d.oid FROM pg_catalog.pg_type d
             JOIN pg_catalog.pg_type t ON d.typbasetype IN (t.oid, t.typarray)
             WHERE d.typtype = 'd' AND d.typtypmod = $2
               AND t.typnamespace = 'ward'::pg_catalog.regnamespace AND t.typname = ANY ($1)
             UNION
             SELECT d.oid FROM pg_catalog.pg_type d
             JOIN pg_catalog.pg_type t ON d.typbasetype IN (t.oid, t.typarray)
             JOIN named n ON n.oid = t.oid
             WHERE d.typtype = 'd')
         SELECT pg_catalog.format('%s.%I', a.attrelid::pg_catalog.regclass, a.attname)
         FROM pg_catalog.pg_attribute a
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'm', 'f', 'c')
         JOIN pg_catalog.pg_type t ON a.atttypid IN (t.oid, t.typarray)
         WHERE a.attnum > 0 AND NOT a.attisdropped
           AND ((t.typnamespace = 'ward'::pg_catalog.regnamespace AND t.typname = ANY ($1)
                 AND a.atttypmod = $2)
                OR t.oid IN (SELECT oid FROM named))",
        &[
            TYPES.map(str::to_owned).to_vec().into(),
            type_modifier(name).into(),
        ],
    )
}

/// Columns whose default or generating expression calls pg_ward with the key's name.
fn defaults(client: &SpiClient<'_>, name: &str) -> Result<Vec<String>, KeyError> {
    texts(
        client,
        "SELECT pg_catalog.format('%s.%I', a.attrelid::pg_catalog.regclass, a.attname)
         FROM pg_catalog.pg_attrdef d
         JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum,
         pg_catalog.pg_get_expr(d.adbin, d.adrelid) AS e
         WHERE pg_catalog.strpos(e, 'ward.') > 0
           AND pg_catalog.strpos(e, pg_catalog.quote_literal($1)) > 0",
        &[name.into()],
    )
}

fn texts(
    client: &SpiClient<'_>,
    query: &str,
    arguments: &[pgrx::datum::DatumWithOid],
) -> Result<Vec<String>, KeyError> {
    let mut found = Vec::new();
    for row in client.select(query, None, arguments)? {
        found.extend(row.get::<String>(1)?);
    }
    Ok(found)
}
