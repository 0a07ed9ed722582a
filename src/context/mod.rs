//! Who is at work: the tenant and user context of a session or transaction, and the row level
//! security that follows it.
//!
//! The context is one custom setting, so transaction scope, savepoint rollback and parallel
//! workers are PostgreSQL's own. What a setting cannot give, the binding of a transaction to one
//! tenant, is kept in backend memory ([`state`]).

mod accessors;
mod bounds;
mod event;
mod isolation;
mod jwt_keys;
pub(crate) mod lent;
mod model;
mod overriding;
mod setters;
pub(crate) mod state;
mod token;

pub(crate) use isolation::index as isolation_indexes;
pub use jwt_keys::rewrap as rewrap_issuer_keys;
pub use model::{SecurityContext, Source};
pub use state::{generation, with_current};

pgrx::extension_sql_file!(
    "../../sql/context.sql",
    name = "ward_context",
    requires = [
        setters::set_tenant_context_uuid,
        setters::set_tenant_context_text,
        setters::set_security_context,
        setters::clear_security_context,
        accessors::get_tenant_context,
        accessors::get_current_tenant_number,
        accessors::get_user_context,
        accessors::get_current_user_number,
        accessors::has_role,
        accessors::has_permission,
        accessors::current_claims,
        overriding::override_tenant_context
    ]
);

pgrx::extension_sql_file!(
    "../../sql/context_tokens.sql",
    name = "ward_context_tokens",
    requires = [
        "ward_keys_functions",
        token::authenticate,
        jwt_keys::admin::add_jwt_key,
        jwt_keys::admin::retire_jwt_key
    ]
);

/// Registers this part's settings and hooks.
pub fn init() {
    crate::pg::context::init();
    token::register();
    event::register();
    crate::pg::index_worker::init();
}
