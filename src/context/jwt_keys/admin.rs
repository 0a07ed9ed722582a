//! SQL functions that add and retire keys. They run as the extension's owner; who may execute them is
//! for the DBA to grant.

use super::parse::{self, KeyFault, PublicKey};
use crate::context::token::algorithm;
use crate::error::{self, Result, report_hint};
use crate::keys::{self, KeyError, Row, seal};
use crate::pg::context::jwt_rows::{self, JwtKeyRow};
use crate::pg::keys::{invalidation, process, rows};
use jsonwebtoken::Algorithm;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;
use pgrx::spi::SpiClient;

/// Longest issuer, key id and audience, in bytes.
const NAME_LIMIT: usize = 255;

/// Adds the key, or the keys of a set, that verify an issuer's tokens. Answers how many.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn add_jwt_key(
    issuer: Option<&str>,
    kid: Option<&str>,
    key: Option<&str>,
    algorithms: Option<Vec<Option<String>>>,
    audience: Option<&str>,
) -> Result<i32> {
    let issuer = name("issuer", issuer)?;
    let audience = name("audience", audience)?;
    let kid = kid.map(|kid| name("kid", Some(kid))).transpose()?;
    let algorithms = parse_algorithms(algorithms)?;
    let key = key.ok_or(KeyError::Null("key"))?;
    let keys = named(parse::parse(key, &algorithms).map_err(unusable)?, kid)?;
    change(|client, known| {
        for (kid, key) in &keys {
            if known
                .iter()
                .any(|row| row.issuer == issuer && row.kid == *kid)
            {
                return Err(report_hint(
                    PgSqlErrorCode::ERRCODE_DUPLICATE_OBJECT,
                    format!("issuer \"{issuer}\" already has a key \"{kid}\""),
                    "A key id is never used twice, not even a retired one's. See ward.jwt_keys.",
                ));
            }
            insert(client, issuer, kid, key, audience)?;
        }
        Ok(i32::try_from(keys.len()).unwrap_or(i32::MAX))
    })
}

/// Makes a key verify nothing any more, in every session at once.
#[pg_extern(security_definer)]
#[search_path(pg_catalog, pg_temp)]
pub fn retire_jwt_key(issuer: Option<&str>, kid: Option<&str>) -> Result<()> {
    let issuer = name("issuer", issuer)?;
    let kid = name("kid", kid)?;
    change(|client, known| {
        let row = known
            .iter()
            .find(|row| row.issuer == issuer && row.kid == kid)
            .ok_or_else(|| {
                report_hint(
                    PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT,
                    format!("issuer \"{issuer}\" has no key \"{kid}\""),
                    "The view ward.jwt_keys lists the keys.",
                )
            })?;
        if row.retired {
            return Ok(());
        }
        let names = row.algorithms.join(",");
        let retired = Row::Jwt {
            issuer: &row.issuer,
            kid: &row.kid,
            key: &row.key,
            algorithms: &names,
            audience: &row.audience,
            retired: true,
        };
        let mac = seal::mac(&retired, &row.id)?;
        let statement = "UPDATE ward.jwt_key SET retired = true, retired_at = pg_catalog.now(), mac = $2 WHERE id = $1";
        one(client.update(
            statement,
            None,
            &[pgrx::Uuid::from_bytes(row.id).into(), mac.into()],
        ))
    })
}

/// Runs `f` with the keys there are, while no other session changes them.
fn change<T>(f: impl FnOnce(&mut SpiClient, &[JwtKeyRow]) -> Result<T>) -> Result<T> {
    if process::in_recovery() {
        return Err(report_hint(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "cannot change token keys on a standby",
            "Change them on the primary; it counts here as soon as it is replayed.",
        ));
    }
    let registry = rows::registry().ok_or(KeyError::NotInstalled)?;
    let outcome = Spi::connect_mut(|client| {
        client
            .update(
                "LOCK TABLE ward.jwt_key IN SHARE ROW EXCLUSIVE MODE",
                None,
                &[],
            )
            .map_err(error::spi)?;
        invalidation::changing(registry);
        let known = jwt_rows::read().ok_or(KeyError::NotInstalled)?;
        f(client, &known)
    });
    invalidation::changing(registry);
    outcome
}

fn insert(
    client: &mut SpiClient,
    issuer: &str,
    kid: &str,
    key: &PublicKey,
    audience: &str,
) -> Result<()> {
    let id = uuid::Builder::from_random_bytes(keys::random::bytes()?)
        .into_uuid()
        .into_bytes();
    let algorithms: Vec<&str> = key
        .algorithms
        .iter()
        .copied()
        .map(algorithm::name)
        .collect();
    let names = algorithms.join(",");
    let row = Row::Jwt {
        issuer,
        kid,
        key: &key.jwk,
        algorithms: &names,
        audience,
        retired: false,
    };
    let mac = seal::mac(&row, &id)?;
    one(client.update(
        "INSERT INTO ward.jwt_key (id, issuer, kid, key, algorithms, audience, mac) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        None,
        &[
            pgrx::Uuid::from_bytes(id).into(),
            issuer.into(),
            kid.into(),
            key.jwk.as_str().into(),
            algorithms.into(),
            audience.into(),
            mac.into(),
        ],
    ))
}

/// A statement that concerned another number of rows than one met a row its snapshot does not see.
fn one(outcome: pgrx::spi::SpiResult<pgrx::spi::SpiTupleTable<'_>>) -> Result<()> {
    match outcome.map_err(error::spi)?.len() {
        1 => Ok(()),
        _ => Err(KeyError::Concurrent.into()),
    }
}

/// Gives every key its id: the one named, or its own.
fn named(
    (keys, set): (Vec<PublicKey>, bool),
    kid: Option<&str>,
) -> Result<Vec<(String, PublicKey)>> {
    let mut found: Vec<(String, PublicKey)> = Vec::new();
    for mut key in keys {
        let own = key.kid.take();
        let id = match (own, kid) {
            (Some(own), Some(kid)) if own != kid => {
                if set {
                    continue;
                }
                return Err(unusable_because("its own kid is another one"));
            }
            (Some(own), _) => name("kid", Some(&own))?.to_owned(),
            (None, Some(_)) if set => continue,
            (None, Some(kid)) => kid.to_owned(),
            (None, None) => return Err(unusable_because("it has no kid, and none is given")),
        };
        if found.iter().any(|(other, _)| *other == id) {
            return Err(unusable_because("two keys of the set have one kid"));
        }
        found.push((id, key));
    }
    if found.is_empty() {
        return Err(unusable_because("the set has no such key"));
    }
    Ok(found)
}

fn parse_algorithms(names: Option<Vec<Option<String>>>) -> Result<Vec<Algorithm>> {
    let names = names.ok_or(KeyError::Null("algorithms"))?;
    let parsed: Option<Vec<Algorithm>> = names
        .iter()
        .map(|name| algorithm::parse(name.as_deref()?))
        .collect();
    parsed.filter(|parsed| !parsed.is_empty()).ok_or_else(|| {
        report_hint(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            "algorithms must name algorithms that are accepted",
            format!("They are {}.", algorithm::names()),
        )
    })
}

/// A name in printable ASCII, as issuers, key ids and audiences are.
fn name<'a>(argument: &'static str, value: Option<&'a str>) -> Result<&'a str> {
    let value = value.ok_or(KeyError::Null(argument))?;
    let printable = value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !printable || value.trim().is_empty() || value.len() > NAME_LIMIT {
        return Err(report_hint(
            PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            format!("{argument} is not a name that tokens can be compared with"),
            "It has 1 to 255 printable characters of ASCII.",
        ));
    }
    Ok(value)
}

fn unusable(fault: KeyFault) -> ErrorReport {
    unusable_because(&fault.to_string())
}

fn unusable_because(reason: &str) -> ErrorReport {
    report_hint(
        PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
        format!("the key cannot be used: {reason}"),
        "Give the issuer's public key: PEM (\"BEGIN PUBLIC KEY\"), a JWK, or a JWK set.",
    )
}
