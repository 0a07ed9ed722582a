# How far sealing falls behind 17,000 entries a second: 1,700 transactions a second that update ten rows each.
psql -c "CALL fresh('ward')" -o /dev/null
echo "SELECT fill('ward', 80000) \\gexec" | psql
seal
printf '%s\n' '\set first :client_id * 10000 + random(0, 999) * 10 + 1' \
  'UPDATE rows_ward SET amount = amount + 1 WHERE id BETWEEN :first AND :first + 9;' >"$scratch/lag.pgbench"
psql -f benches/lag.sql -v seconds=$((seconds * 5)) &
sampler=$!
PGOPTIONS='-c synchronous_commit=off' on ward pgbench -n -M prepared -c 8 -j 2 -R 1700 -T $((seconds * 5 + 4)) \
  -f "$scratch/lag.pgbench" >"$scratch/lag.out" 2>&1 || die "$(cat "$scratch/lag.out")"
wait "$sampler" || die "no lag was sampled"
psql -c "INSERT INTO measurement
  VALUES ('lag, rate', 'ward', 10 * $(sed -n 's/^tps = \([0-9.]*\).*/\1/p' "$scratch/lag.out"))"
