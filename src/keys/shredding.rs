//! What could still open copies of destroyed keys: they lie in WAL and backups, wrapped under the
//! master keys of their time.

use super::registry::Registry;
use super::{backup, master};
use crate::error::Result;
use pgrx::datum::TimestampWithTimeZone;
use pgrx::prelude::*;

/// One row per destroyed key version.
#[pg_extern(volatile, parallel_unsafe)]
pub fn shredding_status() -> Result<
    TableIterator<
        'static,
        (
            name!(name, String),
            name!(version, i32),
            name!(key_id, String),
            name!(destroyed_at, Option<TimestampWithTimeZone>),
            name!(master_key_ids, Vec<String>),
            name!(still_configured, Vec<String>),
            name!(finished, Option<bool>),
            name!(what_to_do, Option<String>),
        ),
    >,
> {
    let mut configured = master::status().ids;
    let current = configured.first().cloned();
    configured.extend(backup::ids()?);
    let registry = Registry::load()?;
    let mut rows = Vec::new();
    for key in registry.keys() {
        for version in &key.versions {
            if !matches!(version.state, super::model::State::Destroyed) {
                continue;
            }
            let all: Vec<String> = version.masters.chunks(8).map(hex::encode).collect();
            let open: Vec<String> = all
                .iter()
                .filter(|id| configured.contains(id))
                .cloned()
                .collect();
            let (finished, advice) = match key.fault() {
                Some(fault) => (None, Some(fault.to_string())),
                None => (Some(open.is_empty()), advice(&open, current.as_deref())),
            };
            rows.push((
                key.name.clone(),
                version.version,
                version.key_id.to_string(),
                version.destroyed_at,
                all,
                open,
                finished,
                advice,
            ));
        }
    }
    Ok(TableIterator::new(rows))
}

fn advice(open: &[String], current: Option<&str>) -> Option<String> {
    if open.is_empty() {
        return None;
    }
    let first = if open.iter().any(|id| Some(id.as_str()) == current) {
        "Put a new master key before the present one, reload, and call ward.rewrap_keys(); then remove"
    } else {
        "Call ward.rewrap_keys(), then remove"
    };
    Some(format!(
        "{first} master key {} from this server, and destroy every copy of it.",
        open.join(", ")
    ))
}
