//! SQL functions that say who may use a key.

use super::error::KeyError;
use super::model::{Purpose, Usages};
use super::registry::Registry;
use super::store;
use crate::error::Result;
use crate::pg::keys::acl::{self, Name};
use pgrx::pg_sys::Oid;
use pgrx::prelude::*;

/// A role that exists.
pub struct Role {
    /// Its name.
    pub name: String,
    /// Its id.
    pub oid: Oid,
}

/// The role of this name.
pub fn role(name: &str) -> std::result::Result<Role, KeyError> {
    let oid = acl::role_oid(name).ok_or_else(|| KeyError::UnknownRole(name.to_owned()))?;
    Ok(Role {
        name: name.to_owned(),
        oid,
    })
}

/// Allows a role, and whoever acts as it, to use a key.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn grant_key(
    name: Option<&str>,
    role: Option<Name>,
    usage: default!(Option<Vec<Option<String>>>, "'{encrypt,decrypt}'"),
) -> Result<()> {
    let (name, Name(role)) = required(name, role)?;
    let usages = parse(usage)?;
    let role = self::role(&role)?;
    store::change(|change| {
        let (key, held) = held(&mut change.registry, name, &role.name)?;
        // What the name held under another id is not extended: that was another role.
        let held = held.filter(|(oid, _)| *oid == role.oid);
        let usages = held.map_or(usages, |(_, held)| held.with(usages));
        change.put_grant(key, &role.name, role.oid, usages)
    })
}

/// Takes usages of a key from a role; all of them unless some are named. The role may be gone.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn revoke_key(
    name: Option<&str>,
    role: Option<Name>,
    usage: default!(
        Option<Vec<Option<String>>>,
        "'{encrypt,decrypt,search,import}'"
    ),
) -> Result<()> {
    let (name, Name(role)) = required(name, role)?;
    let usages = parse(usage)?;
    store::change(|change| {
        let (key, held) = held(&mut change.registry, name, &role)?;
        // Like REVOKE: taking what is not held is no error.
        let Some((oid, held)) = held else {
            return match acl::role_oid(&role) {
                Some(_) => Ok(()),
                None => Err(KeyError::UnknownRole(role)),
            };
        };
        let left = held.without(usages);
        if left.is_empty() {
            change.delete_grant(key, &role)
        } else {
            change.put_grant(key, &role, oid, left)
        }
    })
}

fn required(name: Option<&str>, role: Option<Name>) -> std::result::Result<(&str, Name), KeyError> {
    Ok((
        name.ok_or(KeyError::Null("name"))?,
        role.ok_or(KeyError::Null("role"))?,
    ))
}

fn parse(usage: Option<Vec<Option<String>>>) -> std::result::Result<Usages, KeyError> {
    let names = usage.ok_or(KeyError::Null("usage"))?;
    let names: Option<Vec<&str>> = names.iter().map(Option::as_deref).collect();
    let usages = names
        .and_then(Usages::parse)
        .ok_or(KeyError::UnknownUsage)?;
    if usages.is_empty() {
        return Err(KeyError::NoUsage);
    }
    Ok(usages)
}

type Held = Option<(Oid, Usages)>;

fn held(
    registry: &mut Registry,
    name: &str,
    role: &str,
) -> std::result::Result<([u8; 16], Held), KeyError> {
    let key = registry.by_name(name)?;
    if key.purpose != Purpose::DataEncryption {
        return Err(KeyError::WrongPurpose {
            name: key.name.clone(),
            purpose: key.purpose,
            action: "granted",
        });
    }
    let held = key
        .grants
        .iter()
        .find(|grant| grant.role_name == role)
        .map(|grant| (grant.role_oid, grant.usages));
    Ok((key.key, held))
}
