//! Moves values to the active version of their key.

use super::part::{self, Done};
use super::transform::{Transform, active_key_id};
use crate::error::{self, Result};
use crate::keys::{KeyError, with_registry};
use crate::pg::columns::scan::{self, Part, Select};
use crate::pg::columns::table::{Column, Kind, Table, Value};
use crate::pg::values::Varlena;
use pgrx::prelude::*;
use std::ffi::{CStr, CString};
use ward_crypto::{ColumnType, Envelope};

/// Renews rows of a table: at `places`; else in the blocks after `first_block` that hold about `batch`
/// rows; else, without `first_block`, the first `batch` rows anywhere that need it.
/// Answers where to go on, whether nothing was left to do, and which rows are being worked on.
// Row security is off so that a policy that would hide rows is an error; expressions of the caller are
// looked up in pg_catalog only.
#[pg_extern(sql = r#"
CREATE FUNCTION ward."renew_rows"("tab" regclass, "col" name, "aad_expression" text, "batch" integer, "first_block" bigint DEFAULT NULL, "places" text[] DEFAULT NULL)
RETURNS TABLE ("next_block" bigint, "finished" boolean, "locked" text[]) VOLATILE PARALLEL UNSAFE
SET search_path = pg_catalog, pg_temp SET row_security = off
LANGUAGE c AS 'MODULE_PATHNAME', '@FUNCTION_NAME@';
"#)]
fn renew_rows(
    tab: pg_sys::Oid,
    col: &CStr,
    aad_expression: Option<&[u8]>,
    batch: i32,
    first_block: Option<i64>,
    places: Option<Vec<Option<String>>>,
) -> Result<
    TableIterator<
        'static,
        (
            name!(next_block, Option<i64>),
            name!(finished, bool),
            name!(locked, Vec<String>),
        ),
    >,
> {
    let table = Table::open(tab)?;
    let column = table.column(col)?;
    let wait = places.is_some();
    let (part, limit, next) = match (places, first_block) {
        (Some(places), _) => (part::places(&places)?, usize::MAX, None),
        (None, None) => {
            let limit = usize::try_from(batch).unwrap_or(1).max(1);
            (Part::Blocks(0, scan::blocks(&table)), limit, None)
        }
        (None, Some(first)) => match part::next(&table, first, i64::MAX, batch)? {
            None => return Ok(TableIterator::once((None, true, Vec::new()))),
            Some((first, past)) => (Part::Blocks(first, past), usize::MAX, Some(past)),
        },
    };
    let (found, done) = match column.kind {
        Kind::Encrypted(kind) => {
            if aad_expression.is_some() {
                return Err(error::report(
                    PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                    "only values of type bytea have additional authenticated data of their own",
                ));
            }
            typed(&table, &column, kind, &part, limit, wait)?
        }
        Kind::Bytea => envelopes(&table, &column, aad_expression, &part, limit, wait)?,
        Kind::Text | Kind::Other => {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                "the column is not encrypted",
                "Columns of type ward.encrypted_text, ward.secret_text, and bytea with values of ward.encrypt can be re-encrypted.",
            ));
        }
    };
    let finished = next.is_none() && found == 0;
    Ok(TableIterator::once((next, finished, done.locked)))
}

/// Values of the encrypted types, also those that row level security hides; the caller's grants decide about
/// each.
fn typed(
    table: &Table,
    column: &Column,
    kind: ColumnType,
    part: &Part,
    limit: usize,
    wait: bool,
) -> Result<(usize, Done)> {
    let active = active_key_id(column.modifier)?;
    let mut rows = Vec::new();
    let stored = Select {
        value: &column.quoted,
        part,
        condition: c"true",
    };
    scan::select_all(table, &stored, |place, value| {
        let is_active = value.is_none_or(|value| {
            value.with_bytes(|bytes| {
                kind.parse(bytes)
                    .is_ok_and(|parsed| parsed.envelope.key_id() == active)
            })
        });
        if !is_active {
            rows.push((place, ()));
        }
        rows.len() < limit
    })?;
    let transform = Transform::Renew(kind, column.modifier);
    let found = rows.len();
    let done = part::rewrite(table, column.index, rows, wait, |old, ()| {
        old.value(column)
            .map(|value| transform.apply(&value))
            .transpose()
    })?;
    Ok((found, done))
}

/// Envelopes in a bytea column. The caller reads them: the expression for their aad is the caller's.
fn envelopes(
    table: &Table,
    column: &Column,
    aad: Option<&[u8]>,
    part: &Part,
    limit: usize,
    wait: bool,
) -> Result<(usize, Done)> {
    let name = column.quoted.to_bytes();
    let aad = aad.unwrap_or(b"NULL");
    let renewed = [b"ward.reencrypt(", name, b", (", aad, b")::text)"].concat();
    let stale = [name, b" IS NOT NULL AND NOT ward.is_current(", name, b")"].concat();
    let (Ok(renewed), Ok(stale)) = (CString::new(renewed), CString::new(stale)) else {
        return Err(error::report(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "the expression contains a zero byte",
        ));
    };
    let mut rows: Vec<(_, Option<Vec<u8>>)> = Vec::new();
    let select = Select {
        value: &renewed,
        part,
        condition: &stale,
    };
    scan::select(table, &select, |place, value| {
        rows.push((place, value.map(|value| value.with_bytes(<[u8]>::to_vec))));
        rows.len() < limit
    })?;
    let found = rows.len();
    let done = part::rewrite(table, column.index, rows, wait, |_, renewed| {
        let renewed = renewed.map(|bytes| Varlena::copy_of(&bytes).map(Value::new));
        Ok(renewed.transpose()?)
    })?;
    Ok((found, done))
}

/// Whether a value of `ward.encrypt` is under the active version of its key.
#[pg_extern(stable, parallel_safe)]
fn is_current(value: &[u8]) -> Result<bool> {
    let key_id = Envelope::parse(value).map_err(KeyError::from)?.key_id();
    Ok(with_registry(|registry| {
        let (key, place) = registry.by_id(key_id)?;
        Ok(key.active()? == place)
    })?)
}
