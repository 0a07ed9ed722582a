# WAL bytes a transaction, for each variant.
for variant in "${variants[@]}"; do
  on "$variant" psql -v variant="$variant" -f benches/wal.sql
done
