//! Security posture: every check finds its weakness, and finds it no more once it was mended. Mended
//! with the finding's own remedy where that is SQL to run.

use crate::posture_cases::{BASE, Case, ISOLATION};
use crate::posture_cases_access::{ACCESS, EXTENSION};
use std::collections::BTreeSet;
use ward_tests::postgres::Client;
use ward_tests::{Cluster, DATABASE, number, run, text, texts};

/// A finding of `ward.security_posture()`.
struct Finding {
    check: String,
    object: Option<String>,
    remedy: Option<String>,
}

fn findings(client: &mut Client) -> Vec<Finding> {
    client
        .query(
            "SELECT check_id, object, remediation FROM ward.security_posture() WHERE waived IS NULL",
            &[],
        )
        .expect("the posture")
        .iter()
        .map(|row| Finding {
            check: row.get(0),
            object: row.get(1),
            remedy: row.get(2),
        })
        .collect()
}

fn find<'a>(findings: &'a [Finding], case: &Case) -> Option<&'a Finding> {
    findings
        .iter()
        .find(|f| f.check == case.check && f.object.as_deref() == Some(case.object))
}

fn score(client: &mut Client) -> i64 {
    number(client, "SELECT ward.security_score()::bigint")
}

/// A database in which nothing is wrong that is not the server's configuration.
fn clean() -> (Cluster, Client) {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    run(&mut admin, "REVOKE CONNECT ON DATABASE app FROM PUBLIC");
    run(&mut admin, BASE);
    (cluster, admin)
}

#[test]
fn every_weakness_is_found_and_gone_when_mended() {
    let (_cluster, mut admin) = clean();
    let cases: Vec<&Case> = ISOLATION.iter().chain(ACCESS).chain(EXTENSION).collect();

    let before = findings(&mut admin);
    for case in &cases {
        assert!(
            find(&before, case).is_none(),
            "{} {}",
            case.check,
            case.object
        );
    }
    let noise: Vec<&str> = before
        .iter()
        .map(|finding| finding.check.as_str())
        .filter(|check| check.starts_with("isolation") || check.starts_with("access"))
        .collect();
    assert!(noise.is_empty(), "false alarms: {noise:?}");

    for case in &cases {
        run(&mut admin, case.make);
    }
    let weak = findings(&mut admin);
    let remedies: Vec<String> = cases
        .iter()
        .map(|case| {
            let finding = find(&weak, case)
                .unwrap_or_else(|| panic!("not found: {} {}", case.check, case.object));
            let remedy = finding.remedy.clone().unwrap_or_default();
            assert!(
                !remedy.is_empty(),
                "no remedy: {} {}",
                case.check,
                case.object
            );
            if case.mend.is_empty() {
                assert!(!remedy.starts_with("--"), "nothing to run: {remedy}");
                remedy
            } else {
                case.mend.to_owned()
            }
        })
        .collect();

    let mut last = score(&mut admin);
    for (number, (case, remedy)) in cases.iter().zip(&remedies).enumerate() {
        run(&mut admin, remedy);
        // Some are mended together with an earlier one; a look at every few is enough.
        if number % 6 == 0 {
            let now = score(&mut admin);
            assert!(now >= last, "{}: {now} after {last}", case.check);
            last = now;
        }
    }
    let after = findings(&mut admin);
    for case in &cases {
        assert!(
            find(&after, case).is_none(),
            "still there: {} {}",
            case.check,
            case.object
        );
    }
}

#[test]
fn each_check_has_a_test() {
    let cluster = Cluster::with_extension();
    let mut admin = cluster.superuser();
    let tested: BTreeSet<&str> = ISOLATION
        .iter()
        .chain(ACCESS)
        .chain(EXTENSION)
        .map(|case| case.check)
        .chain(crate::posture_server::SETTINGS.iter().map(|case| case.0))
        .chain(crate::posture_server::RULES.iter().map(|case| case.0))
        .chain(crate::posture_server::PARTS.iter().map(|case| case.0))
        .chain(crate::posture_server::KEYS.iter().map(|case| case.0))
        .chain(crate::posture_server::TOKENS.iter().map(|case| case.0))
        .chain(crate::posture_state::CHECKS.iter().copied())
        .collect();
    let known = texts(&mut admin, "SELECT check_id FROM ward.posture_checks");
    let known: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    assert_eq!(tested, known);
    // Every check is described in the documentation, and nothing else is.
    let documented: BTreeSet<String> = include_str!("../../docs/posture.md")
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split('|');
            let id = cells.next()?.trim().trim_end_matches('`');
            (id.split('.').count() == 2).then_some(())?;
            Some(format!("{id} {}", cells.next()?.trim()))
        })
        .collect();
    let levels = texts(
        &mut admin,
        "SELECT check_id || ' ' || level FROM ward.posture_checks",
    );
    assert_eq!(documented, levels.into_iter().collect::<BTreeSet<_>>());
    let levels = texts(
        &mut admin,
        "SELECT check_id || ': ' || level FROM ward.posture_checks
         WHERE level NOT IN ('critical', 'high', 'medium', 'low', 'info') OR source NOT IN ('own', 'CIS', 'splinter')",
    );
    assert!(levels.is_empty(), "{levels:?}");
}

#[test]
fn a_waiver_marks_and_stays_on_record() {
    let (cluster, mut admin) = clean();
    run(&mut admin, "CREATE TABLE app.bare (tenant_id text)");
    let waived = "SELECT waived FROM ward.security_posture() WHERE object = 'app.bare' AND check_id = 'isolation.rls_disabled'";
    assert_eq!(text(&mut admin, waived), None);
    let before = score(&mut admin);
    run(
        &mut admin,
        "SELECT ward.waive_finding('isolation.rls_disabled', 'app.bare', 'holds names of tenants only')",
    );
    let note = text(&mut admin, waived).expect("marked");
    assert!(
        note.contains("by postgres") && note.contains("names of tenants"),
        "{note}"
    );
    assert!(score(&mut admin) >= before);
    let status = "SELECT status FROM ward.run_security_validation() WHERE check_id = 'isolation.rls_disabled'";
    assert_eq!(text(&mut admin, status).as_deref(), Some("PASS"));

    for (statement, code) in [
        (
            "SELECT ward.waive_finding('isolation.rls_disabled', 'app.bare', 'again')",
            "42710",
        ),
        (
            "SELECT ward.waive_finding('no.such_check', 'app.bare', 'why')",
            "42704",
        ),
        (
            "SELECT ward.waive_finding('isolation.rls_disabled', 'app.bare', E' \\n')",
            "22004",
        ),
        (
            "SELECT ward.waive_finding('isolation.rls_disabled', NULL, 'why')",
            "22004",
        ),
        (
            "SELECT ward.waive_finding('isolation.no_policy', 'app.bare', repeat('x', 1001))",
            "22001",
        ),
        (
            "SELECT ward.unwaive_finding('isolation.no_policy', 'app.bare')",
            "42704",
        ),
        ("SELECT ward.unwaive_finding(NULL, NULL)", "42704"),
    ] {
        let error = ward_tests::refused(&mut admin, statement);
        assert_eq!(error.code().code(), code, "{statement}: {error}");
        assert!(error.hint().is_some(), "{statement}");
    }

    run(
        &mut admin,
        "SELECT ward.unwaive_finding('isolation.rls_disabled', 'app.bare')",
    );
    assert_eq!(text(&mut admin, status).as_deref(), Some("FAIL"));
    let record = "SELECT count(*) FROM ward.posture_waiver WHERE ended_by = 'postgres' AND ended_at >= waived_at";
    assert_eq!(number(&mut admin, record), 1);

    // Nobody may accept a weakness who was not told to.
    run(&mut admin, "GRANT CONNECT ON DATABASE app TO app_user");
    let mut app = cluster.client(DATABASE, "app_user");
    for statement in [
        "SELECT ward.waive_finding('isolation.rls_disabled', 'app.bare', 'mine')",
        "INSERT INTO ward.posture_waiver VALUES ('isolation.rls_disabled', 'app.bare', 'mine', 'postgres')",
        "SELECT * FROM ward.posture_waiver",
        "SELECT * FROM ward.security_posture()",
        "SELECT ward.security_score()",
        "SELECT * FROM ward.run_security_validation()",
    ] {
        assert_eq!(
            ward_tests::refused(&mut app, statement).code().code(),
            "42501",
            "{statement}"
        );
    }
}

#[test]
fn what_the_caller_may_not_see_is_skipped_and_never_passed() {
    let (cluster, mut admin) = clean();
    run(
        &mut admin,
        "CREATE ROLE watcher LOGIN; GRANT pg_monitor TO watcher; GRANT CONNECT ON DATABASE app TO watcher;
         SET password_encryption = 'md5'; CREATE ROLE old_hash PASSWORD 'x'",
    );
    let mut watcher = cluster.client(DATABASE, "watcher");
    let skipped = texts(
        &mut watcher,
        "SELECT check_id FROM ward.run_security_validation() WHERE status = 'SKIP' ORDER BY 1",
    );
    assert_eq!(
        skipped,
        [
            "access.md5_passwords",
            "access.password_expiry",
            "server.hba_error",
            "server.hba_everybody",
            "server.hba_md5",
            "server.hba_password",
            "server.hba_trust",
            "server.hba_unencrypted",
            "ward.checkpoint_refused",
            "ward.key_grant_void",
            "ward.master_key_environment",
            "ward.master_key_missing",
            "ward.master_key_several",
            "ward.no_checkpoint",
            "ward.seal_lag",
            "ward.trail_invalid",
            "ward.worker"
        ]
    );
    let told = "SELECT count(*) FROM ward.security_posture() WHERE level = 'skipped' AND detail ~ '^(needs|reads) '";
    assert_eq!(number(&mut watcher, told), 17);
    // It sees what a superuser's session is.
    let found = texts(
        &mut watcher,
        "SELECT object FROM ward.security_posture() WHERE check_id = 'access.privileged_session'",
    );
    assert_eq!(found, ["postgres"]);
    drop(admin);
    ward_tests::wait_until("the superuser's session ends", || {
        texts(
            &mut watcher,
            "SELECT object FROM ward.security_posture() WHERE check_id = 'access.privileged_session'",
        )
        .is_empty()
    });

    // Without pg_read_all_stats and pg_read_all_settings, those too.
    let mut admin = cluster.superuser();
    run(
        &mut admin,
        "REVOKE pg_monitor FROM watcher; GRANT SELECT ON ALL TABLES IN SCHEMA ward TO watcher;
         GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA ward TO watcher; REVOKE SELECT ON ward.key_grant FROM watcher",
    );
    let skipped = texts(
        &mut watcher,
        "SELECT check_id FROM ward.run_security_validation() WHERE status = 'SKIP' AND check_id !~ 'hba|password_expiry|md5' ORDER BY 1",
    );
    assert_eq!(
        skipped,
        [
            "access.privileged_session",
            "server.log_statement",
            "server.password_check",
            "ward.key_grant_void",
            "ward.trail_invalid"
        ]
    );
    let overall = "SELECT DISTINCT overall_status FROM ward.run_security_validation()";
    assert_eq!(texts(&mut watcher, overall), ["FAIL"]);
}
