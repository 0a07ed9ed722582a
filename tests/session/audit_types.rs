//! Every family of types is rendered faithfully, whatever the writing session's settings.

use ward_tests::{Cluster, number, run, seal_and_verify, texts};

/// Column name, type, value. What the trail holds must read like the value does in a session with ISO
/// styles in UTC, except for [`NUMBERS`].
const COLUMNS: &[(&str, &str, &str)] = &[
    ("i2", "int2", "'-32768'"),
    ("i4", "int4", "'2147483647'"),
    ("i8", "int8", "'-9223372036854775808'"),
    (
        "num",
        "numeric(40,20)",
        "'12345678901234567890.12345678901234567890'",
    ),
    ("num_nan", "numeric", "'NaN'"),
    ("f4", "float4", "'0.1'"),
    ("f8", "float8", "'0.1'::float8 + '0.2'::float8"),
    ("f8_inf", "float8", "'-Infinity'"),
    ("f8_nan", "float8", "'NaN'"),
    ("cash", "money", "'12.50'"),
    (
        "txt",
        "text",
        "E'quote \" backslash \\\\ newline \\n \u{1F512}'",
    ),
    ("vc", "varchar(10)", "'short'"),
    ("bp", "char(8)", "'padded'"),
    ("nm", "name", "'a name'"),
    ("ch", "\"char\"", "'x'"),
    ("by", "bytea", "'\\x00ff5c'"),
    ("d", "date", "'2026-02-03'"),
    ("d_inf", "date", "'infinity'"),
    ("tm", "time", "'12:34:56.789'"),
    ("tmtz", "timetz", "'12:34:56+05'"),
    ("ts", "timestamp", "'2026-02-03 04:05:06.789'"),
    ("tstz", "timestamptz", "'2026-02-03 04:05:06.789+00'"),
    ("iv", "interval", "'1 year 2 mons 3 days 04:05:06.7'"),
    ("u", "uuid", "'11111111-2222-3333-4444-555555555555'"),
    ("ip", "inet", "'192.0.2.1/24'"),
    ("net", "cidr", "'2001:db8::/32'"),
    ("mac", "macaddr", "'08:00:2b:01:02:03'"),
    ("bits", "bit(4)", "B'1010'"),
    ("vbits", "varbit", "B'10101'"),
    ("pt", "point", "'(0.1,2)'"),
    ("bx", "box", "'(1,1),(0,0)'"),
    ("pg", "polygon", "'((0,0),(1,1),(1,0))'"),
    ("rng", "int4range", "'[1,5)'"),
    (
        "tsr",
        "tstzrange",
        "'[2026-01-01 00:00:00+00,2026-02-01 00:00:00+00)'",
    ),
    ("mr", "int4multirange", "'{[1,3),[5,7)}'"),
    ("tsv", "tsvector", "'a b:1'"),
    ("arr", "int[]", "'{1,NULL,3}'"),
    ("arr2", "text[]", "'{{a,\"b,c\"},{NULL,\"\"}}'"),
    ("tsarr", "timestamptz[]", "'{\"2026-02-03 04:05:06+00\"}'"),
    ("en", "mood", "'glad'"),
    ("dom", "positive", "'7'"),
    ("comp", "pair", "'(1,\"two, three\")'"),
    ("o", "oid", "'4294967295'"),
    ("reg", "regclass", "'pg_catalog.pg_class'"),
    ("lsn", "pg_lsn", "'16/B374D848'"),
    ("x", "xml", "'<a>b</a>'"),
    ("big", "text", "repeat('long value ', 20000)"),
    ("jp", "jsonpath", "'$.\"a\"[*]'"),
    ("tsq", "tsquery", "'a & !b'"),
    ("ts_inf", "timestamptz", "'-infinity'"),
    ("x8", "xid8", "'12345678901'"),
    ("snap", "pg_snapshot", "'10:20:12,13'"),
    ("mac8", "macaddr8", "'08:00:2b:01:02:03:04:05'"),
    ("ln", "line", "'{1,-1,0.1}'"),
    ("sg", "lseg", "'[(0,0),(1,0.1)]'"),
    ("ph", "path", "'((0,0),(1,0.1))'"),
    ("ci", "circle", "'<(0,0.1),1.5>'"),
    ("numr", "numrange", "'(,1.50]'"),
    (
        "dmr",
        "datemultirange",
        "'{[2026-01-01,2026-02-01),[2026-03-01,)}'",
    ),
    ("rngarr", "int8range[]", "'{\"[1,5)\",empty}'"),
    ("comparr", "pair[]", "ARRAY[(1,'two')::pair, NULL]"),
    ("domarr", "positive[]", "'{1,2}'"),
    ("enarr", "mood[]", "'{sad,NULL}'"),
    (
        "nest",
        "nested",
        "ROW((1,'a,b')::pair, ARRAY['2026-02-03 04:05:06+00'::timestamptz], 'glad')",
    ),
    ("domrng", "window_of", "'[2026-01-01 00:00:00+00,infinity)'"),
    ("jb", "jsonb", "'{\"k\": [0.10, \"ü\"]}'"),
    ("vec", "int2vector", "'1 2 3'"),
    ("acl", "aclitem[]", "'{=r/postgres}'"),
];

/// What is recorded as a number, because its text depends on a locale or on names that may change:
/// money in its smallest unit, and OIDs.
const NUMBERS: &[(&str, &str)] = &[("cash", "1250"), ("reg", "1259")];

#[test]
fn every_family_of_types_under_strange_session_settings() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "ALTER DATABASE app SET timezone = 'UTC'; ALTER DATABASE app SET intervalstyle = 'iso_8601';
         CREATE TYPE mood AS ENUM ('glad', 'sad');
         CREATE DOMAIN positive AS int CHECK (value > 0);
         CREATE TYPE pair AS (a int, b text);
         CREATE TYPE nested AS (p pair, t timestamptz[], m mood);
         CREATE DOMAIN window_of AS tstzrange CHECK (NOT isempty(value))",
    );
    // a server built without libxml takes no XML
    let xml = "SELECT count(*) FROM pg_config WHERE name = 'CONFIGURE' AND setting LIKE '%--with-libxml%'";
    let xml = number(&mut client, xml) == 1;
    let used = || COLUMNS.iter().filter(|(_, t, _)| xml || *t != "xml");
    let columns: Vec<_> = used().map(|(n, t, _)| format!("{n} {t}")).collect();
    let values: Vec<_> = used().map(|(_, _, v)| v.to_string()).collect();
    run(
        &mut client,
        &format!(
            "CREATE TABLE t (id int PRIMARY KEY, {}); SELECT ward.enable_audit('t')",
            columns.join(", ")
        ),
    );
    let mut writer = cluster.superuser();
    run(
        &mut writer,
        "SET datestyle = 'German'; SET timezone = 'Asia/Tokyo'; SET extra_float_digits = -10;
         SET bytea_output = 'escape'; SET intervalstyle = 'sql_standard'; SET search_path = public",
    );
    run(
        &mut writer,
        &format!("INSERT INTO t VALUES (1, {})", values.join(", ")),
    );
    run(&mut writer, "INSERT INTO t (id) VALUES (2)");

    let mut reader = cluster.superuser();
    seal_and_verify(&mut reader);
    let mut wrong = Vec::new();
    for (name, ..) in used() {
        let number = NUMBERS.iter().find(|(column, _)| column == name);
        let expected = match number {
            Some((_, number)) => format!("'{number}'"),
            None => format!("concat(t.{name})"),
        };
        wrong.extend(texts(
            &mut reader,
            &format!(
                "SELECT format('{name}: trail %s, expected %s', left(a.new_values->>'{name}', 60),
                               left({expected}, 60))
                 FROM t JOIN ward.audit_trail a ON a.record_id = t.id::text
                 WHERE t.id = 1 AND a.new_values->>'{name}' IS DISTINCT FROM {expected}"
            ),
        ));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");

    let nulls = "SELECT count(*) FROM ward.audit_trail, jsonb_each(new_values) AS v (key, value)
                 WHERE record_id = '2' AND value = 'null'";
    assert_eq!(number(&mut reader, nulls), used().count() as i64);
}

#[test]
fn numbers_booleans_and_json_keep_their_json_type() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, b bool, n numeric, j json, jb jsonb, s text);
         SELECT ward.enable_audit('t');
         INSERT INTO t VALUES (1, true, 1.50, '{\"a\" : [1, null]}', '{\"c\": \"d\"}', '1')",
    );
    seal_and_verify(&mut client);
    assert_eq!(
        texts(
            &mut client,
            "SELECT new_values::text FROM ward.audit_trail WHERE operation <> 'EVENT'"
        ),
        [r#"{"b": true, "j": {"a": [1, null]}, "n": 1.50, "s": "1", "id": 1, "jb": {"c": "d"}}"#]
    );
}

#[test]
fn generated_and_excluded_and_redacted_columns() {
    let cluster = Cluster::with_extension();
    let mut client = cluster.superuser();
    run(
        &mut client,
        "CREATE TABLE t (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED,
                         noise text, secret text);
         SELECT ward.enable_audit('t', exclude => '{noise}', redact => '{secret}');
         INSERT INTO t (id, noise, secret) VALUES (1, 'noise-canary', 'secret-canary');
         UPDATE t SET secret = 'secret-canary-2'",
    );
    seal_and_verify(&mut client);
    let trail = texts(
        &mut client,
        "SELECT concat_ws(' ', old_values, new_values, changed_fields)
         FROM ward.audit_trail WHERE operation <> 'EVENT' ORDER BY entry_id",
    );
    assert!(trail[0].contains(r#""twice": 2"#), "{trail:?}");
    assert!(trail[1].contains("{secret}"), "{trail:?}");
    assert!(!trail.concat().contains("canary"), "{trail:?}");
}
