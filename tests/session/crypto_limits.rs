//! The largest values, and additional data of any size.

use ward_tests::{Cluster, DATABASE, SUPERUSER, number, refused, run, text};

/// A field has 2^30 - 1 bytes, of which PostgreSQL's header takes 4 and an envelope 52.
const LONGEST: i64 = (1 << 30) - 1 - 4 - 52;

#[test]
fn the_longest_value_fits_and_one_byte_more_is_refused() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.client(DATABASE, SUPERUSER);
    run(&mut client, "SELECT ward.generate_encryption_key('main')");
    let encrypted = format!("SELECT length(ward.encrypt(repeat('x', {LONGEST})))::bigint");
    assert_eq!(number(&mut client, &encrypted), LONGEST + 52);
    let error = refused(
        &mut client,
        &format!("SELECT length(ward.encrypt(repeat('x', {})))", LONGEST + 1),
    );
    assert_eq!(error.code().code(), "54000");
    // What is that long opens too; half of it, so that the machine's memory suffices.
    let half = LONGEST / 2;
    let opened = format!(
        "SELECT (ward.decrypt(ward.encrypt(repeat('x', {half}))) = repeat('x', {half}))::text"
    );
    assert_eq!(text(&mut client, &opened).as_deref(), Some("true"));
}

#[test]
fn a_value_for_which_there_is_no_memory_ends_the_statement_and_not_the_server() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.client(DATABASE, SUPERUSER);
    let mut other = cluster.client(DATABASE, SUPERUSER);
    run(
        &mut other,
        "SELECT ward.generate_encryption_key('main');
         CREATE TABLE long (plain text, value bytea, mail ward.secret_text('main'), doc jsonb, sealed jsonb);
         ALTER TABLE long ALTER plain SET STORAGE external;
         INSERT INTO long SELECT t, ward.encrypt(t), t, jsonb_build_object('a', t),
             ward.encrypt_fields(jsonb_build_object('a', t), '{a}') FROM repeat('x', 34000000) t",
    );
    text(&mut client, "SELECT ward.decrypt(ward.encrypt('x'))");
    // The longer the statement gets, the less is left for the next copy.
    let pid = number(&mut client, "SELECT pg_backend_pid()::bigint").to_string();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let size = status.lines().find(|line| line.starts_with("VmSize:"));
    let size = size.and_then(|line| line.split_whitespace().nth(1));
    let size: u64 = size.unwrap().parse().unwrap();
    let mut refusals = 0;
    for more in (16..176).step_by(17) {
        // As the server's user, who alone may.
        let limit = (size + more * 1024) * 1024;
        run(
            &mut other,
            &format!("COPY (SELECT) TO PROGRAM 'prlimit --pid {pid} --as={limit}:'"),
        );
        for statement in [
            "SELECT length(ward.reencrypt(value))::bigint FROM long",
            "SELECT length(ward.encrypt(doc))::bigint FROM long",
            "SELECT length(ward.decrypt(value))::bigint FROM long",
            "SELECT length(plain::ward.secret_text('main')::text)::bigint FROM long",
            "SELECT length(ward.encrypt_fields(doc, '{a}')::text)::bigint FROM long",
            "SELECT length(ward.decrypt_fields(sealed, '{a}')::text)::bigint FROM long",
            "SELECT length(ward.encrypt('x', aad => plain))::bigint FROM long",
            "SELECT length(ward.encrypt_fields('{\"a\": 1}', '{a}', aad => plain)::text)::bigint FROM long",
            "SELECT length(mail::text::ward.secret_text::ward.secret_text('main')::text)::bigint FROM long",
        ] {
            if let Err(error) = client.query(statement, &[]) {
                let code = error.code().map(|code| code.code().to_owned());
                assert_eq!(
                    code.as_deref(),
                    Some("53200"),
                    "{statement} {more}: {error}"
                );
                refusals += 1;
            }
        }
    }
    assert!(refusals > 0);
    assert_eq!(text(&mut other, "SELECT 'alive'").as_deref(), Some("alive"));
}

#[test]
fn a_field_too_long_for_a_document_is_refused() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(&mut client, "SELECT ward.generate_encryption_key('main')");
    // A string of jsonb has 256 MB; encrypted and in base64 it would be longer.
    let error = refused(
        &mut client,
        "SELECT length(ward.encrypt_fields(jsonb_build_object('a', repeat('x', 202000000)), '{a}')::text)",
    );
    assert_eq!(error.code().code(), "54000");
    assert_eq!(
        text(&mut client, "SELECT 'alive'").as_deref(),
        Some("alive")
    );
}

#[test]
fn additional_data_and_bytes_of_any_kind() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.client(DATABASE, SUPERUSER);
    run(&mut client, "SELECT ward.generate_encryption_key('main')");
    run(
        &mut client,
        "CREATE TABLE huge AS SELECT ward.encrypt('value', aad => repeat('a', 100000000)) AS e",
    );
    let decrypt = "SELECT ward.decrypt(e, repeat('a', 100000000)) FROM huge";
    assert_eq!(text(&mut client, decrypt).as_deref(), Some("value"));
    let error = refused(
        &mut client,
        "SELECT ward.decrypt(e, repeat('a', 99999999)) FROM huge",
    );
    assert_eq!(error.code().code(), "XX001");

    // Not UTF-8, zero bytes, and what looks like an envelope itself.
    let envelope: Vec<u8> = client.query_one("SELECT e FROM huge", &[]).unwrap().get(0);
    for bytes in [&b"\xFF\xFE\x00\xC3\x28"[..], b"", b"\0", &envelope] {
        let opened: Vec<u8> = client
            .query_one(
                "SELECT ward.decrypt_bytea(ward.encrypt($1::bytea))",
                &[&bytes],
            )
            .unwrap()
            .get(0);
        assert_eq!(opened, bytes);
    }
}

#[test]
fn a_hostile_document_cannot_crash_the_server() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.client(DATABASE, SUPERUSER);
    run(&mut client, "SELECT ward.generate_encryption_key('main')");
    run(
        &mut client,
        "CREATE FUNCTION deep(depth int) RETURNS jsonb LANGUAGE sql AS
         $$ SELECT (repeat('{\"a\":[', depth) || '1' || repeat(']}', depth))::jsonb $$",
    );
    for depth in [1, 10, 100, 1000] {
        for field in ["a", "a.*", "a.*.a", "a.*.a.*.a"] {
            let same = format!(
                "SELECT (ward.decrypt_fields(ward.encrypt_fields(deep({depth}), ARRAY['{field}']), ARRAY['{field}'])
                        = deep({depth}))::text"
            );
            match client.query_one(&same, &[]) {
                Ok(row) => assert_eq!(row.get::<_, &str>(0), "true", "{depth} {field}"),
                // The path leads into the number.
                Err(error) => {
                    assert_eq!((depth, error.code().unwrap().code()), (1, "22023"));
                    assert!(field.len() > 3);
                }
            }
        }
    }
    // As deep as jsonb itself allows, which depends on max_stack_depth.
    let depth = (1..)
        .map(|step| step * 500)
        .find(|depth| client.query(&format!("SELECT deep({depth})"), &[]).is_err())
        .unwrap();
    for depth in [depth - 500, depth] {
        let statement = format!("SELECT ward.encrypt_fields(deep({depth}), '{{a}}')");
        if let Err(error) = client.query(&statement, &[]) {
            assert_eq!(error.code().unwrap().code(), "54001");
        }
    }
    assert_eq!(
        text(&mut client, "SELECT 'alive'").as_deref(),
        Some("alive")
    );
}
