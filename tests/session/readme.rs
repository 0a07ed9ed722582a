//! Every SQL statement the README shows is executed, top to bottom.

use ward_tests::Cluster;

const README: &str = include_str!("../../README.md");

/// The fenced `sql` blocks of the README, joined.
fn statements() -> String {
    let mut inside = false;
    let mut statements = String::new();
    for line in README.lines() {
        match line {
            "```sql" => inside = true,
            "```" => inside = false,
            _ if inside => {
                statements.push_str(line);
                statements.push('\n');
            }
            _ => {}
        }
    }
    statements
}

#[test]
fn the_tour_of_the_readme_runs() {
    let statements = statements();
    assert!(statements.contains("ward.verify_audit_trail_integrity"));
    let cluster = Cluster::start(ward_tests::Options::default());
    cluster
        .client("postgres", "postgres")
        .batch_execute("CREATE DATABASE app")
        .unwrap();
    let output = cluster.psql(&statements);
    let shown = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}\n{shown}");
    assert!(!errors.contains("ERROR"), "{errors}");
}
