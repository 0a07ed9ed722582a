//! Tokens that count once. What is kept of a used token is a hash, until the token would have run out.

use super::refusal::Refusal;
use super::settings;
use super::verify::Accepted;
use crate::error::{self, Result};
use crate::pg::{context, owner, process};
use pgrx::prelude::*;
use sha2::{Digest, Sha256};

/// How many entries of expired tokens one use removes: more than it adds, so they cannot pile up.
const CLEANED: i64 = 4;

/// Notes the use of a token; refuses the second one. A transaction that is rolled back has not used
/// it. Another that uses it at the same time waits for this one to end.
pub fn consume(token: &Accepted) -> Result<()> {
    let Some(id) = token.registered.id.as_deref() else {
        return Err(Refusal::Missing("jti").into());
    };
    if process::in_recovery() {
        return Err(Refusal::ReadOnly("on a standby").into());
    }
    if context::read_only() {
        return Err(Refusal::ReadOnly("in a read-only transaction").into());
    }
    let digest = digest(&token.issuer, id);
    let now = context::statement_start_micros();
    // With the largest leeway there is: another role's may be larger than this one's.
    let ends = token
        .registered
        .expires_at
        .saturating_add(settings::LARGEST_LEEWAY_MICROS);
    let added = owner::run(|| {
        Spi::connect_mut(|client| {
            client.update(
                "DELETE FROM ward.used_token WHERE token IN (SELECT token FROM ward.used_token \
                 WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
                None,
                &[now.into(), CLEANED.into()],
            )?;
            client
                .update(
                    "INSERT INTO ward.used_token (token, expires_at) VALUES ($1, $2) \
                     ON CONFLICT DO NOTHING",
                    None,
                    &[digest.to_vec().into(), ends.into()],
                )
                .map(|added| added.len())
        })
    })
    .map_err(error::spi)?;
    match added {
        1 => Ok(()),
        _ => Err(Refusal::Used.into()),
    }
}

/// Lengths first, so that no two pairs have one hash.
fn digest(issuer: &str, id: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in ["ward/used-token/v1", issuer, id] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
