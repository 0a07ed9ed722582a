//! An issuer of tokens: makes keys and signs whatever a test wants, also what no issuer would sign.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
pub use jsonwebtoken::Algorithm;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use postgres::Client;
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// A signer with one key.
pub struct Issuer {
    /// What its tokens say as `iss`.
    pub name: String,
    /// What its tokens say as `kid`.
    pub kid: String,
    /// How it signs.
    pub algorithm: Algorithm,
    key: EncodingKey,
    public_der: Vec<u8>,
}

/// The present second.
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("the clock is after 1970").as_secs() as i64
}

impl Issuer {
    /// An issuer with a fresh key for `algorithm`, key id `k1`.
    pub fn new(algorithm: Algorithm) -> Self {
        use Algorithm::{ES256, ES384, EdDSA};
        let (private, public_der) = match algorithm {
            ES256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING),
            ES384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING),
            EdDSA => {
                let pair = Ed25519KeyPair::generate().expect("make an Ed25519 key");
                let private = pair.to_pkcs8v1().expect("write the key");
                (private.as_ref().to_vec(), der(pair.public_key()))
            }
            _ => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("make an RSA key");
                let private: aws_lc_rs::encoding::Pkcs8V1Der =
                    pair.as_der().expect("write the key");
                (private.as_ref().to_vec(), der(pair.public_key()))
            }
        };
        let private = pem("PRIVATE KEY", &private);
        let key = match algorithm {
            ES256 | ES384 => EncodingKey::from_ec_pem(private.as_bytes()),
            EdDSA => EncodingKey::from_ed_pem(private.as_bytes()),
            _ => EncodingKey::from_rsa_pem(private.as_bytes()),
        };
        Self {
            name: "https://idp.example".to_owned(),
            kid: "k1".to_owned(),
            algorithm,
            key: key.expect("read the key"),
            public_der,
        }
    }

    /// An issuer that signs with an ES256 key that was made elsewhere, in PEM (PKCS #8).
    pub fn es256_from_pem(private: &str) -> Self {
        Self {
            name: "https://idp.example".to_owned(),
            kid: "k1".to_owned(),
            algorithm: Algorithm::ES256,
            key: EncodingKey::from_ec_pem(private.as_bytes()).expect("read the key"),
            public_der: Vec::new(),
        }
    }

    /// The same issuer under another key id.
    pub fn with_kid(mut self, kid: &str) -> Self {
        kid.clone_into(&mut self.kid);
        self
    }

    /// The same key in another issuer's hands.
    pub fn with_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// The algorithm's name.
    pub fn algorithm_name(&self) -> String {
        format!("{:?}", self.algorithm)
    }

    /// The public key in PEM.
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.public_der)
    }

    /// The public key as a JWK, key id included.
    pub fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.algorithm).expect("write the key");
        let mut jwk = serde_json::to_value(jwk).expect("write the key");
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk
    }

    /// The header of an honest token.
    pub fn header(&self) -> Value {
        json!({ "alg": self.algorithm_name(), "kid": self.kid, "typ": "JWT" })
    }

    /// The claims of an honest token for audience `db`, valid for ten minutes.
    pub fn claims(&self, tenant: &str) -> Value {
        json!({
            "iss": self.name, "aud": "db", "sub": "user-1", "iat": now(), "exp": now() + 600,
            "tenant_id": tenant, "user_id": "11111111-2222-3333-4444-555555555555",
            "session_id": "session-1", "roles": ["reader", "writer"], "permissions": "orders:read orders:write",
        })
    }

    /// An honest token.
    pub fn token(&self, tenant: &str) -> String {
        self.sign(&self.header(), &self.claims(tenant))
    }

    /// The claims of an honest token with some replaced; null removes one.
    pub fn token_with(&self, changes: Value) -> String {
        self.sign(&self.header(), &changed(self.claims("a"), changes))
    }

    /// An honest token but for its header; null removes a parameter.
    pub fn token_with_header(&self, changes: Value) -> String {
        self.sign(&changed(self.header(), changes), &self.claims("a"))
    }

    /// Signs a header and claims.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_raw(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// Signs any bytes.
    pub fn sign_raw(&self, header: &[u8], claims: &[u8]) -> String {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, self.algorithm);
        format!("{message}.{}", signature.expect("sign"))
    }

    /// Has the server accept this issuer's tokens for audience `db`.
    pub fn register(&self, admin: &mut Client) {
        admin
            .query(
                "SELECT ward.add_jwt_key($1, $2, $3, ARRAY[$4], 'db')",
                &[
                    &self.name,
                    &self.kid,
                    &self.public_pem(),
                    &self.algorithm_name(),
                ],
            )
            .expect("add the key");
    }
}

fn changed(mut object: Value, changes: Value) -> Value {
    let members = object.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    object
}

fn ec(kind: &'static aws_lc_rs::signature::EcdsaSigningAlgorithm) -> (Vec<u8>, Vec<u8>) {
    let pair = EcdsaKeyPair::generate(kind).expect("make an EC key");
    let private = pair.to_pkcs8v1().expect("write the key");
    (private.as_ref().to_vec(), der(pair.public_key()))
}

fn der(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Vec<u8> {
    key.as_der().expect("write the key").as_ref().to_vec()
}

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        STANDARD.encode(der)
    )
}
