//! Prints SQL that registers an issuer's key and fills table `token` with 2,000 of its tokens, for
//! `benches/run`.

use jsonwebtoken::Algorithm;
use serde_json::json;
use ward_tests::Issuer;

fn main() {
    let issuer = Issuer::new(Algorithm::ES256);
    println!(
        "SELECT ward.add_jwt_key('{}', '{}', '{}', '{{ES256}}', 'db');",
        issuer.name,
        issuer.kid,
        issuer.public_pem()
    );
    println!("CREATE TABLE token (jwt text NOT NULL);\nCOPY token FROM STDIN;");
    for number in 0..2000 {
        let changes = json!({ "jti": number.to_string() });
        println!("{}", issuer.token_with(changes));
    }
    println!("\\.");
}
