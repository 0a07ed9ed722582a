# Bytes an entry of a narrow table, all indexes included: pg_ward beside the transition-table trigger. So many rows
# for pg_ward that each statement fills a whole segment, with the index it has at its end.
psql -o /dev/null -v variant=ward -v rows=1048576 -f benches/size.sql
psql -o /dev/null -v variant=transition -v rows=100000 -f benches/size.sql
