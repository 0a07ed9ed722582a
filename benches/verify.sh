# Verifying a million leaves and more, of which every third is a trailer where the transactions are small: in SQL and
# with ward-verify, each by one worker and by two. A full run goes on to ten million, to show that the time grows with
# the leaves. ward-verify has no audit key here and leaves the MACs alone; in SQL they are checked.
cargo build --quiet --release -p ward-verify
program=${CARGO_TARGET_DIR:-target}/release/ward-verify
sizes=(1)
if ((rounds >= 12)); then sizes+=(10); fi

psql -c "CALL fresh('ward')" -o /dev/null
# 50,000 transactions of one row, three leaves each
psql -c "DO \$\$ BEGIN FOR n IN 1 .. 50000 LOOP
  INSERT INTO rows_ward VALUES (-n, 0, 0, 'alone', now()); COMMIT; END LOOP; END \$\$"
filled=0
for size in "${sizes[@]}"; do
  psql -c "INSERT INTO rows_ward SELECT $filled + g, g % 1000, g * 0.01, 'note of row ' || g, now()
    FROM generate_series(1, $size * 1000000 - $filled - 150000) g"
  filled=$((size * 1000000))
  seal
  [[ $(psql -c 'SELECT is_valid FROM ward.verify_audit_trail_integrity()') == t ]] || die 'the trail is not valid'
  psql -c "INSERT INTO measurement SELECT 'verify $size, leaves', 'ward', max(tree_size) FROM ward.audit_blocks"
  psql -c 'COPY (SELECT ward.export_audit_trail()) TO STDOUT' >"$scratch/trail.ward"
  for ((round = 1; round <= (rounds < 3 ? rounds : 3); round++)); do
    for jobs in 1 2; do
      psql -c "CALL measure('verify $size, SQL, $jobs', 'ward',
        'SELECT * FROM ward.verify_audit_trail_integrity(jobs => $jobs)')"
      start=$EPOCHREALTIME
      code=0
      "$program" check "$scratch/trail.ward" --jobs "$jobs" >"$scratch/verdict" || code=$?
      ((code == 3)) || die "ward-verify ended with $code: $(cat "$scratch/verdict")"
      psql -c "INSERT INTO measurement VALUES ('verify $size, ward-verify, $jobs', 'ward', $EPOCHREALTIME - $start)"
    done
  done
  rm "$scratch/trail.ward"
done
