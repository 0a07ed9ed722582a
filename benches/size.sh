# Bytes an entry of a narrow table, all indexes included: pg_ward beside the transition-table trigger. So many rows
# for pg_ward that each statement fills a whole segment, with the index it has at its end. pgaudit keeps nothing in the
# database: what counts is its log. It has an entry a statement, so there each row has a statement of its own.
psql -o /dev/null -v variant=ward -v rows=1048576 -f benches/size.sql
psql -o /dev/null -v variant=transition -v rows=100000 -f benches/size.sql
if [[ -n ${pgaudit_host:-} ]]; then on pgaudit psql -o /dev/null -v rows=5000 -f benches/size_pgaudit.sql; fi
