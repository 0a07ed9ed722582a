# 100,000 rows a statement.
for ((round = 1; round <= rounds; round++)); do
  for variant in "${variants[@]}"; do
    on "$variant" psql -o /dev/null -v variant="$variant" -f benches/bulk.sql
  done
done
