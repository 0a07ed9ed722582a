//! What the key registry needs from PostgreSQL's internals.

pub mod acl;
pub mod invalidation;
pub mod nudge;
pub mod process;
pub mod rows;
pub mod usage;
