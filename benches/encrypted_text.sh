# Columns of type encrypted_text: see encrypted_text.sql; then lookups in what it leaves, by one client.
psql -o /dev/null -v rounds="$rounds" -f benches/encrypted_text.sql
for ((round = 1; round <= rounds; round++)); do
  for variant in nothing ward; do
    printf '%s\n' '\set id random(1, 1000000)' \
      "SELECT id FROM mails_$variant WHERE mail = md5(:id::text);" >"$scratch/lookup.pgbench"
    tps=$(pgbench -n -c 1 -T "$seconds" -M prepared -f "$scratch/lookup.pgbench" |
      sed -n 's/^tps = \([0-9.]*\).*/\1/p')
    psql -c "INSERT INTO measurement VALUES ('encrypted_text, lookup', '$variant', 1 / $tps::float8)"
  done
done
