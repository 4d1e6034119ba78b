#!/usr/bin/env bash
# Trains the experiments missing in results/ on a bare accelerator machine: no network, no git; Python 3.12 with JAX, Flax, optax,
# orbax and scikit-learn. First, on a machine with a network (and with MNIST and the house numbers in $SEQDIGITS_DATA):
#
#   bash launch/accelerator.sh pack            fills carry/, which is copied with the checkout; first make the natural
#                                              backgrounds of the queue scenes: seqdigits build-backgrounds
#
# Then on the accelerator machine:
#
#   SEQDIGITS_COMMIT=... bash launch/accelerator.sh [--minutes M] [QUEUE ...] [-- FLAGS OF seqdigits reproduce]
#
# Queues, in this order by default: published (family C, then B), photographs (family D on the first 2,000 photographs),
# readers (the dense detectors with full schedules), scenes (reader_scene, ten million views). The first call measures the
# throughput. A call stops training after eight minutes, saves, and evaluates what is saved, which takes about a minute; rerun
# the same command to resume. New files are collected in $OUT,
# default out/: at most 8 files of under 16 MiB per call, the newest weights first, the remaining ones in the next call.
# Workdirs are in $ACCELERATOR_WORK, default $TMPDIR/seqdigits.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
carry=carry
work=${ACCELERATOR_WORK:-${TMPDIR:-/tmp}/seqdigits}
out=${OUT:-out}

fail() { echo "launch/accelerator.sh: $*" >&2; exit 2; }

pack() { # copies the small pure-Python wheels that the machine lacks, and the data
  local data=${SEQDIGITS_DATA:?is not set: the folder of mnist/ and svhn_numbers/} name
  rm -rf "$carry" && mkdir -p "$carry/wheels" "$carry/data"
  "$python" -m pip download -q --no-deps --only-binary :all: --implementation py --abi none --platform any \
    --python-version 3.12 -d "$carry/wheels" absl-py clu ml_collections wrapt
  for name in mnist svhn_numbers; do
    if [[ -d $data/$name ]]; then cp -r "$data/$name" "$carry/data/"; else echo "$data/$name is missing and skipped" >&2; fi
  done
  local file=$HOME/.cache/seqdigits/backgrounds.jpg
  if [[ -f $file ]]; then cp "$file" "$carry/data/"; else echo "$file is missing: the queue scenes will fail" >&2; fi
  local mib
  mib=$(du -sm "$carry" | cut -f1)
  ((mib <= 64)) || fail "$carry/ has $mib MiB, at most 64 are allowed. Set SEQDIGITS_DATA to a folder without svhn_numbers," \
    "which only the queues photographs and readers need, or move $file away, which only scenes needs."
  echo "$carry/: $mib MiB"
}

unpack() { # wheels are zip files, so nothing is installed
  local wheel
  if [[ ! -f $work/python/.done ]]; then
    mkdir -p "$work/python"
    for wheel in "$carry"/wheels/*.whl; do "$python" -m zipfile -e "$wheel" "$work/python"; done
    touch "$work/python/.done"
  fi
  # Before the installed packages; pure Python runs on any machine.
  export PYTHONPATH="$PWD:$work/python${PYTHONPATH:+:$PYTHONPATH}"
  if [[ -d $carry/data ]]; then export SEQDIGITS_DATA=$PWD/$carry/data; fi
  if [[ -f $carry/data/backgrounds.jpg ]]; then
    mkdir -p "$HOME/.cache/seqdigits"
    cp "$carry/data/backgrounds.jpg" "$HOME/.cache/seqdigits/"
  fi
}

seconds_left() { echo $((minutes * 60 - SECONDS)); }

throughput() { # once
  [[ ! -f $work/results/throughput.txt ]] || return 0
  local limit=$((minutes * 60 / 4))
  echo "--- throughput of canvas_weighted, at most $limit seconds"
  if timeout "$limit" "$python" -m seqdigits benchmark configs/canvas_weighted.py --config.train.steps_per_call=50 --rounds 3 \
    > "$work/throughput.new"; then
    mv "$work/throughput.new" "$work/results/throughput.txt"
    cat "$work/results/throughput.txt"
  else
    echo "the throughput was not measured: status $?" >&2
  fi
}

series() { # EXPERIMENTS AND FLAGS: runs those without a result in the remaining time
  local left
  left=$(seconds_left)
  ((left > 15)) || return 0
  "$python" -m seqdigits reproduce "$@" --set train.steps_per_call=50 --skip results --weights --out "$work/results" \
    --workdirs "$work/runs" --budget-minutes "$(printf '%d.%02d' $((left / 60)) $((left % 60 * 100 / 60)))" "${flags[@]}" ||
    status=$?
  ((status < 75)) || exit "$status" # stopped by a signal
}

# shellcheck disable=SC2317,SC2329 # called by the trap
gather() { # collects the results as one file, then weights, the newest first, each once
  local file count=1
  mkdir -p "$out" "$work/sent"
  tar -C "$work" --exclude='*.npz' -cf "$out/results.tar" results
  while IFS= read -r file; do
    [[ $file -nt $work/sent/$(basename "$file") ]] || continue
    if (($(stat -c %s "$file") >= 16 * 1024 * 1024)); then
      echo "skipped, 16 MiB or more: $file"
    elif ((count == 8)); then
      echo "next call: $(basename "$file")"
    else
      cp "$file" "$out/"
      touch -r "$file" "$work/sent/$(basename "$file")"
      count=$((count + 1))
    fi
  done < <(find "$work/results" -name '*.npz' -printf '%T@ %p\n' | sort -rn | cut -d' ' -f2-)
  echo "$count files in $out/, after $SECONDS seconds"
}

queue() {
  local long=(--set optim.decay_steps=20000 --set optim.warmup_steps=500 --set train.steps=20000 --set evaluate.every=1000
    --set train.checkpoint_every=2000)
  case $1 in
    scenes) series reader_scene --set train.batch_size=256 --set train.steps=40000 --set optim.decay_steps=40000 ;;
    published)
      series C
      series B
      ;;
    photographs) series D --set data.photographs=svhn_2000 ;;
    readers)
      series reader_canvas reader_mnist reader_strip5 "${long[@]}" --set train.batch_size=512 # 10 million images each
      series reader_svhn reader_svhn_crop
      ;;
  esac
}

minutes=8 queues=() flags=() status=0
while (($#)); do
  case $1 in
    pack) pack; exit ;;
    --minutes) minutes=${2:-}; shift ;;
    --) shift; flags=("$@"); break ;;
    scenes | published | photographs | readers) queues+=("$1") ;;
    *) fail "'$1' is not an argument: allowed are pack, --minutes M, scenes, published, photographs, readers, -- FLAGS" ;;
  esac
  shift
done
[[ $minutes =~ ^[1-9][0-9]*$ ]] || fail "--minutes $minutes: an integer from 1 is allowed"
((${#queues[@]})) || queues=(published photographs readers scenes)
[[ -d $carry/wheels ]] || fail "$carry/wheels is missing. Run 'bash launch/accelerator.sh pack' on a machine with a network."

mkdir -p "$work/results"
trap gather EXIT
trap 'exit 130' INT # after the current run has saved
trap 'exit 75' TERM
unpack
throughput
for name in "${queues[@]}"; do queue "$name"; done
exit "$status"
