//! Values under a password: how long a key is kept, and how long a derivation may take.

use ward_tests::postgres::Client;
use ward_tests::{Cluster, DATABASE, Options, SUPERUSER, refused, run, text};

/// Table `secret` with two values under one password, made in two transactions: two salts.
fn two_salts(client: &mut Client) {
    run(client, "CREATE TABLE secret (id int, e bytea)");
    for id in 1..=2 {
        run(
            client,
            &format!(
                "INSERT INTO secret SELECT {id}, ward.encrypt_with_password('value', 'p', 100000)"
            ),
        );
    }
    // One derivation a transaction.
    run(client, "SET ward.max_password_iterations = 100000");
}

fn open(id: i32) -> String {
    format!("SELECT ward.decrypt_with_password(e, 'p') FROM secret WHERE id = {id}")
}

#[test]
fn a_key_is_kept_for_the_transaction_and_no_longer() {
    let cluster =
        Cluster::with_extension_and(Options::default().set("max_prepared_transactions", "2"));
    let mut client = cluster.client(DATABASE, SUPERUSER);
    two_salts(&mut client);
    let ends = [
        "COMMIT",
        "ROLLBACK",
        "SAVEPOINT s; ROLLBACK TO s; COMMIT",
        "PREPARE TRANSACTION 'x'; COMMIT PREPARED 'x'",
    ];
    for end in ends {
        run(&mut client, "BEGIN");
        for _ in 0..3 {
            assert_eq!(text(&mut client, &open(1)).as_deref(), Some("value"));
        }
        run(&mut client, "SAVEPOINT before");
        let error = refused(&mut client, &open(2));
        assert_eq!(error.code().code(), "53400", "{end}");
        // Neither a subtransaction that is rolled back nor the error gives the work back.
        run(&mut client, "ROLLBACK TO before");
        assert_eq!(
            refused(&mut client, &open(2)).code().code(),
            "53400",
            "{end}"
        );
        run(&mut client, "ROLLBACK TO before");
        assert_eq!(text(&mut client, &open(1)).as_deref(), Some("value"));
        for statement in end.split("; ") {
            run(&mut client, statement);
        }
        // The other salt, in the next transaction.
        assert_eq!(text(&mut client, &open(2)).as_deref(), Some("value"));
    }
}

#[test]
fn a_long_derivation_can_be_cancelled() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.client(DATABASE, SUPERUSER);
    // for this statement only: what comes after it may take longer on a busy machine
    run(&mut client, "BEGIN; SET LOCAL statement_timeout = '50ms'");
    let error = refused(
        &mut client,
        "SELECT ward.encrypt_with_password('x', 'p', 10000000)",
    );
    assert_eq!(error.code().code(), "57014");
    // The session goes on.
    run(&mut client, "ROLLBACK");
    let again =
        "SELECT ward.decrypt_with_password(ward.encrypt_with_password('x', 'p', 100000), 'p')";
    assert_eq!(text(&mut client, again).as_deref(), Some("x"));
}

#[test]
fn no_message_holds_a_password_or_a_value() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.client(DATABASE, SUPERUSER);
    let envelope: Vec<u8> = client
        .query_one(
            "SELECT ward.encrypt_with_password($1, $2, 100000)",
            &[&"canary-value", &"canary-password"],
        )
        .unwrap()
        .get(0);
    let decrypt = "SELECT ward.decrypt_with_password($1, $2)";
    let mut changed = envelope.clone();
    *changed.last_mut().unwrap() ^= 1;
    let long = "canary-password".repeat(100);
    let tries: [(&[u8], &str); 4] = [
        (&envelope, "canary-wrong"),
        (&changed, "canary-password"),
        (b"canary-value", "canary-password"),
        (&envelope, &long),
    ];
    for (value, password) in tries {
        let error = client.query(decrypt, &[&value, &password]).unwrap_err();
        let shown = format!("{:?}", error.as_db_error().unwrap());
        assert!(!shown.contains("canary"), "{shown}");
    }
}
