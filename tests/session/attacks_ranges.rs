//! What a superuser can do to the log's tables so that the verification of a part does not see what he has altered.

use crate::audited_table;
use crate::verify_sql::{entry_of, flip, four_blocks, range};
use ward_tests::{Cluster, Options, number, run, seal_and_verify, tamper, text, verify};

#[test]
fn blocks_that_are_said_to_be_older_or_younger_than_they_are() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    let moments = four_blocks(&mut client);
    let altered = entry_of(&mut client, 2100);
    let block = format!(
        "SELECT block_no FROM ward.audit_blocks WHERE {altered} BETWEEN first_entry AND tree_size - 1"
    );
    let block = number(&mut client, &block);
    run(&mut client, "CREATE TABLE saved AS TABLE ward.audit_block");
    flip(&mut client, altered);
    // the range has the altered block and that behind it, or all from the one before on
    let ranges = [
        (moments[1].as_str(), "infinity"),
        (&moments[0], "infinity"),
        (&moments[1], &moments[2]),
    ];
    for shift in [
        format!("sealed_at - interval '1 year' WHERE block_no <= {block}"),
        format!("sealed_at - interval '1 year' WHERE block_no = {block}"),
        format!("sealed_at - interval '1 year' WHERE block_no >= {block}"),
        "sealed_at - interval '1 year'".to_owned(),
        "'-infinity'".to_owned(),
        format!(
            "sealed_at + interval '1 year' WHERE block_no >= {}",
            block - 1
        ),
        "sealed_at + interval '1 year'".to_owned(),
    ] {
        run(
            &mut client,
            &format!("UPDATE ward.audit_block SET sealed_at = {shift}"),
        );
        for (from, to) in ranges {
            let found = range(&mut client, from, to);
            assert!(!found.is_valid, "{shift}: {from} {to}: {found:?}");
        }
        run(
            &mut client,
            "UPDATE ward.audit_block b SET sealed_at = s.sealed_at FROM saved s WHERE s.block_no = b.block_no",
        );
    }
    // nor does another block's seal leaf, or none, say when a block was sealed
    for size in ["tree_size - 1", "first_leaf + 1", "9223372036854775807"] {
        run(
            &mut client,
            &format!(
                "UPDATE ward.audit_block SET tree_size = {size}, sealed_at = '2000-01-01' WHERE block_no = {block}"
            ),
        );
        assert!(
            !range(&mut client, &moments[1], "infinity").is_valid,
            "{size}"
        );
    }
    run(
        &mut client,
        "UPDATE ward.audit_block b SET sealed_at = s.sealed_at, tree_size = s.tree_size FROM saved s
         WHERE s.block_no = b.block_no",
    );
    flip(&mut client, altered);
    seal_and_verify(&mut client);
    for (from, to) in ranges {
        assert!(range(&mut client, from, to).is_valid);
    }
}

/// The root over 256 leaf hashes, the one at `at` replaced by that of `leaf`.
const FORGED_ROOT: &str = "
    CREATE FUNCTION forged_root(tile bigint, at int, leaf bytea) RETURNS bytea LANGUAGE plpgsql AS $$
    DECLARE
        level bytea[];
        above bytea[];
    BEGIN
        SELECT array_agg(substr(hashes, i * 32 + 1, 32) ORDER BY i) INTO level
            FROM ward.audit_tile, generate_series(0, 255) i WHERE audit_tile.level = 0 AND index = tile;
        level[at + 1] := sha256('\\x00' || leaf);
        WHILE array_length(level, 1) > 1 LOOP
            SELECT array_agg(sha256('\\x01' || level[2 * i - 1] || level[2 * i]) ORDER BY i) INTO above
                FROM generate_series(1, array_length(level, 1) / 2) i;
            level := above;
        END LOOP;
        RETURN level[1];
    END $$";

#[test]
fn an_erasure_behind_the_range_that_only_stored_hashes_know_of() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    let moments = four_blocks(&mut client);
    // the range ends within a tile, and the leaf that is made up would lie in the rest of that
    let covered = "SELECT tree_size FROM ward.audit_blocks WHERE block_no =
        (SELECT block_no + 1 FROM ward.audit_trail WHERE record_id = '100')";
    let end = number(&mut client, covered);
    let made_up = end + 5;
    assert_eq!(end >> 8, made_up >> 8);
    assert!(
        number(&mut client, "SELECT max(tree_size) FROM ward.audit_blocks")
            > ((made_up >> 8) + 1) << 8
    );
    let entry = entry_of(&mut client, 100);
    tamper(
        &mut client,
        &format!("UPDATE leaves SET image = NULL WHERE entry_id = {entry}"),
    );
    let found = range(&mut client, "-infinity", &moments[0]);
    assert_eq!(found.first_bad_entry, Some(entry), "{found:?}");
    run(&mut client, FORGED_ROOT);
    run(
        &mut client,
        &format!(
            "CREATE TABLE forged AS SELECT '\\x1401'::bytea || int8send(1) || int4send(1) || int4send(1) || int8send(0)
                 || int4send('t'::regclass::oid::int) || int2send(6::int2) || 'public'::bytea || int2send(1::int2) || 't'::bytea
                 || int2send(3::int2) || '100'::bytea || int2send(1::int2) || 'r'::bytea AS leaf;
             INSERT INTO ward.audit_removal (entry_id, kind, leaf, to_entry, sealed_by, removed)
                 SELECT {made_up}, 'erase', leaf, {made_up}, 1, 1 FROM forged;
             UPDATE ward.audit_tile SET hashes = overlay(hashes PLACING
                     (SELECT forged_root({made_up} >> 8, {made_up} & 255, leaf) FROM forged) FROM ({made_up} >> 8)::int * 32 + 1)
                 WHERE level = 1 AND index = 0"
        ),
    );
    let found = range(&mut client, "-infinity", &moments[0]);
    assert_eq!(found.first_bad_entry, Some(entry), "{found:?}");
}

/// What was written in a former xid space must not come again in a later one. A prepared transaction stands for it here, and
/// what the table of incarnations says of the one that began meanwhile is altered.
#[test]
fn a_transaction_of_a_former_xid_space_in_a_part_of_the_log() {
    let cluster =
        Cluster::with_extension_and(Options::default().set("max_prepared_transactions", "2"));
    let mut client = cluster.superuser();
    audited_table(&mut client);
    run(&mut client, "INSERT INTO t VALUES (1, 'a')");
    seal_and_verify(&mut client);
    run(
        &mut client,
        "BEGIN; INSERT INTO t VALUES (2, 'prepared'); PREPARE TRANSACTION 'p'",
    );
    run(&mut client, "SELECT ward.declare_restore('a rehearsal')");
    seal_and_verify(&mut client);
    run(&mut client, "COMMIT PREPARED 'p'");
    seal_and_verify(&mut client);
    run(&mut client, "INSERT INTO t VALUES (3, 'c')");
    seal_and_verify(&mut client);
    let sealed = "SELECT sealed_at::text FROM ward.audit_blocks JOIN ward.audit_trail USING (block_no) WHERE record_id = '2'";
    let sealed = text(&mut client, sealed).unwrap();
    let found = range(&mut client, &sealed, "infinity");
    assert!(found.is_valid, "{found:?}");
    run(
        &mut client,
        "UPDATE ward.audit_log SET new_xids = true WHERE reason LIKE 'declared%'",
    );
    let reason = range(&mut client, &sealed, "infinity").reason.unwrap();
    assert!(reason.starts_with("incarnation_unknown"), "{reason}");
    assert!(verify(&mut client).is_valid);
}
