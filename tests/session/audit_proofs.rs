//! Proofs out of SQL, verified with nothing but PostgreSQL's own sha256().

use crate::audited_table;
use ward_tests::postgres::Client;
use ward_tests::{Cluster, number, refused, run, tamper, text};

type Hash = Vec<u8>;

fn sha256(client: &mut Client, bytes: &[u8]) -> Hash {
    let row = client.query_one("SELECT sha256($1::bytea)", &[&bytes]);
    row.expect("hash").get(0)
}

fn node(client: &mut Client, left: &[u8], right: &[u8]) -> Hash {
    sha256(client, &[&[1], left, right].concat())
}

/// MTH of RFC 6962, section 2.1.
fn root(client: &mut Client, leaves: &[Hash]) -> Hash {
    if leaves.len() == 1 {
        return leaves[0].clone();
    }
    let k = 1 << (leaves.len() - 1).ilog2();
    let (left, right) = (root(client, &leaves[..k]), root(client, &leaves[k..]));
    node(client, &left, &right)
}

/// The root that an inclusion proof leads to: RFC 9162, section 2.1.3.2.
fn climb(client: &mut Client, leaf: &Hash, index: usize, size: usize, proof: &[Hash]) -> Hash {
    let (mut at, mut last, mut hash) = (index, size - 1, leaf.clone());
    for sibling in proof {
        if at % 2 == 1 || at == last {
            hash = node(client, sibling, &hash);
            while at % 2 == 0 && at != 0 {
                at /= 2;
                last /= 2;
            }
        } else {
            hash = node(client, &hash, sibling);
        }
        at /= 2;
        last /= 2;
    }
    assert_eq!(last, 0);
    hash
}

#[test]
fn proofs_of_a_trail_hold_and_are_for_its_readers() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    let nothing = refused(&mut client, "SELECT ward.audit_inclusion_proof(0)");
    assert_eq!(nothing.code().code(), "55000");
    audited_table(&mut client);
    for block in 0..4 {
        run(
            &mut client,
            &format!("INSERT INTO t SELECT {block} * 10 + g, 'n' FROM generate_series(1, 10) g"),
        );
        run(&mut client, "SELECT ward.seal_audit_trail()");
    }
    let leaves: Vec<Hash> = ward_tests::leaves(&mut client)
        .iter()
        .map(|leaf| sha256(&mut client, &[&[0], leaf.as_slice()].concat()))
        .collect();
    let sizes: Vec<i64> = client
        .query("SELECT tree_size FROM ward.audit_blocks ORDER BY 1", &[])
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let size = leaves.len();
    assert_eq!(sizes.last(), Some(&(size as i64)));
    let whole = root(&mut client, &leaves);
    for index in [0, 1, 17, size - 1] {
        let row = client.query_one("SELECT ward.audit_inclusion_proof($1)", &[&(index as i64)]);
        let proof: Vec<Hash> = row.unwrap().get(0);
        assert_eq!(
            climb(&mut client, &leaves[index], index, size, &proof),
            whole
        );
    }
    let (old, old_root) = (sizes[0], root(&mut client, &leaves[..sizes[0] as usize]));
    let row = client.query_one("SELECT ward.audit_inclusion_proof(1, $1)", &[&old]);
    let proof: Vec<Hash> = row.unwrap().get(0);
    let climbed = climb(&mut client, &leaves[1], 1, old as usize, &proof);
    assert_eq!(climbed, old_root);
    // a proof of consistency from a power of two is the right siblings on the way up
    let row = client.query_one("SELECT ward.audit_consistency_proof(16, 32)", &[]);
    let proof: Vec<Hash> = row.unwrap().get(0);
    assert_eq!(proof, vec![root(&mut client, &leaves[16..32])]);
    for none in ["0", "5, 5"] {
        let empty = number(
            &mut client,
            &format!("SELECT cardinality(ward.audit_consistency_proof({none}))::bigint"),
        );
        assert_eq!(empty, 0);
    }
    ranges_are_checked(&mut client, size);
    readers_only(&cluster, &mut client);
    corruption_is_not_proved(&mut client);
}

fn ranges_are_checked(client: &mut Client, size: usize) {
    for (call, code) in [
        (format!("audit_inclusion_proof({size})"), "22003"),
        ("audit_inclusion_proof(5, 5)".into(), "22003"),
        (format!("audit_inclusion_proof(5, {})", size + 1), "22003"),
        ("audit_inclusion_proof(-1)".into(), "22003"),
        ("audit_inclusion_proof(NULL)".into(), "22004"),
        ("audit_consistency_proof(6, 5)".into(), "22023"),
        (
            "audit_consistency_proof(9223372036854775807)".into(),
            "22023",
        ),
        ("audit_consistency_proof(NULL)".into(), "22004"),
        (format!("audit_proof({size})"), "22003"),
        ("audit_proof(-1)".into(), "22003"),
        ("audit_proof(NULL)".into(), "22004"),
        (format!("audit_witness_request({})", size + 1), "22023"),
        ("audit_witness_request(NULL)".into(), "22004"),
        (format!("export_audit_trail({size})"), "22003"),
        ("export_audit_trail(-1)".into(), "22003"),
        ("export_audit_trail(NULL)".into(), "22004"),
    ] {
        let error = refused(client, &format!("SELECT ward.{call}"));
        assert_eq!(error.code().code(), code, "{call}: {}", error.message());
    }
}

fn readers_only(cluster: &Cluster, client: &mut Client) {
    run(
        client,
        "CREATE ROLE nobody LOGIN; CREATE ROLE auditor LOGIN; GRANT SELECT ON ward.audit_trail TO auditor",
    );
    for call in [
        "audit_inclusion_proof(1)",
        "audit_consistency_proof(1)",
        "audit_proof(1)",
        "audit_witness_request(1)",
        "export_audit_trail()",
    ] {
        let query = format!("SELECT ward.{call}");
        let error = refused(&mut cluster.client(ward_tests::DATABASE, "nobody"), &query);
        assert_eq!(error.code().code(), "42501", "{call}");
        run(&mut cluster.client(ward_tests::DATABASE, "auditor"), &query);
    }
}

fn corruption_is_not_proved(client: &mut Client) {
    tamper(
        client,
        "UPDATE leaves SET leaf = set_byte(leaf, 3, get_byte(leaf, 3) # 1) WHERE entry_id = 7",
    );
    let error = refused(client, "SELECT ward.audit_proof(7)");
    assert_eq!(error.code().code(), "XX001");
    assert!(text(client, "SELECT ward.audit_proof(8)").is_some());
    run(client, "DELETE FROM ward.audit_tile");
    let error = refused(client, "SELECT ward.audit_inclusion_proof(8)");
    assert_eq!(error.code().code(), "XX001");
}
