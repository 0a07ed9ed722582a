//! Claims: those that are refused, and those under other names and in other forms.

use crate::context_refusals::Case;
use crate::context_tokens::{TENANT, accepting, authenticate};
use serde_json::{Value, json};
use ward_tests::postgres::Client;
use ward_tests::{Algorithm, Issuer, now, refused, run, text};

/// Tokens with a claim that is not as it must be.
pub fn refused_claims(issuer: &Issuer) -> Vec<Case> {
    let with = |changes: Value| issuer.token_with(changes);
    let raw =
        |claims: &str| issuer.sign_raw(issuer.header().to_string().as_bytes(), claims.as_bytes());
    let twice = issuer
        .claims("a")
        .to_string()
        .replacen('{', r#"{"tenant_id":"b","#, 1);
    let deep = issuer
        .claims("a")
        .to_string()
        .replacen('{', r#"{"x":{"y":1,"y":2},"#, 1);
    let now = now();
    vec![
        ("no issuer", with(json!({"iss": null})), "no claim iss"),
        (
            "an issuer that is a list",
            with(json!({"iss": [issuer.name]})),
            "claim iss is not",
        ),
        (
            "an issuer the key does not serve",
            with(json!({"iss": "https://other.example"})),
            "no key of its issuer",
        ),
        ("no audience", with(json!({"aud": null})), "no claim aud"),
        (
            "another audience",
            with(json!({"aud": "web"})),
            "another audience",
        ),
        (
            "other audiences",
            with(json!({"aud": ["web", "app"]})),
            "another audience",
        ),
        (
            "no audience in a list",
            with(json!({"aud": []})),
            "another audience",
        ),
        (
            "an audience that is a number",
            with(json!({"aud": 1})),
            "claim aud is not",
        ),
        (
            "audiences with a number among them",
            with(json!({"aud": ["db", 1]})),
            "claim aud is not",
        ),
        ("no subject", with(json!({"sub": null})), "no claim sub"),
        (
            "an empty subject",
            with(json!({"sub": ""})),
            "claim sub is not",
        ),
        (
            "a subject that is a number",
            with(json!({"sub": 1})),
            "claim sub is not",
        ),
        ("no expiry", with(json!({"exp": null})), "no claim exp"),
        (
            "an expiry that is a text",
            with(json!({"exp": "4102444800"})),
            "claim exp is not",
        ),
        (
            "an expiry beyond all time",
            with(json!({"exp": 1e300})),
            "claim exp is not",
        ),
        (
            "a negative expiry",
            with(json!({"exp": -1})),
            "claim exp is not",
        ),
        (
            "expired",
            with(json!({"iat": now - 900, "exp": now - 60})),
            "has expired",
        ),
        (
            "no time of issue",
            with(json!({"iat": null})),
            "no claim iat",
        ),
        (
            "a time of issue that is a text",
            with(json!({"iat": "1"})),
            "claim iat is not",
        ),
        (
            "issued in the future",
            with(json!({"iat": now + 120})),
            "issued in the future",
        ),
        (
            "expired before it was issued",
            with(json!({"iat": now - 10, "exp": now - 10})),
            "expires before it was issued",
        ),
        (
            "valid for too long",
            with(json!({"exp": now + 3700})),
            "the limit is 3600",
        ),
        (
            "not valid yet",
            with(json!({"nbf": now + 120})),
            "not valid yet",
        ),
        (
            "a beginning that is a text",
            with(json!({"nbf": "now"})),
            "claim nbf is not",
        ),
        (
            "a tenant that is an object",
            with(json!({"tenant_id": {"id": "a"}})),
            "claim tenant_id is not",
        ),
        (
            "a tenant that is a fraction",
            with(json!({"tenant_id": 1.5})),
            "claim tenant_id is not",
        ),
        (
            "an empty tenant",
            with(json!({"tenant_id": " "})),
            "claim tenant_id is not",
        ),
        (
            "a huge tenant",
            with(json!({"tenant_id": "t".repeat(256)})),
            "claim tenant_id is not",
        ),
        (
            "a user that is a list",
            with(json!({"user_id": ["u"]})),
            "claim user_id is not",
        ),
        (
            "roles that are numbers",
            with(json!({"roles": [1]})),
            "claim roles is not",
        ),
        (
            "roles that are an object",
            with(json!({"roles": {"admin": true}})),
            "claim roles is not",
        ),
        (
            "too many permissions",
            with(json!({"permissions": vec!["p"; 257]})),
            "claim permissions is not",
        ),
        (
            "a token id that is a number",
            with(json!({"jti": 1})),
            "claim jti is not",
        ),
        ("a claim twice", raw(&twice), "a name twice"),
        ("a claim twice, deep inside", raw(&deep), "a name twice"),
        (
            "claims that are no object",
            raw("[]"),
            "not a signed JSON Web Token",
        ),
        (
            "claims that are no UTF-8",
            issuer.sign_raw(
                issuer.header().to_string().as_bytes(),
                b"{\"iss\":\"\xff\"}",
            ),
            "not a signed JSON Web Token",
        ),
        (
            "a claim that jsonb cannot hold",
            with(json!({"note": "\u{0}"})),
            "jsonb can hold",
        ),
    ]
}

#[test]
fn claims_under_other_names_and_in_other_forms() {
    let issuer = Issuer::new(Algorithm::ES256);
    let (_cluster, mut admin, mut app) = accepting(&issuer);
    let reads = |app: &mut Client, token: &str, query: &str| {
        run(app, "BEGIN");
        authenticate(app, token).unwrap();
        let read = text(app, query);
        run(app, "COMMIT");
        read
    };
    let nested = issuer.token_with(json!({
        "tenant_id": "outer", "app_metadata": {"tenant": {"id": "inner"}, "roles": ["x"]},
        "https://example.com/tenant": "namespaced", "scope": "read write", "sub": "auth0|1", "user_id": null,
    }));
    for (setting, token, query, expected) in [
        (
            "ward.token_tenant_claim = 'tenant_id'",
            nested.clone(),
            TENANT,
            Some("outer"),
        ),
        (
            "ward.token_tenant_claim = 'app_metadata.tenant.id'",
            nested.clone(),
            TENANT,
            Some("inner"),
        ),
        (
            "ward.token_tenant_claim = 'https://example.com/tenant'",
            nested.clone(),
            TENANT,
            Some("namespaced"),
        ),
        (
            "ward.token_tenant_claim = 'app_metadata.missing.id'",
            nested.clone(),
            TENANT,
            None,
        ),
        ("ward.token_tenant_claim = ''", nested.clone(), TENANT, None),
        (
            "ward.token_user_claim = 'sub'",
            nested.clone(),
            "SELECT ward.get_user_context()",
            Some("auth0|1"),
        ),
        (
            "ward.token_user_claim = 'sub'",
            nested.clone(),
            "SELECT ward.get_current_user_id()::text",
            None,
        ),
        (
            "ward.token_roles_claim = 'app_metadata.roles'",
            nested.clone(),
            "SELECT ward.has_role('x')::text",
            Some("true"),
        ),
        (
            "ward.token_permissions_claim = 'scope'",
            nested.clone(),
            "SELECT ward.has_permission('write')::text",
            Some("true"),
        ),
        (
            "ward.token_tenant_claim = 'tenant_id'",
            issuer.token_with(json!({"tenant_id": 42})),
            "SELECT ward.get_current_tenant_number()::text",
            Some("42"),
        ),
        (
            "ward.token_user_claim = 'user_id'",
            issuer.token_with(json!({"user_id": 42})),
            "SELECT ward.get_current_user_number()::text",
            Some("42"),
        ),
        (
            "ward.token_tenant_claim = 'tenant_id'",
            issuer.token_with(json!({"tenant_id": null})),
            TENANT,
            None,
        ),
    ] {
        // In the session that has verified the token before: a setting counts at once.
        run(&mut admin, &format!("SET {setting}"));
        let read = reads(&mut admin, &token, query);
        assert_eq!(read.as_deref(), expected, "{setting}: {query}");
    }
    for setting in [
        "ward.token_tenant_claim",
        "ward.token_leeway",
        "ward.token_max_lifetime",
        "ward.token_single_use",
        "ward.audit_context",
    ] {
        let error = refused(&mut app, &format!("SET {setting} = 1"));
        assert_eq!(error.code().code(), "42501", "{setting}");
    }
    for beyond in [
        "ward.token_leeway = 31",
        "ward.token_leeway = -1",
        "ward.token_max_lifetime = 86401",
    ] {
        assert_eq!(
            refused(&mut admin, &format!("SET {beyond}")).code().code(),
            "22023"
        );
    }
}
