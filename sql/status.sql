REVOKE ALL ON FUNCTION ward.status() FROM PUBLIC;
COMMENT ON FUNCTION ward.status() IS
    'One row per part of pg_ward: ok, how it stands, and what to do when it is not ok.';
