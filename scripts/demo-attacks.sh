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
  local entry block segment candidate flip swap
  # an entry that pgbench wrote, somewhere in the last block but one
  block=$(q -c "SELECT max(block_no) - 1 FROM ward.audit_trail")
  entry=$(q -c "SELECT entry_id FROM ward.audit_trail WHERE block_no = $block
                ORDER BY entry_id OFFSET 100 LIMIT 1")
  [[ -n $entry ]] || die "block $block has hardly any entries"
  for candidate in $(q -c "SELECT oid::regclass FROM pg_class WHERE relkind = 'r'
      AND relnamespace = 'ward'::regnamespace AND relname ~ '^audit_segment_[0-9]+\$'"); do
    if [[ $(q -c "SELECT count(*) FROM $candidate WHERE entry_id IN ($entry, $entry + 1)") == 2 ]]; then
      segment=$candidate
    fi
  done
  [[ -n ${segment:-} ]] || die "entry $entry lies in no segment"
  tell "The target is entry $entry in block $block, stored in table $segment."

  local last="length(image) - 1"
  flip="UPDATE $segment SET image = set_byte(image, $last, get_byte(image, $last) # 1) WHERE entry_id = $entry"
  attack "Attack 1: change one value that an entry recorded." "entry: $entry" "$flip" "$flip"

  q -c "CREATE TABLE saved AS SELECT * FROM $segment WHERE entry_id = $entry"
  attack "Attack 2: delete an entry." "entry: $entry" \
    "DELETE FROM $segment WHERE entry_id = $entry" \
    "INSERT INTO $segment SELECT * FROM saved"

  attack "Attack 3: insert an entry that never happened." "entry: $entry" \
    "INSERT INTO $segment SELECT $entry, leaf, image FROM $segment WHERE entry_id = $entry + 1" \
    "DELETE FROM $segment WHERE entry_id = $entry; INSERT INTO $segment SELECT * FROM saved"

  swap="UPDATE $segment SET entry_id = 2 * $entry + 1 - entry_id WHERE entry_id IN ($entry, $entry + 1)"
  attack "Attack 4: swap two entries." "entry: $entry" "$swap" "$swap"

  flip="UPDATE ward.audit_block SET root = set_byte(root, 0, get_byte(root, 0) # 1) WHERE block_no = $block"
  attack "Attack 5: change the root that a block recorded." "block $block" "$flip" "$flip"
}
