//! Every SQL statement that the README and the guide to production show is executed, top to bottom.

use ward_tests::Cluster;

const README: &str = include_str!("../../README.md");
const PRODUCTION: &str = include_str!("../../docs/production.md");

/// The fenced `sql` blocks of a text, joined.
fn statements(text: &str) -> String {
    let mut inside = false;
    let mut statements = String::new();
    for line in text.lines() {
        match line.trim_start() {
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
    let tour = statements(README);
    assert!(tour.contains("ward.verify_audit_trail_integrity"));
    let guide = statements(PRODUCTION);
    assert!(guide.contains("ward.audit_violations"));
    let cluster = Cluster::start(ward_tests::Options::default());
    for database in ["app", "guided"] {
        let statement = format!("CREATE DATABASE {database}");
        let mut client = cluster.client("postgres", "postgres");
        client.batch_execute(&statement).unwrap();
    }
    for (database, statements) in [("app", tour), ("guided", guide)] {
        let output = cluster.psql(&format!("\\c {database}\n{statements}"));
        let shown = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}\n{shown}");
        assert!(!errors.contains("ERROR"), "{errors}");
    }
}
