#!/usr/bin/env bash
# Trains several configs as managed jobs of SkyPilot, one each, in the workdirs runs/NAME of the bucket:
#
#   bash launch/sky_sweep.sh BUCKET configs/X.py configs/Y.py ... [-- FLAGS]
#
# A flag has no blanks in it, because sky.yaml divides FLAGS there. All jobs are queued at once; SkyPilot starts as many as its controller and the quota allow. DRY_RUN=1 prints the commands only.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "launch/sky_sweep.sh: $*" >&2; exit 2; }
run() { if [[ ${DRY_RUN:-} == 1 ]]; then printf '%q' "$1" && printf ' %q' "${@:2}" && echo; else "$@"; fi; }

bucket=${1:-} configs=() names=' '
shift || fail "BUCKET and configs are missing: bash launch/sky_sweep.sh BUCKET configs/X.py configs/Y.py ... [-- FLAGS]"
while (($#)) && [[ $1 != -- ]]; do
  [[ -f $1 ]] || fail "config $1: no such file"
  name=$(basename "$1" .py)
  [[ $names != *" $name "* ]] || fail "config $1: two configs of that name would share the workdir runs/$name"
  configs+=("$1") names+="$name "
  shift
done
(($# == 0)) || shift
for flag; do
  [[ $flag != *[[:space:]]* ]] || fail "flag $flag has a blank, where sky.yaml divides flags: write it without"
done
((${#configs[@]})) || fail "no config is given: bash launch/sky_sweep.sh $bucket configs/X.py configs/Y.py ... [-- FLAGS]"
for config in "${configs[@]}"; do
  name=$(basename "$config" .py)
  run sky jobs launch --yes --detach-run --name "${name//_/-}" launch/sky.yaml \
    --env "BUCKET=$bucket" --env "CONFIG=$config" --env "RUN=$name" --env "FLAGS=$*"
done
