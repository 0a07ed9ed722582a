//! The kinds of isolation, and what each compares a column with.

use crate::pg::context::base_type;
use pgrx::prelude::*;

/// Whom the rows of a table belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A tenant, named by a column.
    Tenant,
    /// A user, named by a column.
    User,
    /// Whoever the row of a parent table belongs to.
    Parent,
}

impl Kind {
    /// Every kind, in the order in which conditions are evaluated.
    pub const ALL: [Kind; 3] = [Kind::Tenant, Kind::User, Kind::Parent];

    /// The name of its restrictive policy.
    pub fn policy(self) -> &'static str {
        match self {
            Kind::Tenant => "ward_tenant_isolation",
            Kind::User => "ward_user_isolation",
            Kind::Parent => "ward_parent_isolation",
        }
    }

    /// The kind whose policy has this name.
    pub fn of_policy(name: &str) -> Option<Self> {
        Kind::ALL.into_iter().find(|kind| kind.policy() == name)
    }

    /// Its name within a sentence.
    pub fn noun(self) -> &'static str {
        match self {
            Kind::Tenant => "tenant",
            Kind::User => "user",
            Kind::Parent => "parent",
        }
    }

    /// Its name at the beginning of a sentence.
    pub fn title(self) -> &'static str {
        match self {
            Kind::Tenant => "Tenant",
            Kind::User => "User",
            Kind::Parent => "Parent",
        }
    }

    /// What a uuid, a text and an integer column are compared with.
    pub fn accessors(self) -> [&'static str; 3] {
        match self {
            Kind::Tenant => [
                "ward.get_current_tenant_id()",
                "ward.get_tenant_context()",
                "ward.get_current_tenant_number()",
            ],
            Kind::User => [
                "ward.get_current_user_id()",
                "ward.get_user_context()",
                "ward.get_current_user_number()",
            ],
            // The parent's row tells.
            Kind::Parent => ["", "", ""],
        }
    }

    /// What a column of this type is compared with. None when it cannot be.
    pub fn accessor(self, type_oid: pg_sys::Oid) -> Option<&'static str> {
        let [uuid, text, number] = self.accessors();
        match base_type(type_oid) {
            _ if self == Kind::Parent => None,
            pg_sys::UUIDOID => Some(uuid),
            pg_sys::TEXTOID | pg_sys::VARCHAROID => Some(text),
            pg_sys::INT2OID | pg_sys::INT4OID | pg_sys::INT8OID => Some(number),
            _ => None,
        }
    }
}
