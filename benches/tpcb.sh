# TPC-B as pgbench has it, with all four tables audited, 16 clients. One set of tables, audited in each way in turn.
for variant in nothing pgaudit; do
  if [[ " ${variants[*]} " == *" $variant "* ]]; then
    on "$variant" pgbench --initialize --quiet --scale="$scale" 2>/dev/null
  fi
done
for ((round = 1; round <= rounds; round++)); do
  for variant in $(turn); do
    on "$variant" psql -c "CALL audit('pgbench_accounts', '$variant', 'aid')" \
      -c "CALL audit('pgbench_branches', '$variant', 'bid')" -c "CALL audit('pgbench_tellers', '$variant', 'tid')" \
      -c "CALL audit('pgbench_history', '$variant', 'aid')" \
      -c 'TRUNCATE pgbench_history' -c 'VACUUM pgbench_accounts, pgbench_branches, pgbench_tellers'
    throughput "TPC-B, scale $scale" "$variant" -c 16 -b tpcb-like
  done
done
