-- Authentication: a token seen for the first time by the backend, and one it has verified before. Expects
-- table token.
\set ON_ERROR_STOP 1
CREATE PROCEDURE authenticate_all() LANGUAGE plpgsql AS $$
DECLARE
    start timestamptz;
    one text;
BEGIN
    start := clock_timestamp();
    PERFORM ward.authenticate(jwt, false) FROM token;
    INSERT INTO measurement
    SELECT 'authenticate, new token', 'ward', extract(epoch FROM clock_timestamp() - start) / count(*) FROM token;
    SELECT jwt INTO one FROM token LIMIT 1;
    PERFORM ward.authenticate(one, false);
    start := clock_timestamp();
    PERFORM ward.authenticate(one, false) FROM generate_series(1, 50000);
    INSERT INTO measurement
    VALUES ('authenticate, known token', 'ward', extract(epoch FROM clock_timestamp() - start) / 50000);
    COMMIT;
END $$;
CALL authenticate_all();
CALL authenticate_all();
CALL authenticate_all();
