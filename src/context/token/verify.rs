//! The way of a token from text to context.

use super::claims::{self, Registered};
use super::header::Header;
use super::refusal::Refusal;
use super::settings::Settings;
use super::{decode_bytes, parse_object};
use crate::context::jwt_keys;
use crate::context::model::SecurityContext;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Validation};
use serde::de::IgnoredAny;

/// A token that a registered key signed and whose claims are as they must be. Whether it is valid now
/// is asked at each use.
pub struct Accepted {
    /// Whose token it is.
    pub issuer: String,
    /// With which key it was signed.
    pub kid: String,
    /// How it was signed.
    pub algorithm: Algorithm,
    /// The claims every token has.
    pub registered: Registered,
    /// What it stands for.
    pub context: SecurityContext,
}

/// Verifies a token, except for its times.
pub fn verify(token: &str, settings: &Settings) -> Result<Accepted, Refusal> {
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(_), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::Malformed);
    };
    let header = Header::parse(header)?;
    let payload = decode_bytes(payload)?;
    let claims = parse_object(&payload)?;
    let issuer = claims::issuer(&claims)?;
    let registered = jwt_keys::with(&issuer, &header.kid, |key| {
        if !key.algorithms.contains(&header.algorithm) {
            return Err(Refusal::KeyAlgorithm {
                issuer: issuer.clone(),
                kid: header.kid.clone(),
            });
        }
        let mut validation = Validation::new(header.algorithm);
        validation.set_issuer(&[&issuer]);
        validation.set_audience(&[&key.audience]);
        // What the library lets through of the other claims is too much, and its messages name
        // claims of the wrong form as missing: they are read below. Times are compared with the
        // statement's start, here and at every later use.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_nbf = false;
        jsonwebtoken::decode::<IgnoredAny>(token, &key.key, &validation)
            .map_err(|error| refusal(error.kind()))?;
        Registered::parse(&claims, &key.audience)
    })?;
    registered.check_lifetime(settings)?;
    let text = String::from_utf8(payload).map_err(|_| Refusal::Malformed)?;
    Ok(Accepted {
        context: claims::context(&claims, text, &registered, settings)?,
        issuer,
        kid: header.kid,
        algorithm: header.algorithm,
        registered,
    })
}

/// What the library says, in terms that hold nothing of the token.
fn refusal(kind: &ErrorKind) -> Refusal {
    match kind {
        ErrorKind::InvalidSignature => Refusal::Signature,
        ErrorKind::InvalidAudience => Refusal::Audience,
        ErrorKind::InvalidAlgorithm => Refusal::Algorithm,
        _ => Refusal::Malformed,
    }
}
