//! A thief has somebody else's ciphertext and puts it where he may have it decrypted.

use ward_tests::postgres::Client;
use ward_tests::postgres::types::ToSql;
use ward_tests::{Cluster, DATABASE, refused, run, text};

/// The victim's value under key `theirs`, and a thief who may use key `mine` and a table of his own.
fn theft() -> (Cluster, Client, Vec<u8>) {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SELECT ward.generate_encryption_key('theirs');
         CREATE ROLE thief LOGIN;
         SELECT ward.generate_encryption_key('mine', grantee => 'thief');
         CREATE TABLE own (value bytea);
         GRANT ALL ON own TO thief",
    );
    let stolen = admin
        .query_one("SELECT ward.encrypt('the secret', 'theirs')", &[])
        .unwrap()
        .get(0);
    let thief = cluster.client(DATABASE, "thief");
    (cluster, thief, stolen)
}

const READ: &str = "SELECT ward.decrypt(value) FROM own";

#[test]
fn stolen_ciphertext_of_a_key_that_the_thief_may_not_use() {
    let (_cluster, mut thief, stolen) = theft();
    let literal = hex::encode(&stolen);
    run(
        &mut thief,
        &format!("INSERT INTO own VALUES ('\\x{literal}')"),
    );
    assert_eq!(refused(&mut thief, READ).code().code(), "42501");

    run(&mut thief, "TRUNCATE own");
    let parameter: &(dyn ToSql + Sync) = &stolen;
    thief
        .execute("INSERT INTO own VALUES ($1)", &[parameter])
        .unwrap();
    assert_eq!(refused(&mut thief, READ).code().code(), "42501");
    let error = thief.query("SELECT ward.decrypt($1)", &[parameter]);
    assert_eq!(error.unwrap_err().code().unwrap().code(), "42501");

    run(&mut thief, "TRUNCATE own");
    copy(
        &mut thief,
        "COPY own FROM STDIN",
        format!("\\\\x{literal}\n").as_bytes(),
    );
    assert_eq!(refused(&mut thief, READ).code().code(), "42501");

    run(&mut thief, "TRUNCATE own");
    copy(
        &mut thief,
        "COPY own FROM STDIN (FORMAT binary)",
        &copy_binary(&stolen),
    );
    assert_eq!(refused(&mut thief, READ).code().code(), "42501");
}

#[test]
fn stolen_ciphertext_that_is_made_to_name_the_thiefs_key() {
    let (_cluster, mut thief, mut stolen) = theft();
    let own: Vec<u8> = thief
        .query_one("SELECT ward.encrypt('x', 'mine')", &[])
        .unwrap()
        .get(0);
    stolen[4..12].copy_from_slice(&own[4..12]);
    let error = thief.query("SELECT ward.decrypt($1)", &[&stolen]);
    let error = error.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), "XX001", "{error:?}");
}

#[test]
fn stolen_ciphertext_of_a_shared_key_that_was_bound_to_its_row() {
    let (_cluster, mut thief, _) = theft();
    run(
        &mut thief,
        "INSERT INTO own VALUES (ward.encrypt('the secret', 'mine', 'accounts/iban/7'))",
    );
    for aad in [
        "NULL",
        "''",
        "'accounts/iban/8'",
        "'accounts/iban/77'",
        "'accounts/iban/'",
    ] {
        let read = format!("SELECT ward.decrypt(value, {aad}) FROM own");
        assert_eq!(refused(&mut thief, &read).code().code(), "XX001");
    }
    let read = "SELECT ward.decrypt(value, 'accounts/iban/7') FROM own";
    assert_eq!(text(&mut thief, read).as_deref(), Some("the secret"));
}

/// Sends `data` with COPY FROM STDIN.
pub fn copy(client: &mut Client, statement: &str, data: &[u8]) {
    use std::io::Write as _;
    let mut writer = client.copy_in(statement).unwrap();
    writer.write_all(data).unwrap();
    writer.finish().unwrap();
}

/// One row with one column, in COPY's binary form.
pub fn copy_binary(field: &[u8]) -> Vec<u8> {
    let mut data = b"PGCOPY\n\xff\r\n\0".to_vec();
    data.extend_from_slice(&[0; 8]);
    data.extend_from_slice(&1i16.to_be_bytes());
    data.extend_from_slice(&i32::try_from(field.len()).unwrap().to_be_bytes());
    data.extend_from_slice(field);
    data.extend_from_slice(&(-1i16).to_be_bytes());
    data
}
