-- Checks of the server's configuration. What they judge is an argument, so that a test can show them any.

CREATE FUNCTION ward.posture_settings(settings jsonb)
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
SELECT v.check_id, v.setting, format('%s = %s', v.setting, coalesce(quote_nullable(settings ->> v.setting), '')), 'ALTER SYSTEM SET ' || v.remedy
FROM (SELECT coalesce(bool_and(trim(a) IN ('', 'localhost', '127.0.0.1', '::1')), true) AS local_only,
             coalesce(bool_or(trim(a) IN ('*', '0.0.0.0', '::')), false) AS everywhere
      FROM string_to_table(settings ->> 'listen_addresses', ',') AS a) l,
     (SELECT settings ->> 'shared_preload_libraries' AS loaded) p,
LATERAL (VALUES
    ('server.ssl_off', 'ssl', settings ->> 'ssl' = 'off' AND NOT l.local_only, 'ssl = on; -- with ssl_cert_file and ssl_key_file'),
    ('server.tls_version', 'ssl_min_protocol_version', settings ->> 'ssl_min_protocol_version' IN ('', 'TLSv1', 'TLSv1.1'),
     'ssl_min_protocol_version = ''TLSv1.2'';'),
    ('server.tls_ciphers', 'ssl_ciphers',
     settings ->> 'ssl' = 'on' AND settings ->> 'ssl_ciphers' ~* '(^|:)\+?(ALL|DEFAULT|MEDIUM|LOW|EXP[A-Z]*|NULL|aNULL|eNULL|3DES|DES|RC4|MD5|SHA1)($|:)',
     'ssl_ciphers = ''HIGH:!aNULL:!MD5:!3DES'';'),
    ('server.password_encryption', 'password_encryption', settings ->> 'password_encryption' = 'md5', 'password_encryption = ''scram-sha-256'';'),
    ('server.password_check', 'shared_preload_libraries', p.loaded !~* '\m(\$libdir/)?(passwordcheck|credcheck|passwordpolicy|supautils)',
     format('shared_preload_libraries = %s; -- and restart', concat_ws(', ', nullif(p.loaded, ''), 'passwordcheck'))),
    ('server.listen_all', 'listen_addresses', l.everywhere, 'listen_addresses = ''localhost''; -- and the addresses that clients use; restart'),
    ('server.socket_permissions', 'unix_socket_permissions', settings ->> 'unix_socket_permissions' ~ '[2367]$',
     'unix_socket_permissions = ''0770''; -- with unix_socket_group; restart'),
    ('server.log_connections', 'log_connections', settings ->> 'log_connections' IN ('off', '', 'false', 'no', '0'), 'log_connections = ''on'';'),
    ('server.log_disconnections', 'log_disconnections', settings ->> 'log_disconnections' = 'off', 'log_disconnections = on;'),
    ('server.log_statement', 'log_statement', settings ->> 'log_statement' = 'none' AND p.loaded !~* 'pgaudit', 'log_statement = ''ddl'';'),
    ('server.log_parameters', 'log_parameter_max_length',
     settings ->> 'log_parameter_max_length' <> '0' AND (settings ->> 'log_statement' IN ('mod', 'all')
         OR settings ->> 'log_min_duration_statement' <> '-1' OR settings ->> 'log_min_duration_sample' <> '-1'
         OR settings ->> 'log_transaction_sample_rate' <> '0'), 'log_parameter_max_length = 0;'),
    ('server.log_parameters_on_error', 'log_parameter_max_length_on_error', settings ->> 'log_parameter_max_length_on_error' <> '0',
     'log_parameter_max_length_on_error = 0;'),
    ('server.log_min_messages', 'log_min_messages', settings ->> 'log_min_messages' IN ('error', 'log', 'fatal', 'panic'), 'log_min_messages = ''warning'';'),
    ('server.log_min_error_statement', 'log_min_error_statement', settings ->> 'log_min_error_statement' IN ('log', 'fatal', 'panic'),
     'log_min_error_statement = ''error'';'),
    ('server.log_error_verbosity', 'log_error_verbosity', settings ->> 'log_error_verbosity' = 'terse', 'log_error_verbosity = ''default'';'),
    ('server.log_line_prefix', 'log_line_prefix',
     settings ->> 'log_destination' ~ '(stderr|syslog)' AND NOT (settings ->> 'log_line_prefix' ~ '%-?\d*[mtn]' AND settings ->> 'log_line_prefix' ~ '%-?\d*[pc]'
         AND settings ->> 'log_line_prefix' ~ '%-?\d*u' AND settings ->> 'log_line_prefix' ~ '%-?\d*d' AND settings ->> 'log_line_prefix' ~ '%-?\d*[hr]'),
     'log_line_prefix = ''%m [%p] user=%u,db=%d,app=%a,client=%h '';'),
    ('server.log_destination', 'log_destination', settings ->> 'log_destination' = '', 'log_destination = ''stderr'';'),
    ('server.logging_collector', 'logging_collector', settings ->> 'logging_collector' = 'off' AND settings ->> 'log_destination' ~ '(stderr|csvlog|jsonlog)',
     'logging_collector = on; -- and restart; leave it off where the system collects the server''s output'),
    ('server.log_file_mode', 'log_file_mode', settings ->> 'log_file_mode' ~ '[1-7]$' OR settings ->> 'log_file_mode' ~ '[2367].$', 'log_file_mode = ''0600'';'),
    ('server.log_debug', 'debug_print_parse', settings ->> 'debug_print_parse' = 'on', 'debug_print_parse = off;'),
    ('server.log_debug', 'debug_print_rewritten', settings ->> 'debug_print_rewritten' = 'on', 'debug_print_rewritten = off;'),
    ('server.log_debug', 'debug_print_plan', settings ->> 'debug_print_plan' = 'on', 'debug_print_plan = off;'),
    ('server.log_replication', 'log_replication_commands', settings ->> 'log_replication_commands' = 'off', 'log_replication_commands = on;'),
    ('server.durability', 'fsync', settings ->> 'fsync' = 'off', 'fsync = on;'),
    ('server.durability', 'full_page_writes', settings ->> 'full_page_writes' = 'off', 'full_page_writes = on;'),
    ('server.wal_archiving', 'archive_mode', settings ->> 'archive_mode' = 'off', 'archive_mode = on; -- with archive_command; restart'),
    ('server.idle_in_transaction', 'idle_in_transaction_session_timeout', settings ->> 'idle_in_transaction_session_timeout' = '0',
     'idle_in_transaction_session_timeout = ''10min'';'),
    ('server.developer_options', 'allow_system_table_mods', settings ->> 'allow_system_table_mods' = 'on', 'allow_system_table_mods = off;'),
    ('server.developer_options', 'ignore_system_indexes', settings ->> 'ignore_system_indexes' = 'on', 'ignore_system_indexes = off;'),
    ('server.developer_options', 'ignore_checksum_failure', settings ->> 'ignore_checksum_failure' = 'on', 'ignore_checksum_failure = off;'),
    ('server.developer_options', 'zero_damaged_pages', settings ->> 'zero_damaged_pages' = 'on', 'zero_damaged_pages = off;'),
    ('server.developer_options', 'ignore_invalid_pages', settings ->> 'ignore_invalid_pages' = 'on', 'ignore_invalid_pages = off; -- and restart'),
    ('server.event_triggers', 'event_triggers', settings ->> 'event_triggers' = 'off', 'event_triggers = on;'),
    ('ward.log_origin', 'ward.log_origin', settings ->> 'ward.log_origin' = '', 'ward.log_origin = ''db1.example.com/billing'';'),
    ('ward.context_trusted', 'ward.context_mode', settings ->> 'ward.context_mode' = 'trusted', 'ward.context_mode = ''token'';')
) AS v (check_id, setting, bad, remedy)
WHERE v.bad
UNION ALL
-- Checksums are no setting that can be set.
SELECT 'server.data_checksums', 'data_checksums', 'data_checksums = ''off''', '-- with the server stopped: pg_checksums --enable'
WHERE settings ->> 'data_checksums' = 'off'
$$;
COMMENT ON FUNCTION ward.posture_settings(jsonb) IS
    'Findings about settings, given as {name: value}. Part of security_posture().';

CREATE FUNCTION ward.posture_hba(rules jsonb)
RETURNS TABLE (check_id text, object text, detail text, remediation text)
LANGUAGE sql STABLE STRICT PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
WITH rule AS MATERIALIZED (
    SELECT r.*, coalesce(nullif(r.file_name, '') || ' ', '') || 'line ' || r.line_number AS object,
           r.type <> 'local' AND coalesce(r.address, '') NOT IN ('127.0.0.1', '::1', 'localhost', 'samehost') AS remote,
           concat_ws(' ', r.type, (SELECT string_agg(x, ',') FROM jsonb_array_elements_text(r.database) x),
                     (SELECT string_agg(x, ',') FROM jsonb_array_elements_text(r.user_name) x), r.address, r.netmask, r.auth_method) AS text
    FROM jsonb_to_recordset(rules) AS r (line_number int, file_name text, type text, database jsonb, user_name jsonb,
                                         address text, netmask text, auth_method text, error text)
)
SELECT v.check_id, r.object, coalesce(r.error, r.text),
       format('-- in pg_hba.conf, %s, write: %s; then SELECT pg_reload_conf();', r.object, v.instead)
FROM rule r, LATERAL (VALUES
    ('server.hba_trust', r.auth_method = 'trust', regexp_replace(r.text, '\S+$', CASE r.type WHEN 'local' THEN 'peer' ELSE 'scram-sha-256' END)),
    ('server.hba_password', r.auth_method = 'password' OR r.auth_method = 'ident' AND r.type <> 'local', regexp_replace(r.text, '\S+$', 'scram-sha-256')),
    ('server.hba_md5', r.auth_method = 'md5', regexp_replace(r.text, '\S+$', 'scram-sha-256')),
    ('server.hba_unencrypted', r.remote AND r.type NOT IN ('hostssl', 'hostgssenc') AND r.auth_method <> 'reject', regexp_replace(r.text, '^\S+', 'hostssl')),
    ('server.hba_everybody', r.remote AND r.database ? 'all' AND r.user_name ? 'all' AND r.auth_method <> 'reject'
        AND (r.address = 'all' OR r.netmask IN ('0.0.0.0', '::')), 'the databases, roles and addresses that are meant'),
    ('server.hba_error', r.error IS NOT NULL, 'a line that can be read')
) AS v (check_id, bad, instead)
WHERE v.bad
$$;
COMMENT ON FUNCTION ward.posture_hba(jsonb) IS
    'Findings about rules of pg_hba.conf, given as an array of rows of pg_hba_file_rules. Part of security_posture().';

CREATE FUNCTION ward.posture_visible_settings() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$
    -- Not what this session set for itself.
    SELECT jsonb_object_agg(name, CASE WHEN context IN ('internal', 'postmaster', 'sighup') THEN setting ELSE coalesce(reset_val, setting) END)
    FROM pg_settings
$$;
COMMENT ON FUNCTION ward.posture_visible_settings() IS 'The settings that the caller may see. For security_posture().';

CREATE FUNCTION ward.posture_hba_rules() RETURNS jsonb
LANGUAGE sql STABLE PARALLEL RESTRICTED SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(jsonb_agg(to_jsonb(r)), '[]') FROM pg_hba_file_rules r $$;
COMMENT ON FUNCTION ward.posture_hba_rules() IS 'The rules of pg_hba.conf. Needs pg_hba_file_rules. For security_posture().';
