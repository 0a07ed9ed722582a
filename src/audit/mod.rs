//! The audit trail: capture, sealing, reading and verifying.

mod archive;
mod buffer;
pub mod capture;
mod catalog;
mod check;
mod checkpoint;
mod context;
pub mod current;
pub mod enable;
pub mod entries;
pub mod errand;
pub mod event;
mod export;
mod find;
pub mod health;
mod history;
mod identity;
mod image;
mod index;
pub mod jsonb;
mod lag;
mod leaves;
mod lineage;
pub mod memory;
mod progress;
mod proof;
mod publish;
pub mod records;
mod retention;
mod salt;
mod seal;
mod signer;
mod signing_key;
mod store;
pub mod trail;
mod verify;

pub use lag::{lag, sealed_size};
pub use publish::publication;
pub use signing_key::rotate_audit_signing_key;
pub mod worker;

pgrx::extension_sql_file!(
    "../../sql/audit.sql",
    name = "ward_audit",
    requires = ["ward_schema"]
);
pgrx::extension_sql_file!(
    "../../sql/audit_ddl.sql",
    name = "ward_audit_ddl",
    requires = ["ward_audit"]
);
pgrx::extension_sql_file!(
    "../../sql/audit_views.sql",
    name = "ward_audit_views",
    requires = [
        "ward_audit_ddl",
        enable::enable_audit,
        enable::disable_audit,
        worker::request::seal_audit_trail,
        verify::verify_audit_trail_integrity,
        verify::audit_violations,
        checkpoint::audit_checkpoint,
        checkpoint::audit_public_key
    ]
);

pgrx::extension_sql_file!(
    "../../sql/audit_retention.sql",
    name = "ward_audit_retention",
    requires = ["ward_audit"]
);
pgrx::extension_sql_file!(
    "../../sql/audit_retention_views.sql",
    name = "ward_audit_retention_views",
    requires = [
        "ward_audit_retention",
        archive::archive_segment,
        retention::audit_retention_state,
        retention::set_audit_retention,
        retention::prune_audit_trail,
        retention::erase::erase_audit_images,
        retention::erase::erase_audit_images_by_name
    ]
);

pgrx::extension_sql_file!(
    "../../sql/audit_verify.sql",
    name = "ward_audit_verify",
    requires = [
        "ward_audit_views",
        verify::incremental::verify_audit_trail_incremental,
        current::audit_same_row,
        health::audit_health_state
    ]
);

pgrx::extension_sql_file!(
    "../../sql/audit_proofs.sql",
    name = "ward_audit_proofs",
    requires = [
        "ward_audit_views",
        proof::audit_inclusion_proof,
        proof::audit_consistency_proof,
        proof::audit_proof,
        proof::audit_witness_request,
        export::export_audit_trail
    ]
);

pgrx::extension_sql_file!(
    "../../sql/audit_history.sql",
    name = "ward_audit_history_of_the_log",
    requires = [
        "ward_audit_proofs",
        history::declare_restore,
        signing_key::rotate_audit_signing_key,
        signer::audit_signer_state
    ]
);

/// Registers callbacks and shared memory.
pub fn init() {
    crate::pg::journal::init();
    crate::pg::shared::init();
    crate::pg::ddl::reassign::register();
    capture::init();
    worker::init();
    checkpoint::init();
    signer::init();
    publish::init();
}
