//! Every grant and every lack of one, and grants that arrive where their role is another.

use ward_tests::{Cluster, DATABASE, number, refused, run, text, texts};

const USAGES: [&str; 4] = ["encrypt", "decrypt", "search", "import"];

/// What a usage allows, and the statement that tries it.
const OPERATIONS: [(&str, &str); 2] = [
    ("encrypt", "SELECT ward.encrypt('x', 'k')"),
    ("decrypt", "SELECT ward.decrypt(value) FROM vault"),
];

#[test]
fn a_role_does_what_its_usages_allow_and_nothing_else() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "CREATE ROLE bob LOGIN;
         SELECT ward.generate_encryption_key('k');
         SELECT ward.generate_encryption_key('other', grantee => 'bob');
         SELECT ward.grant_key('other', 'bob', '{encrypt,decrypt,search,import}');
         CREATE TABLE vault AS SELECT ward.encrypt('x', 'k') AS value;
         GRANT SELECT ON vault TO bob",
    );
    let mut bob = cluster.client(DATABASE, "bob");
    // All sixteen sets, each given by grants alone, then taken away again one by one.
    for set in 0..16u32 {
        let held: Vec<&str> = (0..4)
            .filter(|bit| set & (1 << bit) != 0)
            .map(|bit| USAGES[bit])
            .collect();
        for usage in &held {
            run(
                &mut admin,
                &format!("SELECT ward.grant_key('k', 'bob', '{{{usage}}}')"),
            );
        }
        for (usage, statement) in OPERATIONS {
            if held.contains(&usage) {
                run(&mut bob, statement);
            } else {
                let error = refused(&mut bob, statement);
                assert_eq!(error.code().code(), "42501", "{held:?} {statement}");
                assert!(error.message().contains(usage), "{error:?}");
            }
        }
        for usage in &held {
            run(
                &mut admin,
                &format!("SELECT ward.revoke_key('k', 'bob', '{{{usage}}}')"),
            );
        }
        for (_, statement) in OPERATIONS {
            refused(&mut bob, statement);
        }
    }
    run(
        &mut admin,
        "SELECT ward.grant_key('k', 'bob', '{encrypt,decrypt,search,import}')",
    );
    run(&mut admin, "SELECT ward.revoke_key('k', 'bob')");
    let left = "SELECT name || ' ' || role_name || ' ' || usage::text || ' ' || counts
                FROM ward.key_grants WHERE role_name = 'bob'";
    assert_eq!(
        texts(&mut admin, left),
        ["other bob {encrypt,decrypt,search,import} true"]
    );
}

#[test]
fn a_dump_hands_a_key_to_nobody_on_another_server() {
    let source = Cluster::with_extension();
    let mut admin = source.superuser();
    run(
        &mut admin,
        "CREATE ROLE bob LOGIN; CREATE ROLE carol LOGIN;
         SELECT ward.generate_encryption_key('k');
         SELECT ward.grant_key('k', 'bob');
         SELECT ward.grant_key('k', 'carol');
         CREATE TABLE vault AS SELECT ward.encrypt('attack at dawn', 'k') AS value;
         GRANT SELECT ON vault TO PUBLIC",
    );
    let dump = source.client_program("pg_dump", DATABASE).output().unwrap();
    assert!(dump.status.success(), "{dump:?}");

    let mut target = Cluster::start(ward_tests::Options::default());
    target.stop();
    let key = std::fs::read_to_string(source.master_key_file()).unwrap();
    target.write_master_key(&key, 0o600);
    target.start_again().unwrap();
    // Here bob's OID is mallory's, and the others have OIDs of their own.
    let mut other = target.client("postgres", "postgres");
    run(
        &mut other,
        "CREATE ROLE mallory LOGIN; CREATE ROLE carol_was_here; CREATE ROLE carol LOGIN;
         CREATE ROLE bob LOGIN",
    );
    let bob = number(
        &mut admin,
        "SELECT oid::bigint FROM pg_roles WHERE rolname = 'bob'",
    );
    run(
        &mut other,
        &format!(
            "UPDATE pg_authid SET oid = {} WHERE oid = {bob};
             UPDATE pg_authid SET oid = {bob} WHERE rolname = 'mallory'",
            bob + 1000
        ),
    );
    run(&mut other, "CREATE DATABASE app");
    let restored = target.psql(&String::from_utf8(dump.stdout).unwrap());
    assert!(restored.status.success(), "{restored:?}");
    let mut client = target.superuser();
    let oids = "SELECT role_oid = (SELECT oid FROM pg_roles WHERE rolname = 'mallory')
                FROM ward.key_grants WHERE role_name = 'bob'";
    let same: bool = client.query_one(oids, &[]).unwrap().get(0);
    assert!(same, "the test needs a role with bob's OID");
    let open = "SELECT ward.decrypt(value) FROM vault";
    for role in ["mallory", "bob", "carol", "carol_was_here"] {
        run(&mut client, &format!("SET ROLE {role}"));
        assert_eq!(refused(&mut client, open).code().code(), "42501", "{role}");
        run(&mut client, "RESET ROLE");
    }
    let counts = "SELECT role_name || ' ' || counts FROM ward.key_grants ORDER BY role_name";
    assert_eq!(
        texts(&mut client, counts),
        ["bob false", "carol false", "postgres true"]
    );
    // Granted anew, it counts; and what was somebody else's is not extended.
    run(
        &mut client,
        "SELECT ward.grant_key('k', 'bob', '{decrypt}')",
    );
    let usage = "SELECT usage::text || counts FROM ward.key_grants WHERE role_name = 'bob'";
    assert_eq!(text(&mut client, usage).as_deref(), Some("{decrypt}true"));
    let mut bob = target.client(DATABASE, "bob");
    assert_eq!(text(&mut bob, open).as_deref(), Some("attack at dawn"));
}
