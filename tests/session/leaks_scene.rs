//! The same work on a table with an encrypted column and on one in clear text. What the search finds
//! of the second is the proof that it would have found the first.

use crate::leaks_search::canary;
use ward_tests::postgres::Client;
use ward_tests::postgres::fallible_iterator::FallibleIterator;
use ward_tests::{Cluster, DATABASE, Options, refused, run};

/// How a table keeps values, and how its clients write and read them.
pub struct Column {
    /// The table.
    pub table: &'static str,
    /// The type of its columns.
    pub data_type: &'static str,
    /// From text to the stored value; `{}` is the text.
    pub write: &'static str,
    /// From the stored value to text; `{}` is the value.
    pub read: &'static str,
    /// Whether its values can be compared.
    pub comparable: bool,
}

/// A column that is not encrypted at all.
pub const CLEAR: Column = Column {
    table: "clear",
    data_type: "text",
    write: "{}::text",
    read: "{}::text",
    comparable: true,
};

/// Copies the sealed trail as it was before it was compressed, so that a search sees what is in it.
pub const UNPACKED: &str = "CREATE TABLE unpacked (records bytea) WITH (toast_tuple_target = 8160);
     ALTER TABLE unpacked ALTER records SET STORAGE EXTERNAL;
     INSERT INTO unpacked SELECT records || '' FROM ward.audit_segment_000000";

/// The values that are written, each in another way.
pub const WAYS: [&str; 9] = [
    "inserted",
    "updated",
    "deleted",
    "rolled back",
    "prepared",
    "large",
    "failed",
    "null violated",
    "sorted",
];

/// A canary for each way to write, in one table.
pub struct Canaries(Vec<(String, String)>);

impl Canaries {
    /// Fresh ones.
    pub fn new(column: &Column) -> Self {
        let named = |way: &&str| (format!("{} {way}", column.table), canary());
        Self(WAYS.iter().map(named).collect())
    }

    /// The value that is written in this way.
    pub fn of(&self, way: &str) -> &str {
        let named = self.0.iter().find(|(name, _)| name.ends_with(way));
        &named.expect("a way to write").1
    }

    /// What the search looks for.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
    }
}

/// A server that logs every statement, but no parameters, and counts statements.
pub fn talkative() -> Cluster {
    let options = Options::default()
        .set("shared_preload_libraries", "pg_ward,pg_stat_statements")
        .set("log_statement", "all")
        .set("log_min_duration_statement", "0")
        .set("log_parameter_max_length", "0")
        .set("log_error_verbosity", "verbose")
        .set("log_min_messages", "debug1")
        .set("log_temp_files", "0");
    let cluster = Cluster::with_extension_and(options);
    let mut client = cluster.superuser();
    run(
        &mut client,
        "SELECT pg_create_logical_replication_slot('stream', 'test_decoding')",
    );
    run(
        &mut client,
        "CREATE EXTENSION pg_stat_statements;
         SELECT ward.generate_encryption_key('k');
         CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN
             PERFORM pg_notify('changes', left(row_to_json(NEW)::text, 7000));
             RETURN NULL;
         END $$",
    );
    cluster
}

/// Makes the table, audited, indexed, published, told about, and writes to it in every way.
pub fn exercise(client: &mut Client, column: &Column, canaries: &Canaries) {
    let Column {
        table, data_type, ..
    } = column;
    let unique = if column.comparable { "UNIQUE" } else { "" };
    let write = column.write.replace("{}", "$1::text");
    run(
        client,
        &format!(
            "CREATE TABLE {table} (
                 id bigint PRIMARY KEY, value {data_type} {unique}, body {data_type},
                 note text NOT NULL DEFAULT '' CHECK (note <> 'bad'));
             ALTER TABLE {table} ALTER body SET STORAGE EXTERNAL, REPLICA IDENTITY FULL;
             CREATE TRIGGER tell AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION tell();
             SELECT ward.enable_audit('{table}');
             LISTEN changes"
        ),
    );
    let mut one = |statement: &str, value: &str| {
        let statement = statement
            .replace("{write}", &write)
            .replace("{table}", table);
        client.execute(&statement, &[&value])
    };
    let insert = "INSERT INTO {table} VALUES (1, {write})";
    one(insert, canaries.of("inserted")).unwrap();
    let insert = "INSERT INTO {table} VALUES (2, {write})";
    one(insert, canaries.of("deleted")).unwrap();
    let update = "UPDATE {table} SET value = {write} WHERE id = 2";
    one(update, canaries.of("updated")).unwrap();
    let large = format!("{}{}", canaries.of("large"), "0123456789".repeat(1000));
    one("INSERT INTO {table} (id, body) VALUES (3, {write})", &large).unwrap();
    // Values that PostgreSQL's own messages would show.
    let bad = "INSERT INTO {table} VALUES (4, {write}, NULL, 'bad')";
    one(bad, canaries.of("failed")).unwrap_err();
    let null = "INSERT INTO {table} VALUES (4, {write}, NULL, NULL)";
    one(null, canaries.of("null violated")).unwrap_err();

    run(client, "BEGIN");
    let mut one = |statement: &str, value: &str| {
        let statement = statement
            .replace("{write}", &write)
            .replace("{table}", table);
        client.execute(&statement, &[&value]).unwrap();
    };
    let insert = "INSERT INTO {table} VALUES (5, {write})";
    one(insert, canaries.of("rolled back"));
    run(client, "ROLLBACK");
    if column.comparable {
        refused(
            client,
            &format!("INSERT INTO {table} SELECT id + 100, value FROM {table} WHERE id = 1"),
        );
    }
    // A transaction that notified cannot be prepared.
    run(
        client,
        &format!("BEGIN; ALTER TABLE {table} DISABLE TRIGGER tell"),
    );
    let insert = format!("INSERT INTO {table} VALUES (6, {write})");
    client
        .execute(&insert, &[&canaries.of("prepared")])
        .unwrap();
    for statement in [
        format!("ALTER TABLE {table} ENABLE TRIGGER tell"),
        format!("PREPARE TRANSACTION '{table}'"),
        "CHECKPOINT".to_owned(),
        format!("COMMIT PREPARED '{table}'"),
        format!("ANALYZE {table}"),
    ] {
        run(client, &statement);
    }
}

/// A sort of 5,000 values under way: its temporary files exist as long as the connection.
pub fn sort(cluster: &Cluster, column: &Column, canaries: &Canaries) -> Client {
    let mut client = cluster.superuser();
    run(
        &mut client,
        &format!("CREATE TEMP TABLE many (value {})", column.data_type),
    );
    let insert = format!(
        "INSERT INTO many SELECT {} FROM generate_series(1, 5000) g",
        column.write.replace("{}", "($1::text || g)")
    );
    client.execute(&insert, &[&canaries.of("sorted")]).unwrap();
    run(
        &mut client,
        "SET work_mem = '64kB';
         BEGIN; DECLARE c CURSOR FOR SELECT value, md5(ctid::text) FROM many ORDER BY md5(ctid::text);
         FETCH 1 FROM c",
    );
    client
}

/// What the client is told by LISTEN.
pub fn notifications(client: &mut Client) -> Vec<u8> {
    run(client, "SELECT 1");
    let mut notifications = client.notifications();
    let mut payloads = Vec::new();
    let mut waiting = notifications.iter();
    while let Some(notification) = waiting.next().expect("notifications") {
        payloads.extend_from_slice(notification.payload().as_bytes());
    }
    payloads
}

/// What a query answers, as psql shows it.
pub fn answer(cluster: &Cluster, query: &str) -> Vec<u8> {
    let output = cluster
        .client_program("psql", DATABASE)
        .args(["-XAtc", query])
        .output()
        .expect("run psql");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{query}: {errors}");
    assert!(!output.stdout.is_empty(), "no rows: {query}");
    output.stdout
}

/// A dump of the database.
pub fn dump(cluster: &Cluster) -> Vec<u8> {
    let output = cluster
        .client_program("pg_dump", DATABASE)
        .output()
        .expect("run pg_dump");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    output.stdout
}

/// The file of a relation, relative to the data directory.
pub fn file_of(client: &mut Client, relation: &str) -> String {
    let query = format!("SELECT pg_relation_filepath('{relation}')");
    client.query_one(&query, &[]).expect("a relation").get(0)
}
