//! The keys as this backend last read them; read again when any of them may have changed.

use crate::context::token::algorithm;
use crate::context::token::refusal::Refusal;
use crate::keys::seal::{self, Verdict};
use crate::keys::{KeyError, Row};
use crate::pg::context::jwt_rows::{self, JwtKeyRow};
use crate::pg::keys::invalidation::{self, Stamp};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, DecodingKey};
use std::cell::RefCell;
use std::collections::HashMap;

/// A key that may verify tokens.
pub struct IssuerKey {
    /// The key.
    pub key: DecodingKey,
    /// What it may be used with.
    pub algorithms: Vec<Algorithm>,
    /// Whom tokens must be for.
    pub audience: String,
}

enum State {
    Active(IssuerKey),
    Retired,
    Altered,
    UnknownMaster,
}

struct Cached {
    stamp: Stamp,
    /// By issuer, then by key id.
    keys: HashMap<String, HashMap<String, State>>,
}

thread_local! {
    static CACHE: RefCell<Option<Cached>> = const { RefCell::new(None) };
}

/// Runs `f` with the key of an issuer, as it is now.
pub fn with<T>(
    issuer: &str,
    kid: &str,
    f: impl FnOnce(&IssuerKey) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    CACHE.with_borrow_mut(|cache| {
        let stamp = invalidation::stamp();
        if cache.as_ref().is_none_or(|cached| cached.stamp != stamp) {
            // First of all: if reading fails, nothing old is left to be used.
            *cache = None;
            *cache = Some(Cached {
                stamp,
                keys: load()?,
            });
        }
        let state = cache
            .as_ref()
            .and_then(|cached| cached.keys.get(issuer)?.get(kid))
            .ok_or(Refusal::UnknownKey)?;
        let (issuer, kid) = (issuer.to_owned(), kid.to_owned());
        match state {
            State::Active(key) => f(key),
            State::Retired => Err(Refusal::Retired { issuer, kid }),
            State::Altered => Err(Refusal::Altered { issuer, kid }),
            State::UnknownMaster => Err(Refusal::WrongMaster { issuer, kid }),
        }
    })
}

fn load() -> Result<HashMap<String, HashMap<String, State>>, Refusal> {
    let rows = jwt_rows::read().ok_or(KeyError::NotInstalled)?;
    let mut keys: HashMap<String, HashMap<String, State>> = HashMap::new();
    for row in rows {
        let state = examine(&row)?;
        keys.entry(row.issuer).or_default().insert(row.kid, state);
    }
    Ok(keys)
}

fn examine(row: &JwtKeyRow) -> Result<State, KeyError> {
    let names = row.algorithms.join(",");
    let authentic = Row::Jwt {
        issuer: &row.issuer,
        kid: &row.kid,
        key: &row.key,
        algorithms: &names,
        audience: &row.audience,
        retired: row.retired,
    };
    Ok(match seal::verify(&authentic, &row.id, &row.mac)? {
        Verdict::Altered => State::Altered,
        Verdict::UnknownMaster => State::UnknownMaster,
        Verdict::Authentic if row.retired => State::Retired,
        Verdict::Authentic => usable(row).map_or(State::Altered, State::Active),
    })
}

fn usable(row: &JwtKeyRow) -> Option<IssuerKey> {
    let jwk: Jwk = serde_json::from_str(&row.key).ok()?;
    Some(IssuerKey {
        key: DecodingKey::from_jwk(&jwk).ok()?,
        algorithms: row
            .algorithms
            .iter()
            .map(|name| algorithm::parse(name))
            .collect::<Option<_>>()?,
        audience: row.audience.clone(),
    })
}
