# Verifying a million leaves and more, of which every twentieth is a transaction of its own: in SQL and
# with ward-verify, each by one worker and by two. A full run goes on to ten million of the same kind, to show that the
# time grows with the leaves. In SQL the MACs of writers are checked; ward-verify does that where it is given the audit
# key, so it is measured with and without.
cargo build --quiet --release -p ward-verify
program=${CARGO_TARGET_DIR:-target}/release/ward-verify
check_trail() { # name of the measurement, options of ward-verify
  local start=$EPOCHREALTIME code=0
  "$program" check "$scratch/trail.ward" "${@:2}" >"$scratch/verdict" || code=$?
  psql -c "INSERT INTO measurement VALUES ('$1', 'ward', $EPOCHREALTIME - $start)"
  ((code == 3)) || die "ward-verify ended with $code: $(cat "$scratch/verdict")"
}
sizes=(1)
if ((rounds >= 12)); then sizes+=(10); fi

psql -c "CALL fresh('ward')" -o /dev/null
psql -c "SELECT concat_ws(' ', key, version, encode(wrapped, 'hex')) FROM ward.encryption_key
  JOIN ward.encryption_key_version USING (key) WHERE purpose = 'audit' AND wrapped IS NOT NULL" |
  "$program" audit-key --master-key "$PGHOST/master.key" --out "$scratch/audit.key" >/dev/null
filled=0
for size in "${sizes[@]}"; do
  # in every million 50,000 transactions of one row, which are a leaf each
  for ((; filled < size; filled++)); do
    psql -c 'SET synchronous_commit = off' -c "DO \$\$ BEGIN FOR n IN 1 .. 50000 LOOP
      INSERT INTO rows_ward VALUES (-n - $filled * 50000, 0, 0, 'alone', now()); COMMIT; END LOOP; END \$\$"
    psql -c "INSERT INTO rows_ward SELECT $filled * 1000000 + g, g % 1000, g * 0.01, 'note of row ' || g, now()
      FROM generate_series(1, 950000) g"
  done
  seal
  [[ $(psql -c 'SELECT is_valid FROM ward.verify_audit_trail_integrity()') == t ]] || die 'the trail is not valid'
  psql -c "INSERT INTO measurement SELECT 'verify $size, leaves', 'ward', max(tree_size) FROM ward.audit_blocks"
  psql -c 'COPY (SELECT ward.export_audit_trail()) TO STDOUT' >"$scratch/trail.ward"
  for ((round = 1; round <= (rounds < 3 ? rounds : 3); round++)); do
    for jobs in 1 2; do
      psql -c "CALL measure('verify $size, SQL, $jobs', 'ward',
        'SELECT * FROM ward.verify_audit_trail_integrity(jobs => $jobs)')"
      check_trail "verify $size, ward-verify without MACs, $jobs" --jobs "$jobs"
      check_trail "verify $size, ward-verify with MACs, $jobs" --jobs "$jobs" --audit-key "$scratch/audit.key"
    done
  done
  rm "$scratch/trail.ward"
done
rm "$scratch/audit.key"
