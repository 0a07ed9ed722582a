//! Tokens that break a rule: each is refused, for the reason it should be.

use crate::context_claims;
use crate::context_tokens::{accepting, attempt};
use serde_json::{Value, json};
use ward_tests::{Algorithm, Issuer, now, refused};

/// What is wrong with a token, the token, and what the refusal says.
pub type Case = (&'static str, String, &'static str);

fn header_cases(issuer: &Issuer) -> Vec<Case> {
    let with = |changes: Value| issuer.token_with_header(changes);
    let honest = issuer.token("a");
    let (_, rest) = honest.split_once('.').unwrap();
    let claims = issuer.claims("a");
    let raw = |header: &str| issuer.sign_raw(header.as_bytes(), claims.to_string().as_bytes());
    let jwk = Issuer::new(Algorithm::ES256).jwk();
    vec![
        (
            "no algorithm",
            with(json!({"alg": null})),
            "algorithm is not accepted",
        ),
        (
            "algorithm none",
            with(json!({"alg": "none"})),
            "algorithm is not accepted",
        ),
        (
            "algorithm none, unsigned",
            format!(
                "{}.",
                issuer
                    .token_with_header(json!({"alg": "none"}))
                    .rsplit_once('.')
                    .unwrap()
                    .0
            ),
            "algorithm is not accepted",
        ),
        (
            "an algorithm with a shared secret",
            with(json!({"alg": "HS256"})),
            "algorithm is not accepted",
        ),
        (
            "an algorithm in another case",
            with(json!({"alg": "es256"})),
            "algorithm is not accepted",
        ),
        (
            "an accepted algorithm that the key is not for",
            with(json!({"alg": "ES384"})),
            "is not for its algorithm",
        ),
        (
            "no key id",
            with(json!({"kid": null})),
            "does not name its key",
        ),
        (
            "a key id that is no text",
            with(json!({"kid": 7})),
            "does not name its key",
        ),
        (
            "a huge key id",
            with(json!({"kid": "k".repeat(256)})),
            "does not name its key",
        ),
        (
            "an unknown key id",
            with(json!({"kid": "k2"})),
            "no key of its issuer",
        ),
        (
            "another type",
            with(json!({"typ": "logout+jwt"})),
            "its type (typ)",
        ),
        (
            "a type that is no text",
            with(json!({"typ": ["JWT"]})),
            "its type (typ)",
        ),
        (
            "a critical extension",
            with(json!({"crit": ["exp"], "exp": 1})),
            "parameter crit",
        ),
        (
            "a critical extension that is nothing",
            raw(r#"{"alg":"ES256","kid":"k1","crit":null}"#),
            "parameter crit",
        ),
        (
            "unencoded payload",
            with(json!({"b64": false})),
            "parameter b64",
        ),
        (
            "a key of its own",
            with(json!({"jwk": jwk})),
            "parameter jwk",
        ),
        (
            "the address of a key",
            with(json!({"jku": "https://evil.example/keys"})),
            "parameter jku",
        ),
        (
            "the address of a certificate",
            with(json!({"x5u": "https://evil.example/cert"})),
            "parameter x5u",
        ),
        (
            "a certificate of its own",
            with(json!({"x5c": ["MII"]})),
            "parameter x5c",
        ),
        ("compressed", with(json!({"zip": "DEF"})), "parameter zip"),
        (
            "a header name twice",
            raw(r#"{"alg":"ES256","kid":"k1","kid":"k1"}"#),
            "a name twice",
        ),
        (
            "a header that is no object",
            raw(r#"["ES256"]"#),
            "not a signed JSON Web Token",
        ),
        (
            "a header that is no JSON",
            raw("{"),
            "not a signed JSON Web Token",
        ),
        (
            "a header that is no base64url",
            format!("e30=.{rest}"),
            "not a signed JSON Web Token",
        ),
    ]
}

fn text_cases(issuer: &Issuer) -> Vec<Case> {
    let honest = issuer.token("a");
    let (signed, signature) = honest.rsplit_once('.').unwrap();
    let (_, other_signature) = {
        let other = issuer.token("b");
        let (other, signature) = other.rsplit_once('.').unwrap();
        (other.to_owned(), signature.to_owned())
    };
    let stranger = Issuer::new(issuer.algorithm);
    vec![
        ("empty", String::new(), "it is empty"),
        (
            "one word",
            "token".to_owned(),
            "not a signed JSON Web Token",
        ),
        (
            "no signature",
            signed.to_owned(),
            "not a signed JSON Web Token",
        ),
        (
            "an empty signature",
            format!("{signed}."),
            "signature is wrong",
        ),
        (
            "a fourth part",
            format!("{honest}.x"),
            "not a signed JSON Web Token",
        ),
        (
            "another token's signature",
            format!("{signed}.{other_signature}"),
            "signature is wrong",
        ),
        (
            "a cut signature",
            honest[..honest.len() - 2].to_owned(),
            "signature is wrong",
        ),
        (
            "a signature of zeros",
            format!("{signed}.{}", "A".repeat(signature.len())),
            "signature is wrong",
        ),
        (
            "signed by a stranger",
            stranger.token("a"),
            "signature is wrong",
        ),
        (
            "white space around",
            format!(" {honest}\n"),
            "not a signed JSON Web Token",
        ),
        (
            "not ASCII",
            format!("{honest}\u{e9}"),
            "not a signed JSON Web Token",
        ),
        (
            "huge",
            format!("{honest}{}", "A".repeat(16 * 1024)),
            "the limit is 16384",
        ),
        (
            "hostile",
            "'; DROP TABLE t; --".to_owned(),
            "not a signed JSON Web Token",
        ),
    ]
}

#[test]
fn a_token_that_breaks_a_rule() {
    let issuer = Issuer::new(Algorithm::ES256);
    let (_cluster, mut admin, mut app) = accepting(&issuer);
    // A second issuer of the same server does not help.
    Issuer::new(Algorithm::RS256)
        .with_name("https://other.example")
        .with_kid("other")
        .register(&mut admin);
    let mut wrong = Vec::new();
    let cases = [
        header_cases(&issuer),
        context_claims::refused_claims(&issuer),
        text_cases(&issuer),
    ];
    for (what, token, says) in cases.into_iter().flatten() {
        match attempt(&mut app, &token) {
            None => wrong.push(format!("{what}: accepted")),
            Some(error) if error.code().code() != "28000" || !error.message().contains(says) => {
                wrong.push(format!("{what}: {error:?}"));
            }
            Some(_) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let null = refused(&mut app, "SELECT ward.authenticate(NULL)");
    assert_eq!(null.code().code(), "22004");
    // The honest neighbours of these tokens are accepted.
    for honest in [
        issuer.token("a"),
        issuer.token_with_header(json!({"typ": null})),
        issuer.token_with_header(json!({"typ": "at+jwt", "x5t": "abc", "unknown": 1})),
        issuer.token_with(json!({"aud": ["web", "db"]})),
        issuer.token_with(json!({"exp": now() + 3590, "iat": now() + 2, "nbf": now() + 2})),
        issuer.token_with(json!({"exp": now() as f64 + 60.5})),
    ] {
        assert_eq!(attempt(&mut app, &honest), None, "{honest}");
    }
    // One that has ended is good for five more seconds, in which a busy machine may not come to it.
    let accepted = (0..5).any(|_| {
        let ended = issuer.token_with(json!({"exp": now() - 2, "iat": now() - 60}));
        attempt(&mut app, &ended).is_none()
    });
    assert!(accepted, "no leeway");
    // Bytes that are no text in any encoding cannot be sent as a parameter of type text.
    assert_eq!(
        refused(
            &mut app,
            "SELECT ward.authenticate(convert_from('\\xff', 'UTF8'))"
        )
        .code()
        .code(),
        "22021"
    );
}
