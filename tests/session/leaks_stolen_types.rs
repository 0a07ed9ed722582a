//! A thief has ciphertext of a column that is hidden from him, for example out of a dump, and may use
//! the column's key for rows of his own. He puts it there, to have it decrypted.

use crate::leaks_stolen::{copy, copy_binary};
use ward_tests::postgres::Client;
use ward_tests::postgres::types::private::BytesMut;
use ward_tests::postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use ward_tests::{Cluster, DATABASE, refused, run, text};

const SECRET: &str = "what the victim keeps to himself";

/// The thief, and the victim's value as printed and as bytes.
struct Theft {
    _cluster: Cluster,
    thief: Client,
    printed: String,
    bytes: Vec<u8>,
}

fn theft(kind: &str) -> Theft {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        &format!(
            "SELECT ward.generate_encryption_key('k');
             CREATE ROLE thief LOGIN;
             SELECT ward.grant_key('k', 'thief', '{{encrypt,decrypt,search}}');
             CREATE TABLE hidden (value ward.{kind}('k'));
             INSERT INTO hidden VALUES ('{SECRET}');
             CREATE TABLE account (owner name DEFAULT current_user, value ward.{kind}('k'));
             GRANT ALL ON account TO thief"
        ),
    );
    let printed = text(&mut admin, "SELECT hidden::text FROM hidden").unwrap();
    let printed = printed.trim_matches(['(', ')']).to_owned();
    assert!(printed.starts_with("ward:"), "{printed}");
    let (_, encoded) = printed.rsplit_once(':').unwrap();
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let bytes = BASE64_STANDARD.decode(encoded).unwrap();
    let mut thief = cluster.client(DATABASE, "thief");
    run(&mut thief, "SET ward.reveal = on");
    // He may read and write values of his own.
    run(&mut thief, "INSERT INTO account (value) VALUES ('his')");
    assert_eq!(read(&mut thief).as_deref(), Some("his"));
    Theft {
        _cluster: cluster,
        thief,
        printed,
        bytes,
    }
}

fn read(thief: &mut Client) -> Option<String> {
    text(thief, "SELECT value::text FROM account")
}

/// Bytes as a parameter of whatever type, in binary format.
#[derive(Debug)]
struct Raw(Vec<u8>);

impl ToSql for Raw {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        out.extend_from_slice(&self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// Every way to hand a value in; `printed` is what was stolen, as text and as bytes.
fn paste(kind: &str) {
    let Theft {
        _cluster,
        mut thief,
        printed,
        bytes,
    } = theft(kind);
    let stolen_text = |thief: &mut Client, way: &str| {
        let found = read(thief).unwrap();
        assert_ne!(found, SECRET, "{way} gave it away");
        assert_eq!(found, printed, "{way}: text is text");
        run(thief, "TRUNCATE account");
    };
    run(&mut thief, "TRUNCATE account");
    for way in [
        format!("INSERT INTO account (value) VALUES ('{printed}')"),
        format!("INSERT INTO account (value) VALUES ('{printed}'::text)"),
        format!("INSERT INTO account (value) SELECT '{printed}'::ward.{kind}('k')"),
        format!("INSERT INTO account (value) SELECT ('{{{printed}}}'::ward.{kind}('k')[])[1]"),
        format!(
            "INSERT INTO account SELECT * FROM json_populate_record(NULL::account, '{{\"owner\": \"thief\", \"value\": \"{printed}\"}}')"
        ),
        format!("INSERT INTO account SELECT ('(thief,{printed})'::account).*"),
        format!(
            "PREPARE p (ward.{kind}) AS INSERT INTO account (value) VALUES ($1); EXECUTE p ('{printed}')"
        ),
    ] {
        run(&mut thief, &way);
        stolen_text(&mut thief, &way);
    }
    let insert = "INSERT INTO account (value) VALUES ($1)";
    thief
        .execute(insert, &[&Raw(printed.clone().into_bytes())])
        .unwrap();
    stolen_text(&mut thief, "a parameter");
    copy(
        &mut thief,
        "COPY account (value) FROM STDIN",
        format!("{printed}\n").as_bytes(),
    );
    stolen_text(&mut thief, "COPY");
    copy(
        &mut thief,
        "COPY account (value) FROM STDIN (FORMAT binary)",
        &copy_binary(printed.as_bytes()),
    );
    stolen_text(&mut thief, "binary COPY of the text");

    // Bytes of ciphertext are refused.
    let error = thief.execute(insert, &[&Raw(bytes.clone())]).unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
    let mut writer = thief
        .copy_in("COPY account (value) FROM STDIN (FORMAT binary)")
        .unwrap();
    std::io::Write::write_all(&mut writer, &copy_binary(&bytes)).unwrap();
    let error = writer.finish().unwrap_err();
    assert_eq!(error.code().unwrap().code(), "42501");
    // What the type binds its values to is no secret. Bound to it, they are not what ward.decrypt opens.
    let envelope = bytes.len() - (SECRET.len() + 52);
    for aad in [
        "NULL".to_owned(),
        "''".to_owned(),
        format!("'ward/{kind}/v1'"),
    ] {
        for call in ["ward.decrypt", "ward.reencrypt"] {
            let call = format!(
                "SELECT {call}('\\x{}', {aad})",
                hex::encode(&bytes[envelope..])
            );
            assert_eq!(refused(&mut thief, &call).code().code(), "XX001");
        }
    }
    // As bytea they are no text.
    let cast = format!(
        "INSERT INTO account (value) SELECT '\\x{}'::bytea::ward.{kind}('k')",
        hex::encode(&bytes)
    );
    refused(&mut thief, &cast);
    assert_eq!(read(&mut thief), None);
}

#[test]
fn stolen_ciphertext_in_an_encrypted_text_of_the_thief() {
    paste("encrypted_text");
}

#[test]
fn stolen_ciphertext_in_a_secret_text_of_the_thief() {
    paste("secret_text");
}
