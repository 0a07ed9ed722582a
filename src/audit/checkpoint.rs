//! Checkpoints: the tree head as a signed note.

use super::{signer, signing_key, store};
use crate::error::{self, Result};
use crate::pg::owner;
use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;
use std::ffi::CString;

static LOG_ORIGIN: GucSetting<Option<CString>> = GucSetting::<Option<CString>>::new(None);

/// Defines the setting.
pub fn init() {
    GucRegistry::define_string_guc(
        c"ward.log_origin",
        c"Name of this server's audit logs in checkpoints.",
        c"A name nobody else uses, like a host name with a path: \"db1.example.com/billing\". The log's incarnation is appended.",
        &LOG_ORIGIN,
        GucContext::Sighup,
        GucFlags::default(),
    );
}

/// Origin of the log of this database: the configured name, else one made of the cluster's
/// identifier, then the incarnation.
pub(super) fn origin(identity: &store::Identity) -> Result<String> {
    let configured = LOG_ORIGIN.get().and_then(|name| name.into_string().ok());
    let name = match configured.filter(|name| !name.is_empty()) {
        Some(name) if name.contains(char::is_whitespace) || name.contains('+') => {
            return Err(error::report_hint(
                PgSqlErrorCode::ERRCODE_CONFIG_FILE_ERROR,
                "ward.log_origin contains white space or a plus sign",
                "Use a name like \"db1.example.com/billing\".",
            ));
        }
        Some(name) => name,
        None => format!("pg_ward/{}", identity.system_identifier),
    };
    Ok(format!(
        "{name}/{}",
        uuid::Uuid::from_bytes(identity.incarnation)
    ))
}

/// The head of the sealed log as a signed checkpoint (C2SP tlog-checkpoint).
#[pg_extern(parallel_unsafe)]
fn audit_checkpoint() -> Result<String> {
    let (identity, block) = owner::run(last)?;
    signer::sign(&identity, &block)
}

/// The current incarnation and the last block.
pub(super) fn last() -> Result<(store::Identity, store::Block)> {
    match (store::identity(), store::last_block()) {
        (Some(identity), Some(block)) => Ok((identity, block)),
        _ => Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "there is no sealed audit log to sign",
            "Audit a table with ward.enable_audit(), then call ward.seal_audit_trail().",
        )),
    }
}

/// The public key of checkpoints, in note-key form: what a verifier needs.
#[pg_extern(parallel_unsafe)]
fn audit_public_key() -> Result<String> {
    let Some(identity) = owner::run(store::identity) else {
        return Err(error::report_hint(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "there is no audit log yet",
            "Audit a table with ward.enable_audit().",
        ));
    };
    let size = owner::run(store::last_block).map_or(0, |block| block.tree_size);
    let signers = signing_key::signers(size)?;
    let key = signers.first().ok_or_else(|| {
        error::report(
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            "there is no key that signs checkpoints",
        )
    })?;
    ward_log::vkey(&origin(&identity)?, key.material.expose()).map_err(|problem| {
        error::report(
            PgSqlErrorCode::ERRCODE_INTERNAL_ERROR,
            format!("the key has no form: {problem}"),
        )
    })
}
