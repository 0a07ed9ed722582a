# Five attacks on the sealed trail of the demo, by a superuser who can write every table. Sourced by
# scripts/demo, whose q, tell and die it uses.

# Attacks, has the trail verified, undoes the attack, has it verified again.
attack() { # what happens, place that the report must name, attack, undo
  local verdict
  tell '' "$1"
  printf '  sql> %s\n' "$3"
  q -c "$3"
  verdict=$(q -F ' | ' -c "SELECT 'valid: ' || is_valid, 'first bad entry: ' || coalesce(first_bad_entry::text, '-'),
                                  reason FROM ward.verify_audit_trail_integrity()")
  tell "  verification says: $verdict"
  [[ $verdict == 'valid: false'* ]] || die "this attack went unnoticed"
  [[ $verdict == *"$2"* ]] || die "the report does not name $2"
  q -c "$4"
  [[ $(q -c 'SELECT is_valid FROM ward.verify_audit_trail_integrity()') == t ]] ||
    die "the trail is not valid after the attack was undone"
  echo "  undone: valid again"
}

five_attacks() {
  local entry next block segment candidate flip swap
  # two rows of packed entries that pgbench wrote, in the middle of the last block but one
  block=$(q -c "SELECT max(block_no) - 1 FROM ward.audit_blocks")
  for candidate in $(q -c "SELECT oid::regclass FROM pg_class WHERE relkind = 'r'
      AND relnamespace = 'ward'::regnamespace AND relname ~ '^audit_segment_[0-9]+\$'"); do
    read -r entry next < <(q -F ' ' -c "SELECT min(entry_id), max(entry_id) FROM (
      SELECT s.entry_id FROM $candidate s JOIN ward.audit_block b ON s.entry_id > b.first_leaf AND s.entry_id < b.tree_size
      WHERE block_no = $block ORDER BY 1 LIMIT 2) AS two HAVING count(*) = 2") && segment=$candidate && break
  done
  [[ -n ${segment:-} ]] || die "block $block has hardly any entries"
  tell "The target is block $block: rows of table $segment hold the entries from $entry and from $next on."

  local last="length(records) - 1"
  flip="UPDATE $segment SET records = set_byte(records, $last, get_byte(records, $last) # 1) WHERE entry_id = $entry"
  attack "Attack 1: change one byte of an entry." "entry: $((next - 1))" "$flip" "$flip"

  q -c "CREATE TABLE saved AS SELECT * FROM $segment WHERE entry_id = $entry"
  attack "Attack 2: delete entries." "entry: $entry" \
    "DELETE FROM $segment WHERE entry_id = $entry" \
    "INSERT INTO $segment SELECT * FROM saved"

  attack "Attack 3: insert entries that never happened." "entry: $entry" \
    "INSERT INTO $segment SELECT $entry, records FROM $segment WHERE entry_id = $next" \
    "DELETE FROM $segment WHERE entry_id = $entry; INSERT INTO $segment SELECT * FROM saved"

  swap="UPDATE $segment SET entry_id = $entry + $next - entry_id WHERE entry_id IN ($entry, $next)"
  attack "Attack 4: swap entries." "entry: $entry" "$swap" "$swap"

  flip="UPDATE ward.audit_block SET root = set_byte(root, 0, get_byte(root, 0) # 1) WHERE block_no = $block"
  attack "Attack 5: change the root that a block recorded." "block $block" "$flip" "$flip"
}
