//! Records the rows that a table has when its audit begins.

use crate::audit::capture;
use crate::error::Result;
use crate::pg::baseline::Scan;
use crate::pg::{catalog, owner};
use pgrx::prelude::*;

/// The tables with rows among $1 and what inherits from it, as far as they are audited.
const TABLES: &str = "WITH RECURSIVE down (oid) AS (SELECT $1 UNION \
    SELECT i.inhrelid FROM pg_inherits i JOIN down ON i.inhparent = down.oid) \
    SELECT c.oid::text FROM down JOIN pg_class c USING (oid) WHERE c.relkind = 'r' \
      AND EXISTS (SELECT FROM ward.audit_trigger t WHERE t.relation = c.oid AND t.by_row) ORDER BY c.oid";

/// Tables smaller than this are recorded without a word.
const MANY_BLOCKS: u32 = 12_800;

/// Records every row of `relation` and of all that inherits from it. The caller's lock keeps writers
/// out until the transaction ends: what they committed before is seen, and what they write later is
/// captured.
pub fn record(relation: pg_sys::Oid) -> Result<()> {
    for table in owner::run(|| catalog::oids(TABLES, relation))? {
        let mut scan = Scan::open(table)?;
        let blocks = scan.blocks();
        let mut tenth = 0;
        scan.rows(|firing, block| {
            capture::change(firing)?;
            let now = u64::from(block) * 10 / u64::from(blocks.max(1));
            if blocks > MANY_BLOCKS && now > tenth {
                tenth = now;
                notice!(
                    "{}: {block} of {blocks} blocks are recorded",
                    catalog::shown(&catalog::qualified_name(table))
                );
            }
            Ok(())
        })?;
    }
    Ok(())
}
