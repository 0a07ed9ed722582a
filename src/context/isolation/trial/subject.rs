//! For whom `test_isolation` acts.

use super::super::kind::Kind;
use super::super::policy::State;
use super::super::rule::Rule;
use super::super::table::Table;
use crate::context::bounds;
use crate::context::model::{SecurityContext, Source};
use crate::context::state;
use crate::error::{self, Result};
use crate::pg::context as setting;
use crate::pg::values::Text;
use pgrx::prelude::*;
use serde::Deserialize;

/// Which parts of a context say whose a row is.
#[derive(Clone, Copy, Default)]
pub struct Kinds {
    tenant: bool,
    user: bool,
}

/// The parts of the context that decide on rows of the table, its parents' included. They must not go
/// round in a circle.
pub fn kinds(table: &Table) -> Result<Kinds> {
    let mut kinds = Kinds::default();
    for found in &State::of(table)?.found {
        match found.kind {
            Kind::Tenant => kinds.tenant = true,
            Kind::User => kinds.user = true,
            Kind::Parent => {
                if let Some(parent) = Rule::existing(table, found)?.parent() {
                    let above = self::kinds(&Table::find(parent)?)?;
                    kinds.tenant |= above.tenant;
                    kinds.user |= above.user;
                }
            }
        }
    }
    Ok(kinds)
}

/// A tenant, a user, or both.
#[derive(PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subject {
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    user: Option<String>,
}

impl Subject {
    /// Parses an argument: the tenant or the user, or JSON with both where both count.
    pub fn parse(argument: &str, value: Option<Text>, kinds: Kinds) -> Result<Self> {
        let Some(text) = bounds::utf8(argument, value)? else {
            return Err(error::report(
                PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
                format!("{argument} must not be NULL"),
            ));
        };
        let subject = match (kinds.tenant, kinds.user) {
            (true, true) => serde_json::from_str::<Subject>(&text)
                .ok()
                .filter(|subject| subject.tenant.is_some() && subject.user.is_some())
                .ok_or_else(|| {
                    error::report_hint(
                        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
                        format!("{argument} must name a tenant and a user"),
                        "Rows of this table belong to both: give '{\"tenant\": \"…\", \"user\": \"…\"}'."
                            .replace('…', "..."),
                    )
                })?,
            (false, _) => Subject {
                tenant: None,
                user: Some(text),
            },
            (true, false) => Subject {
                tenant: Some(text),
                user: None,
            },
        };
        for part in [&subject.tenant, &subject.user].into_iter().flatten() {
            bounds::tenant(Some(part))?;
        }
        Ok(subject)
    }

    /// Puts the context in force, until the subtransaction is rolled back.
    pub fn enter(&self) -> Result<()> {
        let context = SecurityContext {
            tenant: self.tenant.clone(),
            user_id: self.user.clone(),
            transaction_local: true,
            // Counts whatever `ward.context_mode` says: it is the table that is tried here.
            ..SecurityContext::empty(Source::Override)
        };
        setting::store(context.complete(), true)?;
        // As after a setter, so that code of the table cannot choose another tenant.
        state::bind_tenant();
        Ok(())
    }
}
