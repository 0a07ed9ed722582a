//! Checks of the extension's state that depend on the order of events.

use ward_tests::{Cluster, number, run, text, texts};

/// The checks that are tested here and in `posture_server`, in tests of their own.
pub const CHECKS: &[&str] = &[
    "access.privileged_session",
    "ward.master_key_environment",
    "ward.master_key_missing",
    "ward.master_key_mixed",
    "ward.master_key_several",
    "ward.no_checkpoint",
    "ward.nothing_audited",
    "ward.trail_invalid",
];

#[test]
fn from_nothing_audited_to_a_trail_that_was_tampered_with() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    let checks = "SELECT check_id FROM ward.security_posture() WHERE check_id IN ('ward.nothing_audited', 'ward.no_checkpoint', 'ward.seal_lag', 'ward.worker')";
    assert_eq!(texts(&mut admin, checks), ["ward.nothing_audited"]);
    run(
        &mut admin,
        "CREATE TABLE t (n int); SELECT ward.enable_audit('t'); INSERT INTO t VALUES (1)",
    );
    run(&mut admin, "SELECT ward.seal_audit_trail()");
    assert_eq!(texts(&mut admin, checks), ["ward.no_checkpoint"]);
    // The worker publishes into the table by itself; here it is as if it had not.
    ward_tests::wait_until("the worker has published", || {
        number(&mut admin, "SELECT count(*) FROM ward.audit_checkpoints") > 0
    });
    run(&mut admin, "DELETE FROM ward.audit_checkpoints");
    // With a way out it is the worker's to publish, and it has an hour.
    let waiting = "SELECT check_id FROM ward.posture_checkpoints('{\"ward.checkpoint_file\": \"/mnt/far/checkpoint\"}')";
    assert!(texts(&mut admin, waiting).is_empty());
    run(
        &mut admin,
        "UPDATE ward.audit_block SET sealed_at = sealed_at - interval '2 hours'",
    );
    assert_eq!(texts(&mut admin, waiting), ["ward.no_checkpoint"]);
    run(
        &mut admin,
        "INSERT INTO ward.audit_checkpoints (origin, tree_size, note) SELECT 'here', max(tree_size), 'a note' FROM ward.audit_block",
    );
    assert!(texts(&mut admin, waiting).is_empty());
    run(
        &mut admin,
        "TRUNCATE ward.audit_checkpoints; UPDATE ward.audit_block SET sealed_at = sealed_at + interval '2 hours'",
    );

    let trail = |client: &mut ward_tests::postgres::Client, verify: bool| {
        text(
            client,
            &format!(
                "SELECT status FROM ward.run_security_validation(verify_trail => {verify}) WHERE check_id = 'ward.trail_invalid'"
            ),
        )
    };
    assert_eq!(trail(&mut admin, false).as_deref(), Some("SKIP"));
    assert_eq!(trail(&mut admin, true).as_deref(), Some("PASS"));
    run(
        &mut admin,
        "UPDATE ward.audit_block SET sealed_at = sealed_at + interval '1 day'",
    );
    assert_eq!(trail(&mut admin, true).as_deref(), Some("FAIL"));
}

#[test]
fn validation_lists_every_check_once_and_says_how_it_stands_as_a_whole() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    assert_eq!(
        number(
            &mut admin,
            "SELECT count(*) FROM ward.run_security_validation()"
        ),
        number(&mut admin, "SELECT count(*) FROM ward.posture_checks")
    );
    let overall = "SELECT DISTINCT overall_status FROM ward.run_security_validation()";
    assert_eq!(texts(&mut admin, overall), ["FAIL"]);
    let odd = "SELECT check_id FROM ward.run_security_validation()
               WHERE status NOT IN ('PASS', 'FAIL', 'INFO', 'SKIP') OR (status IN ('FAIL', 'INFO')) <> (findings > 0) OR (status = 'INFO') <> (findings > 0 AND level = 'info')";
    assert!(texts(&mut admin, odd).is_empty());
    // What is left is waived: nothing fails any more, and the score is full.
    run(
        &mut admin,
        "SELECT ward.waive_finding(check_id, object, 'a test') FROM ward.security_posture() WHERE level <> 'skipped'",
    );
    assert_eq!(texts(&mut admin, overall), ["PASS"]);
    assert_eq!(
        number(&mut admin, "SELECT ward.security_score()::bigint"),
        100
    );
    run(
        &mut admin,
        "SELECT ward.unwaive_finding('server.hba_trust', object) FROM ward.posture_waiver WHERE check_id = 'server.hba_trust'",
    );
    assert!(number(&mut admin, "SELECT ward.security_score()::bigint") < 50);
}
