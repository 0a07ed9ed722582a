//! What a token's claims must be, and which part of the context each becomes.

use super::refusal::Refusal;
use super::settings::Settings;
use crate::audit::jsonb;
use crate::context::bounds::{LIST_LIMIT, NAME_LIMIT};
use crate::context::model::{SecurityContext, Source};
use crate::pg::encoding;
use serde_json::{Map, Value};

/// Microseconds in a second.
const MICROS: i64 = 1_000_000;
/// The end of the year 9999: no time beyond it can be computed with or shown.
const LAST_TIME: i64 = 253_402_300_799 * MICROS;

/// The claims every token has.
pub struct Registered {
    /// Whom it is about.
    pub subject: String,
    /// Its own id.
    pub id: Option<String>,
    /// Not valid before, in microseconds since 1970; never, when absent.
    pub not_before: i64,
    /// When it was issued.
    pub issued_at: i64,
    /// Not valid from then on.
    pub expires_at: i64,
}

impl Registered {
    /// Reads them. The token must be for `audience`; its issuer was asked for with the key.
    pub fn parse(claims: &Map<String, Value>, audience: &str) -> Result<Self, Refusal> {
        check_audience(claims, audience)?;
        Ok(Self {
            subject: required("sub", string(claims, "sub")?)?,
            id: string(claims, "jti")?,
            not_before: time(claims, "nbf")?.unwrap_or(i64::MIN),
            issued_at: required("iat", time(claims, "iat")?)?,
            expires_at: required("exp", time(claims, "exp")?)?,
        })
    }

    /// Whether the token's own dates make sense.
    pub fn check_lifetime(&self, settings: &Settings) -> Result<(), Refusal> {
        let lifetime = self.expires_at - self.issued_at;
        let limit = i64::from(settings.max_lifetime);
        if lifetime <= 0 {
            Err(Refusal::NoLifetime)
        } else if lifetime > limit * MICROS {
            Err(Refusal::Lifetime(lifetime / MICROS, limit))
        } else {
            Ok(())
        }
    }

    /// Whether the token is valid at `now`.
    pub fn check_time(&self, now: i64, settings: &Settings) -> Result<(), Refusal> {
        let leeway = settings.leeway_micros();
        if self.expires_at.saturating_add(leeway) <= now {
            Err(Refusal::Expired)
        } else if self.not_before.saturating_sub(leeway) > now {
            Err(Refusal::NotYet)
        } else if self.issued_at.saturating_sub(leeway) > now {
            Err(Refusal::IssuedLater)
        } else {
            Ok(())
        }
    }
}

/// The issuer, before anything is known to be true.
pub fn issuer(claims: &Map<String, Value>) -> Result<String, Refusal> {
    required("iss", string(claims, "iss")?)
}

/// The context that a verified token stands for. `text` is what `claims` was parsed from.
pub fn context(
    claims: &Map<String, Value>,
    text: String,
    registered: &Registered,
    settings: &Settings,
) -> Result<SecurityContext, Refusal> {
    if jsonb::cost(&text, encoding::is_utf8()).is_none() {
        return Err(Refusal::Claim(
            "set".to_owned(),
            "something that jsonb can hold",
        ));
    }
    let names = &settings.claims;
    Ok(SecurityContext {
        tenant: identity(claims, &names.tenant)?,
        user_id: identity(claims, &names.user)?,
        session_id: identity(claims, &names.session)?,
        service_name: identity(claims, &names.service)?,
        roles: list(claims, &names.roles)?,
        permissions: list(claims, &names.permissions)?,
        claims: Some(text),
        expires_at: Some(
            registered
                .expires_at
                .saturating_add(settings.leeway_micros()),
        ),
        ..SecurityContext::empty(Source::Token)
    }
    .complete())
}

/// The claim of this name, or else the one at this dotted path. Null counts as absent.
fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if path.is_empty() {
        return None;
    }
    let found = match claims.get(path) {
        Some(value) => Some(value),
        None => {
            let mut names = path.split('.');
            let first = claims.get(names.next()?)?;
            names.try_fold(first, |value, name| value.as_object()?.get(name))
        }
    };
    found.filter(|value| !value.is_null())
}

/// A tenant, user, session or service: a short text, or a whole number.
fn identity(claims: &Map<String, Value>, path: &str) -> Result<Option<String>, Refusal> {
    let Some(value) = find(claims, path) else {
        return Ok(None);
    };
    let text = match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string()),
        _ => None,
    };
    text.filter(|text| !text.trim().is_empty() && text.len() <= NAME_LIMIT)
        .map(Some)
        .ok_or_else(|| {
            Refusal::Claim(
                path.to_owned(),
                "a text of 1 to 255 bytes or a whole number",
            )
        })
}

/// Roles or permissions: an array of texts, or one text with spaces between.
fn list(claims: &Map<String, Value>, path: &str) -> Result<Vec<String>, Refusal> {
    let list: Option<Vec<String>> = match find(claims, path) {
        None => Some(Vec::new()),
        Some(Value::String(text)) => Some(text.split_whitespace().map(str::to_owned).collect()),
        Some(Value::Array(values)) => values
            .iter()
            .map(|value| value.as_str().map(str::to_owned))
            .collect(),
        Some(_) => None,
    };
    list.filter(|list| list.len() <= LIST_LIMIT)
        .filter(|list| list.iter().all(|one| one.len() <= NAME_LIMIT))
        .ok_or_else(|| {
            Refusal::Claim(
                path.to_owned(),
                "an array of at most 256 short texts, or one text with spaces between",
            )
        })
}

/// A text that is not empty, when it is there.
fn string(claims: &Map<String, Value>, name: &'static str) -> Result<Option<String>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if (1..=NAME_LIMIT).contains(&text.len()) => {
            Ok(Some(text.clone()))
        }
        Some(_) => Err(Refusal::Claim(name.to_owned(), "a text of 1 to 255 bytes")),
    }
}

/// A time in seconds since 1970, fractions allowed, in microseconds.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, Refusal> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let micros = match value.as_i64() {
        Some(seconds) => seconds.checked_mul(MICROS),
        None => value
            .as_f64()
            .map(|seconds| (seconds * MICROS as f64) as i64),
    };
    micros
        .filter(|micros| (0..=LAST_TIME).contains(micros))
        .map(Some)
        .ok_or_else(|| Refusal::Claim(name.to_owned(), "a time in seconds since 1970"))
}

/// One text or an array of texts, with `expected` among them.
fn check_audience(claims: &Map<String, Value>, expected: &str) -> Result<(), Refusal> {
    let named = match claims.get("aud") {
        None => return Err(Refusal::Missing("aud")),
        Some(Value::String(one)) => one == expected,
        Some(Value::Array(all)) if all.iter().all(Value::is_string) => {
            all.iter().any(|one| one.as_str() == Some(expected))
        }
        Some(_) => {
            let what = "a text or an array of texts";
            return Err(Refusal::Claim("aud".to_owned(), what));
        }
    };
    named.then_some(()).ok_or(Refusal::Audience)
}

fn required<T>(name: &'static str, value: Option<T>) -> Result<T, Refusal> {
    value.ok_or(Refusal::Missing(name))
}
