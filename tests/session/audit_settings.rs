//! What a session sets about how values look has no effect on what is recorded of them.

use ward_tests::{Cluster, number, run, seal_and_verify, text};

const ZONES: [&str; 3] = ["UTC", "Asia/Kathmandu", "America/St_Johns"];
const DATES: [&str; 4] = ["ISO, YMD", "German", "SQL, DMY", "Postgres, MDY"];
const INTERVALS: [&str; 4] = ["postgres", "postgres_verbose", "sql_standard", "iso_8601"];
const DIGITS: [i32; 4] = [-15, 0, 1, 3];
const BYTES: [&str; 2] = ["hex", "escape"];

#[test]
fn every_combination_of_settings_gives_the_same_image() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TYPE pair AS (a timestamptz, b money, c regclass);
         CREATE TABLE pattern (d date, ts timestamp, tstz timestamptz, tm timetz, iv interval, f4 float4, f8 float8,
             b bytea, n numeric, cash money, r tstzrange, m tsmultirange, a float8[], i interval[], bb bytea[], p pair, j jsonb);
         INSERT INTO pattern VALUES ('2026-02-03', '2026-02-03 04:05:06.789', '2026-07-03 23:05:06.789+00', '12:34:56+05:45',
             '-1 year 2 mons -3 days 04:05:06.7', '0.1', 1.0 / 3, '\\x005c27ff', 1234567.891, '1234.5',
             '[2026-01-01 00:00+00,2026-02-01 00:00+00)', '{[2026-01-01 00:00,2026-02-01 00:00)}', '{0.1,1e300,NaN}',
             '{1 day,-2 hours}', '{\"\\\\x00ff\"}', ('2026-07-03 23:05+00', '0.99', 'pg_class'), '{\"a\": 0.1}');
         CREATE TABLE t (LIKE pattern); ALTER TABLE t ADD PRIMARY KEY (tstz, iv);
         SELECT ward.enable_audit('t')",
    );
    let locale = text(
        &mut client,
        "SELECT coalesce((SELECT collname FROM pg_collation
                          WHERE collname IN ('de_DE.utf8', 'en_US.utf8', 'C.utf8') ORDER BY collname DESC LIMIT 1), 'C')::text",
    )
    .expect("a locale");
    let mut count = 0;
    for zone in ZONES {
        for date in DATES {
            for interval in INTERVALS {
                let mut batch = String::new();
                for digits in DIGITS {
                    for bytes in BYTES {
                        for numbers in ["C", &locale] {
                            batch.push_str(&format!(
                                "SET timezone = '{zone}'; SET datestyle = '{date}'; SET intervalstyle = '{interval}';
                                 SET extra_float_digits = {digits}; SET bytea_output = '{bytes}';
                                 SET lc_numeric = '{numbers}'; SET lc_monetary = '{numbers}'; SET lc_time = '{numbers}';
                                 INSERT INTO t SELECT * FROM pattern; DELETE FROM t;"
                            ));
                            count += 1;
                        }
                    }
                }
                run(&mut client, &batch);
            }
        }
    }
    let mut client = cluster.superuser();
    seal_and_verify(&mut client);
    let entries = "SELECT count(*) FROM ward.audit_trail WHERE table_name = 't'";
    assert_eq!(number(&mut client, entries), 2 * count);
    let kinds = "SELECT count(DISTINCT (record_id, coalesce(new_values, old_values)::text))
                 FROM ward.audit_trail WHERE table_name = 't'";
    assert_eq!(number(&mut client, kinds), 1);
}
