//! What retention refuses.

use crate::audit_retention::{SEGMENTS, assert_honest, insert, let_age, server, wait_published};
use ward_tests::postgres::Client;
use ward_tests::{number, refused, run, text, wait_until};

#[test]
fn what_is_refused() {
    let (cluster, mut client) = server();
    let refuse = |client: &mut Client, call: &str, code: &str, part: &str| {
        let error = refused(client, &format!("SELECT ward.{call}"));
        assert_eq!(error.code().code(), code, "{call}: {}", error.message());
        assert!(
            error.message().contains(part),
            "{call}: {}",
            error.message()
        );
    };
    let prune = "prune_audit_trail(now() - interval '1 millisecond')";
    refuse(&mut client, prune, "55000", "kept for ever");
    for call in [
        "prune_audit_trail(NULL)",
        "set_audit_retention(NULL)",
        "erase_audit_images(NULL::regclass, '1', 'r')",
        "erase_audit_images('t', NULL, 'r')",
        "erase_audit_images('t', '1', NULL)",
        "erase_audit_images(NULL, 't', '1', 'r')",
        "erase_audit_images('public', NULL, '1', 'r')",
    ] {
        refuse(&mut client, call, "22004", "must not be NULL");
    }
    refuse(
        &mut client,
        "set_audit_retention('-1 day')",
        "22023",
        "negative",
    );
    refuse(
        &mut client,
        "set_audit_retention('178000000 years')",
        "22003",
        "too long",
    );
    refuse(
        &mut client,
        "erase_audit_images('t', '1', '')",
        "22023",
        "reason",
    );
    refuse(
        &mut client,
        "erase_audit_images('t', '1', repeat('r', 4097))",
        "22023",
        "reason",
    );
    run(&mut client, "CREATE TABLE other (id int PRIMARY KEY)");
    refuse(
        &mut client,
        "erase_audit_images('other', '1', 'r')",
        "42704",
        "no entries of this table",
    );
    refuse(
        &mut client,
        "erase_audit_images('public', 'nowhere', '1', 'r')",
        "42704",
        "no entries of this table",
    );
    refuse(
        &mut client,
        "erase_audit_images(12345::regclass, '1', 'r')",
        "42P01",
        "no table",
    );

    // published before the segment was full
    insert(&mut client, 1, 10);
    wait_published(&mut client);
    cluster.append_settings("ward.checkpoint_interval = -1\n");
    cluster.reload();
    wait_until("no checkpoint is published any more", || {
        text(
            &mut client,
            "SELECT current_setting('ward.checkpoint_interval')",
        )
        .as_deref()
            == Some("-1")
    });
    let_age(&mut client);
    insert(&mut client, 11, 1100);
    refuse(&mut client, prune, "55000", "no published checkpoint");
    run(
        &mut client,
        "INSERT INTO ward.audit_checkpoints (origin, tree_size, note)
                      SELECT 'forged', max(tree_size), 'forged' FROM ward.audit_blocks",
    );
    refuse(&mut client, prune, "55000", "no published checkpoint");
    run(
        &mut client,
        "DELETE FROM ward.audit_checkpoints WHERE origin = 'forged'",
    );
    refuse(
        &mut client,
        "prune_audit_trail(now() + '1 day')",
        "22023",
        "retention period",
    );
    refuse(
        &mut client,
        "prune_audit_trail('infinity')",
        "22023",
        "retention period",
    );
    assert_eq!(
        number(&mut client, "SELECT ward.prune_audit_trail('-infinity')"),
        0
    );
    assert_eq!(number(&mut client, SEGMENTS), 2);

    run(
        &mut client,
        "CREATE ROLE nobody LOGIN; GRANT SELECT ON t TO nobody",
    );
    let mut nobody = cluster.client(ward_tests::DATABASE, "nobody");
    for call in [
        prune,
        "set_audit_retention('1 day')",
        "erase_audit_images('t', '1', 'r')",
        "erase_audit_images('public', 't', '1', 'r')",
        "archive_segment(0)",
        "audit_retention_state()",
    ] {
        refuse(&mut nobody, call, "42501", "permission denied");
    }
    assert_honest(&mut client);
}
