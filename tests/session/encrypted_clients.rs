//! Encrypted columns as a driver sees them: parameters in binary format, COPY in binary format, and
//! values that are stolen.

use std::error::Error;
use std::io::{Read, Write};
use ward_tests::postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use ward_tests::postgres::{Client, error::DbError};
use ward_tests::{Cluster, DATABASE, number, refused, run, text, texts};

/// A text that the driver sends as it is, whatever the type of the parameter: what drivers do with
/// types they do not know.
#[derive(Debug)]
struct AsIs<'a>(&'a [u8]);

impl ToSql for AsIs<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut ward_tests::postgres::types::private::BytesMut,
    ) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The bytes of a value, as the server sent them.
struct Raw(Vec<u8>);

impl<'a> FromSql<'a> for Raw {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// A cluster with key `k`, table `t`, and a role `bob` who may encrypt, decrypt and search.
fn with_bob() -> (Cluster, Client, Client) {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "SELECT ward.generate_encryption_key('k');
         CREATE ROLE bob LOGIN;
         SELECT ward.grant_key('k', 'bob', '{encrypt,decrypt,search}');
         CREATE TABLE t (id int PRIMARY KEY, mail ward.encrypted_text('k') UNIQUE, note ward.secret_text('k'));
         GRANT ALL ON t TO bob",
    );
    let bob = cluster.client(DATABASE, "bob");
    (cluster, admin, bob)
}

fn db_error(error: &ward_tests::postgres::Error) -> &DbError {
    error.as_db_error().unwrap_or_else(|| panic!("{error:?}"))
}

#[test]
fn parameters_of_a_driver() {
    let (_cluster, mut admin, mut bob) = with_bob();
    // Directly, as the column's own type.
    let insert = "INSERT INTO t VALUES ($1, $2, $3)";
    let (mail, note) = (AsIs("ann@x.y".as_bytes()), AsIs("Grüße".as_bytes()));
    bob.execute(insert, &[&1, &mail, &note]).unwrap();
    let missing: Option<AsIs> = None;
    bob.execute(insert, &[&2, &missing, &missing]).unwrap();
    bob.execute(insert, &[&3, &AsIs(b""), &AsIs(b"")]).unwrap();
    // As text, by a cast or a type given to the driver.
    let cast = "INSERT INTO t VALUES ($1, $2::text, $3::varchar)";
    bob.execute(cast, &[&4, &"bea@x.y", &"four"]).unwrap();
    let typed = [Type::INT4, Type::TEXT, Type::VARCHAR];
    let statement = bob.prepare_typed(insert, &typed).unwrap();
    bob.execute(&statement, &[&5, &"cy@x.y", &"five"]).unwrap();
    let read = "SELECT id || ' ' || coalesce(mail::text, 'NULL') || ' ' || coalesce(note::text, 'NULL') FROM t ORDER BY id";
    assert_eq!(
        texts(&mut bob, read),
        [
            "1 ann@x.y Grüße",
            "2 NULL NULL",
            "3  ",
            "4 bea@x.y four",
            "5 cy@x.y five"
        ]
    );

    let by_own = "SELECT id FROM t WHERE mail = $1";
    let own = bob.query_one(by_own, &[&AsIs(b"ann@x.y")]).unwrap();
    assert_eq!(own.get::<_, i32>(0), 1);
    let by_cast = "SELECT id FROM t WHERE mail = $1::text";
    let cast = bob.query_one(by_cast, &[&"bea@x.y"]).unwrap();
    assert_eq!(cast.get::<_, i32>(0), 4);
    let by_list = "SELECT count(*) FROM t WHERE mail = ANY ($1::text[])";
    let list = vec!["ann@x.y", "cy@x.y", "nobody"];
    assert_eq!(
        bob.query_one(by_list, &[&list]).unwrap().get::<_, i64>(0),
        2
    );
    let statement = bob.prepare_typed(by_own, &[Type::VARCHAR]).unwrap();
    for _ in 0..8 {
        let found = bob.query_one(&statement, &[&"cy@x.y"]).unwrap();
        assert_eq!(found.get::<_, i32>(0), 5);
    }

    // What is no text of the client is not echoed.
    for bytes in [&b"caf\xe9"[..], b"nul\0byte"] {
        let error = bob
            .execute(insert, &[&6, &AsIs(bytes), &missing])
            .unwrap_err();
        assert_eq!(db_error(&error).code().code(), "22021");
        assert!(
            !format!("{:?}", db_error(&error)).contains("caf"),
            "{error:?}"
        );
    }
    run(&mut bob, "SET client_encoding = latin1");
    let latin = AsIs(b"caf\xe9@x.y");
    assert!(bob.execute(insert, &[&6, &latin, &missing]).is_ok());
    run(&mut bob, "RESET client_encoding");
    let sixth = "SELECT mail::text FROM t WHERE id = 6";
    assert_eq!(text(&mut bob, sixth).as_deref(), Some("café@x.y"));
    assert_eq!(
        number(&mut admin, "SELECT count(*) FROM t WHERE mail = 'café@x.y'"),
        1
    );
}

#[test]
fn a_stolen_ciphertext_is_not_decrypted_for_the_thief() {
    let (_cluster, mut admin, mut bob) = with_bob();
    run(
        &mut admin,
        "INSERT INTO t VALUES (1, 'the secret', 'the note')",
    );
    let stolen = "SELECT mail, note, format('%s', mail), format('%s', note) FROM t WHERE id = 1";
    let row = bob.query_one(stolen, &[]).unwrap();
    let (Raw(mail), Raw(note)): (Raw, Raw) = (row.get(0), row.get(1));
    let (mail_text, note_text): (String, String) = (row.get(2), row.get(3));
    assert_eq!((mail[0], note[0]), (1, 1));

    // Binary parameter, binary COPY: refused.
    let by_mail = "INSERT INTO t (id, mail) VALUES ($1, $2)";
    let by_note = "INSERT INTO t (id, note) VALUES ($1, $2)";
    for (insert, bytes) in [(by_mail, &mail), (by_note, &note)] {
        let error = bob.execute(insert, &[&2, &AsIs(bytes)]).unwrap_err();
        assert_eq!(db_error(&error).code().code(), "42501");
        assert!(db_error(&error).hint().unwrap().contains("import"));
    }
    let mut copied = Vec::new();
    let out =
        "COPY (SELECT 2, NULL::ward.encrypted_text('k'), note FROM t) TO STDOUT (FORMAT binary)";
    bob.copy_out(out).unwrap().read_to_end(&mut copied).unwrap();
    let into = "COPY t FROM STDIN (FORMAT binary)";
    let copy = |client: &mut Client, content: &[u8], into: &str| {
        let mut writer = client.copy_in(into).unwrap();
        writer.write_all(content).unwrap();
        writer.finish()
    };
    let error = copy(&mut bob, &copied, into).unwrap_err();
    assert_eq!(db_error(&error).code().code(), "42501");

    // As text in whatever way: it is text.
    bob.execute(
        "INSERT INTO t VALUES (3, $1, $2)",
        &[&AsIs(mail_text.as_bytes()), &AsIs(note_text.as_bytes())],
    )
    .unwrap();
    bob.execute("INSERT INTO t VALUES (4, NULL, $1::text)", &[&note_text])
        .unwrap();
    let line = format!("5\t\\N\t{note_text}\n");
    copy(&mut bob, line.as_bytes(), "COPY t FROM STDIN").unwrap();
    let kept = "SELECT note::text FROM t WHERE id IN (3, 4, 5)";
    assert_eq!(texts(&mut bob, kept), vec![note_text.clone(); 3]);
    let kept = "SELECT mail::text FROM t WHERE id = 3";
    assert_eq!(text(&mut bob, kept), Some(mail_text.clone()));

    // Who may import, and who restores, brings it in.
    run(&mut admin, "SELECT ward.grant_key('k', 'bob', '{import}')");
    copy(&mut bob, &copied, into).unwrap();
    bob.execute("INSERT INTO t VALUES (6, NULL, $1)", &[&AsIs(&note)])
        .unwrap();
    let line = format!("7\t\\N\t{note_text}\n");
    copy(&mut admin, line.as_bytes(), "COPY t FROM STDIN").unwrap();
    let opened = "SELECT note::text FROM t WHERE id IN (2, 6, 7)";
    assert_eq!(
        texts(&mut bob, opened),
        ["the note", "the note", "the note"]
    );
    // Not even they put one key's ciphertext under another's name.
    run(
        &mut admin,
        "SELECT ward.generate_encryption_key('other');
         CREATE TABLE foreign_key (id int, mail ward.encrypted_text('other'), note ward.secret_text('other'))",
    );
    let line = format!("7\t{mail_text}\t\\N\n");
    let error = copy(&mut admin, line.as_bytes(), "COPY foreign_key FROM STDIN").unwrap_err();
    assert_eq!(db_error(&error).code().code(), "22023");
    // A damaged one does not become text.
    let damaged = format!("8\t\\N\t{}\n", note_text.replace('=', "").to_lowercase());
    let error = copy(&mut admin, damaged.as_bytes(), "COPY t FROM STDIN").unwrap_err();
    assert_eq!(db_error(&error).code().code(), "22P02");
}

#[test]
fn a_changed_value_is_not_shown() {
    let (_cluster, mut admin, _bob) = with_bob();
    run(
        &mut admin,
        "INSERT INTO t (id, note) VALUES (1, 'the note')",
    );
    let Raw(mut note) = admin.query_one("SELECT note FROM t", &[]).unwrap().get(0);
    *note.last_mut().unwrap() ^= 1;
    admin
        .execute("UPDATE t SET note = $1", &[&AsIs(&note)])
        .unwrap();
    for show in [
        "SELECT note::text FROM t",
        "SET ward.reveal = on; SELECT note FROM t",
    ] {
        assert_eq!(refused(&mut admin, show).code().code(), "XX001");
    }
}

#[test]
fn revealed_in_binary_format() {
    let (_cluster, mut admin, mut bob) = with_bob();
    run(&mut admin, "INSERT INTO t VALUES (1, 'café', 'note')");
    run(&mut bob, "SET ward.reveal = on");
    let Raw(mail) = bob.query_one("SELECT mail FROM t", &[]).unwrap().get(0);
    assert_eq!(mail, "café".as_bytes());
    run(&mut bob, "SET client_encoding = latin1");
    let Raw(mail) = bob.query_one("SELECT mail FROM t", &[]).unwrap().get(0);
    assert_eq!(mail, b"caf\xe9");
    // In open sessions a revocation counts at once.
    run(
        &mut admin,
        "SELECT ward.revoke_key('k', 'bob', '{decrypt}')",
    );
    let Raw(mail) = bob.query_one("SELECT mail FROM t", &[]).unwrap().get(0);
    assert_eq!(mail[0], 1);
}

#[test]
fn databases_of_other_encodings() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    for encoding in ["LATIN1", "SQL_ASCII"] {
        run(
            &mut client,
            &format!(
                "CREATE DATABASE {encoding} ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'"
            ),
        );
        let mut client = cluster.client(&encoding.to_lowercase(), "postgres");
        run(
            &mut client,
            "CREATE EXTENSION pg_ward;
             SELECT ward.generate_encryption_key('k');
             CREATE TABLE t (id int, mail ward.encrypted_text('k'));
             INSERT INTO t VALUES (1, 'café')",
        );
        client
            .execute("INSERT INTO t VALUES (2, $1)", &[&AsIs("café".as_bytes())])
            .unwrap();
        let found = "SELECT count(*) FROM t WHERE mail = 'café' AND mail::text = 'café'";
        assert_eq!(number(&mut client, found), 2, "{encoding}");
        // Stored in UTF-8 all the same.
        let bytes = "SELECT count(*) FROM t WHERE mail::bytea = '\\x636166c3a9'";
        assert_eq!(number(&mut client, bytes), 2, "{encoding}");
    }
    let mut client = cluster.client("latin1", "postgres");
    let unknown = AsIs("世界".as_bytes());
    let error = client
        .execute("INSERT INTO t VALUES (3, $1)", &[&unknown])
        .unwrap_err();
    assert_eq!(db_error(&error).code().code(), "22021");
}
