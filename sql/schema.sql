-- Tables and views of pg_ward. Runs before the functions are created.
GRANT USAGE ON SCHEMA ward TO PUBLIC;
