//! Follows changes of inheritance and partitioning, so that what is audited stays audited as a whole.

use super::triggers;
use crate::error::Result;
use crate::pg::ddl::Statement;
use crate::pg::{catalog, owner};
use pgrx::prelude::*;

/// The tables that the running command created or altered.
const TABLES: &str = "SELECT DISTINCT objid::text FROM pg_event_trigger_ddl_commands() \
    WHERE classid = 'pg_class'::regclass AND object_type IN ('table', 'foreign table') AND $1 IS NOT NULL";

/// Called at the end of a statement that created or altered a table.
pub fn follow(statement: &Statement) -> Result<()> {
    if matches!(statement, Statement::Other) {
        return Ok(());
    }
    owner::run(|| {
        let tables = catalog::oids(TABLES, pg_sys::InvalidOid)?;
        if matches!(statement, Statement::Detaches) {
            triggers::keep_detached()?;
        }
        tables.into_iter().try_for_each(triggers::extend)
    })
}
