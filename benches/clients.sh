# 1, 4, 16 and 64 clients that each update one random row a transaction, by its primary key.
for variant in "${variants[@]}"; do
  on "$variant" psql -c "CALL fresh('$variant')"
  echo "SELECT fill('$variant', 100000) \\gexec" | on "$variant" psql
  printf '%s\n' '\set id random(1, 100000)' \
    "UPDATE rows_$variant SET amount = amount + 1, changed_at = now() WHERE id = :id;" >"$scratch/$variant.pgbench"
done
seal
for ((round = 1; round <= rounds; round++)); do
  for clients in 1 4 16 64; do
    for mode in on off; do
      for variant in $(turn); do
        on "$variant" psql -c "VACUUM rows_$variant"
        PGOPTIONS="-c synchronous_commit=$mode" \
          throughput "$clients clients, $mode" "$variant" -c "$clients" -f "$scratch/$variant.pgbench"
      done
    done
  done
done
