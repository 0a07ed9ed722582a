//! What a token's header may say.

use super::algorithm;
use super::decode_part;
use super::refusal::Refusal;
use jsonwebtoken::Algorithm;
use serde_json::Value;

/// Longest key id, in bytes.
const KID_LIMIT: usize = 255;

/// Parameters that would change how the token is read (`crit` may name any such), or bring the key
/// that is to verify it along.
const FORBIDDEN: [&str; 9] = [
    "crit", "jwk", "jku", "x5u", "x5c", "b64", "zip", "enc", "cty",
];

/// What is taken from a header. Its other parameters are not looked at.
pub struct Header {
    /// How the token is signed.
    pub algorithm: Algorithm,
    /// With which key of its issuer.
    pub kid: String,
}

impl Header {
    /// Reads the first part of a token.
    pub fn parse(part: &str) -> Result<Self, Refusal> {
        let header = decode_part(part)?;
        if let Some(parameter) = FORBIDDEN.iter().find(|name| header.contains_key(**name)) {
            return Err(Refusal::Parameter(parameter));
        }
        match header.get("typ") {
            None => {}
            Some(Value::String(typ))
                if typ.eq_ignore_ascii_case("JWT") || typ.eq_ignore_ascii_case("at+jwt") => {}
            Some(_) => return Err(Refusal::Type),
        }
        let algorithm = header
            .get("alg")
            .and_then(Value::as_str)
            .and_then(algorithm::parse)
            .ok_or(Refusal::Algorithm)?;
        let kid = header
            .get("kid")
            .and_then(Value::as_str)
            .filter(|kid| (1..=KID_LIMIT).contains(&kid.len()))
            .ok_or(Refusal::NoKid)?
            .to_owned();
        Ok(Self { algorithm, kid })
    }
}
