//! Public keys as issuers publish them: PEM (SPKI), a JWK, or a JWK set. What is kept is a JWK with the
//! public parameters alone.

use crate::context::token::algorithm;
use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use jsonwebtoken::jwk::{AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind};
use serde::Deserialize;
use serde_json::Value;

/// Longest text of a key or a set of keys, in bytes.
pub const KEY_LIMIT: usize = 256 * 1024;
/// The line a public key in PEM begins with.
const PEM_BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
/// Smallest and largest RSA modulus, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// Parameters of a JWK that only its owner may have.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

use Algorithm::{ES256, ES384, EdDSA, PS256, RS256, RS384, RS512};

/// Why a text is no key for tokens. No text holds a part of the key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// Neither PEM nor JSON.
    #[error("it is neither a public key in PEM, nor a JWK, nor a JWK set")]
    Unknown,
    /// More than any set of keys needs.
    #[error("it is {0} bytes long, the limit is {KEY_LIMIT}")]
    TooLong(usize),
    /// The other half.
    #[error("it holds a private or secret key")]
    Private,
    /// Of a kind that cannot verify tokens.
    #[error("it is not an RSA, P-256, P-384 or Ed25519 key")]
    Kind,
    /// An RSA key of another size.
    #[error("an RSA key has 2048 to 8192 bits, this one has {0}")]
    RsaSize(usize),
    /// The numbers are not those of a key.
    #[error("its parameters are not those of a public key")]
    Invalid,
    /// For encryption.
    #[error("it is not for signatures (use, key_ops)")]
    Use,
    /// None of the algorithms fits the key.
    #[error("none of the algorithms named fits it; it can be used with {0}")]
    NoAlgorithm(String),
}

/// A public key, and what it may be used with.
#[derive(Debug)]
pub struct PublicKey {
    /// The key id that the JWK itself has.
    pub kid: Option<String>,
    /// The key, as the JWK that is stored.
    pub jwk: String,
    /// The algorithms.
    pub algorithms: Vec<Algorithm>,
}

/// The keys in `text`, each with those of `algorithms` that fit it. Of a set, keys for encryption are
/// left out.
pub fn parse(text: &str, algorithms: &[Algorithm]) -> Result<(Vec<PublicKey>, bool), KeyFault> {
    if text.len() > KEY_LIMIT {
        return Err(KeyFault::TooLong(text.len()));
    }
    let text = text.trim();
    if text.starts_with("-----BEGIN") {
        return Ok((vec![from_pem(text, algorithms)?], false));
    }
    let Ok(Value::Object(members)) = serde_json::from_str::<Value>(text) else {
        return Err(KeyFault::Unknown);
    };
    match members.get("keys") {
        None => Ok((vec![from_json(&Value::Object(members), algorithms)?], false)),
        Some(Value::Array(keys)) => keys
            .iter()
            .filter(|key| key.get("use").and_then(Value::as_str) != Some("enc"))
            .map(|key| from_json(key, algorithms))
            .collect::<Result<_, _>>()
            .map(|keys| (keys, true)),
        Some(_) => Err(KeyFault::Unknown),
    }
}

fn from_pem(text: &str, algorithms: &[Algorithm]) -> Result<PublicKey, KeyFault> {
    if text.contains("PRIVATE KEY-----") {
        return Err(KeyFault::Private);
    }
    if !text.starts_with(PEM_BEGIN) || text.matches("-----BEGIN ").count() != 1 {
        return Err(KeyFault::Unknown);
    }
    let key = DecodingKey::from_ec_pem(text.as_bytes())
        .or_else(|_| DecodingKey::from_ed_pem(text.as_bytes()))
        .or_else(|_| DecodingKey::from_rsa_pem(text.as_bytes()))
        .map_err(|_| KeyFault::Kind)?;
    let jwk = Jwk::from_decoding_key(&key, None).map_err(|_| KeyFault::Kind)?;
    checked(jwk, algorithms)
}

fn from_json(key: &Value, algorithms: &[Algorithm]) -> Result<PublicKey, KeyFault> {
    let members = key.as_object().ok_or(KeyFault::Unknown)?;
    if PRIVATE.iter().any(|name| members.contains_key(*name)) {
        return Err(KeyFault::Private);
    }
    let jwk = Jwk::deserialize(key).map_err(|_| KeyFault::Kind)?;
    checked(jwk, algorithms)
}

fn checked(jwk: Jwk, algorithms: &[Algorithm]) -> Result<PublicKey, KeyFault> {
    let common = &jwk.common;
    let signs = match (&common.public_key_use, &common.key_operations) {
        (Some(PublicKeyUse::Signature) | None, None) => true,
        (Some(PublicKeyUse::Signature) | None, Some(operations)) => {
            operations.contains(&jsonwebtoken::jwk::KeyOperations::Verify)
        }
        _ => false,
    };
    if !signs {
        return Err(KeyFault::Use);
    }
    let mut fitting = validate(&jwk)?;
    if let Some(own) = common.key_algorithm {
        let own = Algorithm::try_from(own).ok();
        fitting.retain(|algorithm| Some(*algorithm) == own);
    }
    let both: Vec<Algorithm> = fitting
        .iter()
        .copied()
        .filter(|algorithm| algorithms.contains(algorithm))
        .collect();
    if both.is_empty() {
        let names: Vec<&str> = fitting.into_iter().map(algorithm::name).collect();
        return Err(KeyFault::NoAlgorithm(match names.as_slice() {
            [] => "no algorithm that is accepted".to_owned(),
            names => names.join(", "),
        }));
    }
    let kid = jwk.common.key_id.clone();
    let bare = Jwk {
        common: CommonParameters::default(),
        algorithm: jwk.algorithm,
    };
    Ok(PublicKey {
        kid,
        jwk: serde_json::to_string(&bare).map_err(|_| KeyFault::Invalid)?,
        algorithms: both,
    })
}

/// The algorithms a key can be used with, when it is a key at all: a point on its curve, a modulus of
/// an acceptable size.
fn validate(jwk: &Jwk) -> Result<Vec<Algorithm>, KeyFault> {
    let key = DecodingKey::from_jwk(jwk).map_err(|_| KeyFault::Invalid)?;
    match (&jwk.algorithm, key.kind()) {
        (AlgorithmParameters::RSA(_), DecodingKeyKind::RsaModulusExponent { n, e }) => {
            let zeros = n.iter().take_while(|byte| **byte == 0).count();
            let bits = n.get(zeros).map_or(0, |first| {
                (n.len() - zeros) * 8 - first.leading_zeros() as usize
            });
            if !RSA_BITS.contains(&bits) {
                return Err(KeyFault::RsaSize(bits));
            }
            PublicKeyComponents { n, e }
                .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
                .map_err(|_| KeyFault::Invalid)?;
            Ok(vec![RS256, RS384, RS512, PS256])
        }
        (AlgorithmParameters::EllipticCurve(key), DecodingKeyKind::SecretOrDer(point)) => {
            match key.curve {
                EllipticCurve::P256 => {
                    valid(&ECDSA_P256_SHA256_FIXED, point)?;
                    Ok(vec![ES256])
                }
                EllipticCurve::P384 => {
                    valid(&ECDSA_P384_SHA384_FIXED, point)?;
                    Ok(vec![ES384])
                }
                _ => Err(KeyFault::Kind),
            }
        }
        (AlgorithmParameters::OctetKeyPair(key), DecodingKeyKind::SecretOrDer(point))
            if key.curve == EllipticCurve::Ed25519 =>
        {
            valid(&ED25519, point)?;
            Ok(vec![EdDSA])
        }
        _ => Err(KeyFault::Kind),
    }
}

fn valid(algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Result<(), KeyFault> {
    ParsedPublicKey::new(algorithm, key)
        .map(|_| ())
        .map_err(|_| KeyFault::Invalid)
}
