//! Contexts from tokens: `ward.authenticate()` accepts a signed JSON Web Token of a known issuer and
//! sets the context that its claims stand for.

pub mod algorithm;
mod cache;
mod claims;
mod header;
mod json;
pub mod refusal;
mod settings;
mod single_use;
mod verify;

pub use settings::register;
pub use verify::Accepted;

use super::bounds::scope;
use super::model::SecurityContext;
use super::{event, state};
use crate::error::Result;
use crate::pg::context as setting;
use crate::pg::values::Text;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pgrx::prelude::*;
use refusal::Refusal;
use serde_json::{Map, Value};
use settings::Settings;
use std::rc::Rc;

/// Longest token, in bytes.
pub const SIZE_LIMIT: usize = 16 * 1024;

/// Sets the context that a verified token stands for.
#[pg_extern(volatile, parallel_unsafe)]
fn authenticate(jwt: Option<Text<'_>>, is_local: default!(Option<bool>, true)) -> Result<()> {
    setting::hiding_statement(|| enter(jwt, is_local))
}

fn enter(jwt: Option<Text>, is_local: Option<bool>) -> Result<()> {
    let is_local = scope(is_local)?;
    let settings = Settings::current();
    let accepted = accept(jwt, &settings)?;
    let context = SecurityContext {
        transaction_local: is_local,
        ..accepted.context.clone()
    };
    if let Some(tenant) = &context.tenant {
        state::check_tenant(tenant)?;
    }
    if settings.single_use {
        single_use::consume(&accepted)?;
    }
    setting::store(context, is_local)?;
    state::bind_tenant();
    event::authenticated(&accepted)
}

/// Verifies a token, or finds that this backend has verified it already.
fn accept(jwt: Option<Text>, settings: &Settings) -> std::result::Result<Rc<Accepted>, Refusal> {
    let token = jwt.ok_or(Refusal::Null)?;
    let token = token.bytes();
    match token.len() {
        0 => return Err(Refusal::Empty),
        len if len > SIZE_LIMIT => return Err(Refusal::TooLong(len)),
        _ => {}
    }
    let token = std::str::from_utf8(token)
        .ok()
        .filter(|token| token.is_ascii())
        .ok_or(Refusal::Malformed)?;
    let accepted = cache::look_up(token, settings, verify::verify)?;
    accepted
        .registered
        .check_time(setting::statement_start_micros(), settings)?;
    Ok(accepted)
}

/// The JSON object in a part of a token, without a name twice.
fn decode_part(part: &str) -> std::result::Result<Map<String, Value>, Refusal> {
    let bytes = decode_bytes(part)?;
    parse_object(&bytes)
}

fn decode_bytes(part: &str) -> std::result::Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed)
}

fn parse_object(bytes: &[u8]) -> std::result::Result<Map<String, Value>, Refusal> {
    match serde_json::from_slice::<json::Object>(bytes) {
        Ok(object) => Ok(object.0),
        Err(error) if json::is_duplicate(&error) => Err(Refusal::Duplicate),
        Err(_) => Err(Refusal::Malformed),
    }
}
