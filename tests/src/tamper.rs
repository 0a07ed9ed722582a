//! Edits of sealed leaves, as a superuser could make them.

use postgres::Client;

const FIRST: &str = "ward.audit_segment_000000";

/// A statement that puts the leaves in order again: a row that is updated goes to the end, which is an attack of its own.
pub const IN_ORDER: &str = "
CREATE TEMP TABLE in_order AS SELECT * FROM leaves;
TRUNCATE leaves;
INSERT INTO leaves SELECT * FROM in_order ORDER BY entry_id;
DROP TABLE in_order";

/// The leaves of the first segment.
pub fn leaves(client: &mut Client) -> Vec<Vec<u8>> {
    crate::run(client, &UNPACK.replace("{segment}", FIRST));
    let rows = client.query("SELECT leaf FROM leaves ORDER BY entry_id", &[]);
    crate::run(client, "DROP TABLE leaves");
    let rows = rows.expect("read the leaves");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Takes the first segment apart into a table `leaves` (entry_id, leaf, image), runs statements on it, and
/// writes it back in the order of its rows, a leaf a row.
pub fn tamper(client: &mut Client, statements: &str) {
    tamper_segment(client, FIRST, statements);
}

/// As [`tamper`], for a segment by name.
pub fn tamper_segment(client: &mut Client, segment: &str, statements: &str) {
    let all = format!("{UNPACK}{statements};{PACK}").replace("{segment}", segment);
    crate::run(client, &all);
}

/// Records are u32 length, leaf, u32 length of the image plus one or 0, image (docs/log-format.md, 5).
const UNPACK: &str = "
CREATE TEMP TABLE leaves (entry_id bigint, leaf bytea, image bytea);
DO $$
DECLARE
    r record;
    at int;
    n bigint;
    size int;
    leaf bytea;
BEGIN
    FOR r IN SELECT entry_id, records FROM {segment} LOOP
        at := 1;
        n := 0;
        WHILE at <= length(r.records) LOOP
            size := ('x' || encode(substr(r.records, at, 4), 'hex'))::bit(32)::int;
            leaf := substr(r.records, at + 4, size);
            at := at + 4 + size;
            size := ('x' || encode(substr(r.records, at, 4), 'hex'))::bit(32)::int - 1;
            at := at + 4;
            INSERT INTO leaves VALUES (r.entry_id + n, leaf,
                CASE WHEN size >= 0 THEN substr(r.records, at, size) END);
            at := at + greatest(size, 0);
            n := n + 1;
        END LOOP;
    END LOOP;
END $$;
";

// Emptied, not deleted from: rows that fill freed room would not be in order, which is another attack.
const PACK: &str = "
TRUNCATE {segment};
INSERT INTO {segment}
    SELECT entry_id, int4send(length(leaf)) || leaf || int4send(coalesce(length(image) + 1, 0))
        || coalesce(image, '')
    FROM leaves ORDER BY ctid;
DROP TABLE leaves;
";
