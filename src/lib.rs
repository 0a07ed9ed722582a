//! pg_ward: field encryption, a provable audit trail, and tenant context for row level security,
//! as one PostgreSQL extension. This file only wires the parts together.

use pgrx::prelude::*;

mod audit;
mod columns;
mod context;
mod crypto;
mod encrypted;
mod error;
mod guc;
mod keys;
mod pg;
mod posture;
mod program;
mod status;

pgrx::pg_module_magic!(name, version);

pgrx::extension_sql_file!("../sql/schema.sql", name = "ward_schema", bootstrap);
pgrx::extension_sql_file!("../sql/finish.sql", name = "ward_finish", finalize);

/// Called once by the postmaster. Each part registers its settings, shared memory and hooks.
#[pg_guard]
pub extern "C-unwind" fn _PG_init() {
    pg::preload::require();
    keys::init();
    crypto::init();
    context::init();
    audit::init();
    encrypted::init();
    guc::reserve_prefix();
}
