//! Attacks on the sealed trail by a superuser. Each must be reported at its place, and the trail
//! must be valid again once the attack is undone.

use crate::audited_table;
use ward_tests::postgres::Client;
use ward_tests::{Cluster, Verdict, number, run, seal_and_verify, tamper, texts, verify};

struct Scene {
    _cluster: Cluster,
    client: Client,
    /// An entry in the middle block.
    entry: i64,
    /// The block that `entry` lies in.
    block: i64,
}

fn scene() -> Scene {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    audited_table(&mut client);
    for block in 0..3 {
        run(
            &mut client,
            &format!("INSERT INTO t SELECT {block} * 300 + g, 'n' FROM generate_series(1, 300) g"),
        );
        seal_and_verify(&mut client);
    }
    let entry = number(
        &mut client,
        "SELECT entry_id FROM ward.audit_trail WHERE record_id = '450'",
    );
    let block = number(
        &mut client,
        "SELECT block_no FROM ward.audit_trail WHERE record_id = '450'",
    );
    Scene {
        _cluster: cluster,
        client,
        entry,
        block,
    }
}

impl Scene {
    /// Attacks, has a look, undoes the attack.
    fn attack(&mut self, attack: &str, undo: &str) -> Verdict {
        tamper(&mut self.client, attack);
        let verdict = verify(&mut self.client);
        let violations = number(
            &mut self.client,
            "SELECT count(*) FROM ward.audit_violations()",
        );
        assert!(!verdict.is_valid, "unnoticed: {attack}");
        assert!(verdict.reason.is_some());
        assert!(
            violations > 0,
            "audit_violations() does not mention: {attack}"
        );
        tamper(&mut self.client, undo);
        seal_and_verify(&mut self.client);
        verdict
    }

    /// An attack on the entry itself, to be reported exactly there.
    fn attack_entry(&mut self, attack: &str, undo: &str) {
        let entry = self.entry;
        let verdict = self.attack(attack, undo);
        assert_eq!(verdict.first_bad_entry, Some(entry), "{verdict:?}");
    }

    /// An attack on the block, whose report must name the block.
    fn attack_block(&mut self, change: &str) {
        let block = self.block;
        let verdict = self.attack(
            &format!(
                "CREATE TABLE saved AS SELECT * FROM ward.audit_block WHERE block_no = {block};
                 UPDATE ward.audit_block SET {change} WHERE block_no = {block}"
            ),
            &format!(
                "DELETE FROM ward.audit_block WHERE block_no = {block};
                 INSERT INTO ward.audit_block SELECT * FROM saved; DROP TABLE saved"
            ),
        );
        let reason = verdict.reason.unwrap_or_default();
        assert!(reason.contains(&format!("block {block}")), "{reason}");
    }
}

const FLIP_IMAGE: &str =
    "set_byte(image, length(image) - 1, get_byte(image, length(image) - 1) # 1)";
const FLIP_LEAF: &str = "set_byte(leaf, length(leaf) - 1, get_byte(leaf, length(leaf) - 1) # 1)";

#[test]
fn a_value_edited() {
    let mut scene = scene();
    let entry = scene.entry;
    let flip = format!("UPDATE leaves SET image = {FLIP_IMAGE} WHERE entry_id = {entry}");
    scene.attack_entry(&flip, &flip);
}

#[test]
fn the_header_of_an_entry_edited() {
    let mut scene = scene();
    let entry = scene.entry;
    let flip = format!("UPDATE leaves SET leaf = {FLIP_LEAF} WHERE entry_id = {entry}");
    scene.attack_entry(&flip, &flip);
}

#[test]
fn the_image_of_an_entry_removed() {
    let mut scene = scene();
    let entry = scene.entry;
    scene.attack_entry(
        &format!(
            "CREATE TABLE saved AS SELECT * FROM leaves WHERE entry_id = {entry};
             UPDATE leaves SET image = NULL WHERE entry_id = {entry}"
        ),
        &format!(
            "UPDATE leaves s SET image = saved.image FROM saved
             WHERE s.entry_id = saved.entry_id; DROP TABLE saved"
        ),
    );
}

#[test]
fn an_entry_deleted() {
    let mut scene = scene();
    let entry = scene.entry;
    scene.attack_entry(
        &format!(
            "CREATE TABLE saved AS SELECT * FROM leaves WHERE entry_id = {entry};
             DELETE FROM leaves WHERE entry_id = {entry}"
        ),
        &format!("INSERT INTO leaves SELECT * FROM saved; DROP TABLE saved"),
    );
}

#[test]
fn an_entry_deleted_and_the_later_ones_renumbered() {
    let mut scene = scene();
    let entry = scene.entry;
    scene.attack_entry(
        &format!(
            "CREATE TABLE saved AS SELECT * FROM leaves WHERE entry_id = {entry};
             DELETE FROM leaves WHERE entry_id = {entry};
             UPDATE leaves SET entry_id = entry_id - 1 WHERE entry_id > {entry}"
        ),
        &format!(
            "UPDATE leaves SET entry_id = entry_id + 1 WHERE entry_id >= {entry};
             INSERT INTO leaves SELECT * FROM saved; DROP TABLE saved"
        ),
    );
}

#[test]
fn an_entry_inserted_and_the_later_ones_renumbered() {
    let mut scene = scene();
    let entry = scene.entry;
    scene.attack_entry(
        &format!(
            "UPDATE leaves SET entry_id = entry_id + 1 WHERE entry_id >= {entry};
             INSERT INTO leaves SELECT {entry}, leaf, image FROM leaves
               WHERE entry_id = {entry} - 1"
        ),
        &format!(
            "DELETE FROM leaves WHERE entry_id = {entry};
             UPDATE leaves SET entry_id = entry_id - 1 WHERE entry_id > {entry}"
        ),
    );
}

#[test]
fn a_second_entry_under_the_same_number() {
    let mut scene = scene();
    let entry = scene.entry;
    scene.attack_entry(
        &format!(
            "INSERT INTO leaves SELECT {entry}, leaf, image FROM leaves
               WHERE entry_id = {entry} - 1"
        ),
        &format!(
            "DELETE FROM leaves s WHERE entry_id = {entry}
               AND leaf = (SELECT leaf FROM leaves WHERE entry_id = {entry} - 1)"
        ),
    );
}

#[test]
fn an_entry_appended_behind_the_last_block() {
    let mut scene = scene();
    let next = number(
        &mut scene.client,
        "SELECT max(tree_size) FROM ward.audit_blocks",
    );
    let verdict = scene.attack(
        &format!(
            "INSERT INTO leaves SELECT {next}, leaf, image FROM leaves
               WHERE entry_id = {}",
            scene.entry
        ),
        &format!("DELETE FROM leaves WHERE entry_id = {next}"),
    );
    assert_eq!(verdict.first_bad_entry, Some(next), "{verdict:?}");
}

#[test]
fn two_entries_swapped() {
    let mut scene = scene();
    let entry = scene.entry;
    let swap = format!(
        "UPDATE leaves SET entry_id = 2 * {entry} + 5 - entry_id
           WHERE entry_id IN ({entry}, {entry} + 5)"
    );
    scene.attack_entry(&swap, &swap);
}

#[test]
fn the_images_of_two_entries_swapped() {
    let mut scene = scene();
    let entry = scene.entry;
    let swap = format!(
        "UPDATE leaves a SET image = b.image FROM leaves b
           WHERE a.entry_id IN ({entry}, {entry} + 5)
             AND b.entry_id = 2 * {entry} + 5 - a.entry_id"
    );
    scene.attack_entry(&swap, &swap);
}

#[test]
fn the_root_of_a_block_edited() {
    scene().attack_block("root = set_byte(root, 0, get_byte(root, 0) # 1)");
}

#[test]
fn the_size_of_a_block_edited() {
    scene().attack_block("tree_size = tree_size - 1");
}

#[test]
fn the_first_leaf_of_a_block_edited() {
    scene().attack_block("first_leaf = first_leaf + 1");
}

#[test]
fn the_snapshot_of_a_block_edited() {
    scene().attack_block(
        "snapshot = set_byte(snapshot, length(snapshot) - 1,
                             get_byte(snapshot, length(snapshot) - 1) # 1)",
    );
}

#[test]
fn the_time_of_a_block_edited() {
    scene().attack_block("sealed_at = sealed_at - interval '1 hour'");
}

#[test]
fn a_block_deleted() {
    let mut scene = scene();
    let block = scene.block;
    let verdict = scene.attack(
        &format!(
            "CREATE TABLE saved AS SELECT * FROM ward.audit_block WHERE block_no = {block};
             DELETE FROM ward.audit_block WHERE block_no = {block}"
        ),
        "INSERT INTO ward.audit_block SELECT * FROM saved; DROP TABLE saved",
    );
    let reason = verdict.reason.unwrap_or_default();
    assert!(reason.contains(&format!("block {block}")), "{reason}");
}

#[test]
fn a_tile_edited() {
    let mut scene = scene();
    let flip = "UPDATE ward.audit_tile SET hashes = set_byte(hashes, 0, get_byte(hashes, 0) # 1)
                WHERE level = 0 AND index = 0";
    let verdict = scene.attack(flip, flip);
    let reason = verdict.reason.unwrap_or_default();
    assert!(reason.contains("tile"), "{reason}");
}

#[test]
fn a_sealed_trail_reads_the_same_after_an_attack_was_undone() {
    let mut scene = scene();
    let all = "SELECT a::text FROM ward.audit_trail a ORDER BY entry_id";
    let before = texts(&mut scene.client, all);
    let entry = scene.entry;
    let flip = format!("UPDATE leaves SET image = {FLIP_IMAGE} WHERE entry_id = {entry}");
    scene.attack_entry(&flip, &flip);
    let after = texts(&mut scene.client, all);
    let differing = before.iter().zip(&after).find(|(old, new)| old != new);
    assert_eq!(differing, None);
    assert_eq!(before.len(), after.len());
}
