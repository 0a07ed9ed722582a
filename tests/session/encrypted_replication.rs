//! Encrypted columns where changes are decoded and applied: what runs beside them gains nothing by it.

use ward_tests::{Cluster, DATABASE, SUPERUSER, number, run, text, texts, wait_until};

#[test]
fn an_output_plugin_may_print_the_modifier_of_a_type() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    // A type whose values print as modifiers do: the plugin at hand prints no modifiers by itself.
    run(
        &mut client,
        "SELECT ward.generate_encryption_key('k');
         CREATE TYPE shown;
         CREATE FUNCTION shown_in(cstring) RETURNS shown LANGUAGE internal IMMUTABLE STRICT AS 'int4in';
         CREATE FUNCTION shown_out(shown) RETURNS cstring LANGUAGE c STABLE STRICT
             AS '$libdir/pg_ward', 'ward_encrypted_text_typmod_out';
         CREATE TYPE shown (INPUT = shown_in, OUTPUT = shown_out, LIKE = int4);
         CREATE TABLE t (mail ward.encrypted_text('k'));
         CREATE TABLE modifiers (modifier shown)",
    );
    run(
        &mut client,
        "SELECT pg_create_logical_replication_slot('s', 'test_decoding')",
    );
    let modifier = "SELECT atttypmod::bigint FROM pg_attribute WHERE attrelid = 't'::regclass AND attname = 'mail'";
    let modifier = number(&mut client, modifier);
    run(
        &mut client,
        &format!("INSERT INTO modifiers VALUES ('{modifier}'), ('-1')"),
    );
    // With what the session has read before, and in one that has read nothing.
    let shown = "SELECT format('%s', modifier) FROM modifiers";
    assert_eq!(texts(&mut client, shown), ["('k')", ""]);
    for mut client in [client, cluster.superuser()] {
        let changes = texts(
            &mut client,
            "SELECT data FROM pg_logical_slot_peek_changes('s', NULL, NULL) WHERE data LIKE 'table%'",
        );
        assert_eq!(changes.len(), 2);
        let number = format!("(''#{modifier}'')");
        assert!(changes[0].contains(&number), "{changes:?}");
    }
}

#[test]
fn code_of_a_tables_owner_in_an_apply_worker_brings_in_no_ciphertext() {
    let publisher = Cluster::with_extension();
    let subscriber = Cluster::with_extension();
    let mut source = publisher.superuser();
    let mut target = subscriber.superuser();
    run(
        &mut source,
        "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t",
    );
    run(
        &mut target,
        "SELECT ward.generate_encryption_key('k');
         CREATE ROLE thief LOGIN SUPERUSER;
         SELECT ward.grant_key('k', 'thief', '{encrypt,decrypt,search}');
         CREATE TABLE secret (mail ward.encrypted_text('k'));
         INSERT INTO secret VALUES ('the secret')",
    );
    let stolen = text(&mut target, "SELECT format('%s', mail) FROM secret").unwrap();
    run(
        &mut target,
        &format!(
            "CREATE TABLE t (id int PRIMARY KEY, mine ward.encrypted_text('k'));
             ALTER TABLE t OWNER TO thief;
             CREATE FUNCTION paste() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 EXECUTE 'SELECT ''{stolen}''::ward.encrypted_text(''k'')' INTO NEW.mine;
                 RETURN NEW;
             END $$;
             CREATE TRIGGER paste BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION paste();
             ALTER TABLE t ENABLE ALWAYS TRIGGER paste"
        ),
    );
    // Version 15 applies as the subscription's owner, later ones as the table's.
    let version = "SELECT current_setting('server_version_num')::bigint";
    let owner = match number(&mut target, version) {
        ..160_000 => "thief",
        _ => SUPERUSER,
    };
    run(&mut source, "INSERT INTO t VALUES (1)");
    run(
        &mut subscriber.client(DATABASE, owner),
        &format!(
            "CREATE SUBSCRIPTION s CONNECTION 'host={} port=5432 dbname={DATABASE} user=postgres' PUBLICATION p WITH (enabled = false, create_slot = true)",
            publisher.socket_directory().display()
        ),
    );
    run(&mut target, "ALTER ROLE thief NOSUPERUSER");
    run(&mut target, "ALTER SUBSCRIPTION s ENABLE");
    wait_until("the table is copied", || {
        number(&mut target, "SELECT count(*) FROM t") == 1
    });
    run(&mut source, "INSERT INTO t VALUES (2)");
    wait_until("the row is applied", || {
        number(&mut target, "SELECT count(*) FROM t") == 2
    });
    // Taken for a text like any other.
    assert_eq!(
        texts(&mut target, "SELECT mine::text FROM t"),
        [stolen.as_str(), stolen.as_str()]
    );
    run(&mut target, "DROP SUBSCRIPTION s");
}
