-- Bytes of pgaudit's log an entry, with a statement for each row.
\set ON_ERROR_STOP 1
CREATE FUNCTION log_bytes() RETURNS float8 LANGUAGE sql AS $$
    -- the collector writes what it was sent a moment ago
    SELECT pg_sleep(1);
    SELECT sum(size) FROM pg_ls_logdir()
$$;
CREATE TABLE narrow_pgaudit (id int PRIMARY KEY, a int, b text);
CALL audit('narrow_pgaudit', 'pgaudit');
SELECT log_bytes() AS before \gset
SELECT format('INSERT INTO narrow_pgaudit VALUES (%s, %s, %L)', g, g % 1000, 'text ' || g % 1000)
FROM generate_series(1, :rows) g \gexec
INSERT INTO measurement VALUES ('bytes, INSERT', 'pgaudit', (log_bytes() - :before) / :rows);
SELECT log_bytes() AS before \gset
SELECT format('UPDATE narrow_pgaudit SET a = a + 1 WHERE id = %s', g) FROM generate_series(1, :rows) g \gexec
INSERT INTO measurement VALUES ('bytes, UPDATE', 'pgaudit', (log_bytes() - :before) / :rows);
DROP TABLE narrow_pgaudit;
DROP FUNCTION log_bytes;
