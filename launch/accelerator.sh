#!/usr/bin/env bash
# Trains the experiments missing in results/ on a bare accelerator machine: no network, no git; Python 3.12 with JAX, Flax, optax,
# orbax and scikit-learn. First, on a machine with a network, git, MNIST and the house numbers in $SEQDIGITS_DATA:
#
#   bash launch/accelerator.sh pack
#
# It fills two folders, each of which travels with the checkout in a call of its own, since a call takes 64 MiB in all. What a call
# has brought stays on the machine for the next ones:
#
#   carry/base         for the first call: wheels, MNIST, and for the queue scenes the natural backgrounds (seqdigits
#                      build-backgrounds) and what the pretrained weights misread in them (seqdigits find-misread)
#   carry/photographs  before the queues photographs, readers and systems: the house numbers
#
# Then on the accelerator machine:
#
#   SEQDIGITS_COMMIT=... bash launch/accelerator.sh [--minutes M] [QUEUE ...] [-- FLAGS OF seqdigits reproduce]
#
# Queues, in this order by default: published (family C, then B), photographs (family D on the first 2,000 photographs),
# readers (the dense detectors with full schedules), scenes (the next cycle of reader_scene: ten million new views, from the
# pretrained weights), systems (family G: goodfellow, rcnn, glimpses, first_four, on the first 2,000 photographs and on canvases).
# A queue whose data no call has brought is skipped. The first call measures the throughput. A call stops training after eight
# minutes, saves, and evaluates what is saved, which takes about a minute; rerun the same command to resume. New files are
# collected in $OUT, default out/: at most 8 files of under 16 MiB per call, the newest weights first, the remaining ones in the
# next call; tar -xf unpacks each into results/. Workdirs are in $ACCELERATOR_WORK, default $TMPDIR/seqdigits.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
carry=carry
work=${ACCELERATOR_WORK:-${TMPDIR:-/tmp}/seqdigits}
out=${OUT:-out}

fail() { echo "launch/accelerator.sh: $*" >&2; exit 2; }

limit_mib=64 # of the files of a call: the checkout and what it carries
misread=misread_cycle4.jpg # what the pretrained weights and those before them misread, see docs/pictures.md

pack() { # copies the small pure-Python wheels that the machine lacks, and the data
  local data=${SEQDIGITS_DATA:?is not set: the folder of mnist/ and svhn_numbers/} cache=$HOME/.cache/seqdigits part
  git rev-parse --is-inside-work-tree > /dev/null || fail "pack needs a checkout of git, which says what travels with it."
  rm -rf "$carry"
  mkdir -p "$carry"/base/{wheels,mnist,backgrounds} "$carry/photographs/svhn_numbers"
  "$python" -m pip download -q --no-deps --only-binary :all: --implementation py --abi none --platform any \
    --python-version 3.12 -d "$carry/base/wheels" absl-py clu ml_collections wrapt
  for part in {train,t10k}-{images-idx3,labels-idx1}-ubyte.gz; do
    pack_file "$data/mnist/$part" "$carry/base/mnist" "all queues but photographs"
  done
  pack_file "$cache/backgrounds.jpg" "$carry/base/backgrounds" "the queue scenes (seqdigits build-backgrounds)"
  pack_file "$cache/$misread" "$carry/base/backgrounds" "the queue scenes (seqdigits find-misread --out $cache/$misread --add ..., see docs/pictures.md)"
  for part in {train,test}.tar.gz; do # of the rest of the folder, nothing is read
    pack_file "$data/svhn_numbers/$part" "$carry/photographs/svhn_numbers" "the queues photographs, readers and systems"
  done
  check_sizes
}

pack_file() { # FILE, FOLDER, AND WHAT NEEDS IT
  if [[ -f $1 ]]; then cp --no-preserve=mode "$1" "$2"; else echo "$1 is missing: needed by $3" >&2; fi
}

check_sizes() { # prints the size of each part; fails if a folder cannot travel with the checkout
  local folder part tree size too_large=()
  tree=$({ git ls-files -coz --exclude-standard | du -cb --files0-from=- 2> /dev/null || true; } | tail -n 1 | cut -f1)
  echo "$(mib "$tree") MiB  the checkout: what git does not ignore"
  for folder in "$carry"/*; do
    for part in "$folder"/*; do echo "$(mib "$(bytes "$part")") MiB  $part"; done
    size=$((tree + $(bytes "$folder")))
    echo "$(mib "$size") MiB  the checkout and $folder, of $limit_mib"
    ((size <= limit_mib * 1024 * 1024)) || too_large+=("$folder")
  done
  ((${#too_large[@]} == 0)) || fail "${too_large[*]}: more than $limit_mib MiB together with the checkout. Delete a part" \
    "listed above, whose queues are then skipped, or let .git/info/exclude name large files that are not committed."
}

bytes() { find "$1" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum + 0 }'; }

mib() { awk -v bytes="$1" 'BEGIN { printf "%5.1f", bytes / 1024 / 1024 }'; }

unpack() { # keeps what this call has brought; wheels are zip files, so nothing is installed
  local wheel part
  mkdir -p "$work/data" "$work/python" "$HOME/.cache/seqdigits"
  if [[ ! -f $work/python/.done ]]; then
    for wheel in "$carry"/base/wheels/*.whl; do "$python" -m zipfile -e "$wheel" "$work/python"; done
    touch "$work/python/.done"
  fi
  for part in base/mnist photographs/svhn_numbers; do
    if [[ -d $carry/$part ]]; then cp -r "$carry/$part" "$work/data/"; fi
  done
  if [[ -d $carry/base/backgrounds ]]; then cp -r "$carry/base/backgrounds/." "$HOME/.cache/seqdigits/"; fi
  # Before the installed packages; pure Python runs on any machine.
  export PYTHONPATH="$PWD:$work/python${PYTHONPATH:+:$PYTHONPATH}" SEQDIGITS_DATA=$work/data
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
gather() { # packs the results, then weights, the newest first, each once; a name with a character like + or = would not come back
  local file name count=1
  mkdir -p "$out" "$work/sent"
  tar -C "$work" --exclude='*.npz' -cf "$out/results.tar" results
  while IFS= read -r file; do
    name=${file##*/}
    name=${name//[^A-Za-z0-9._-]/_}.tar
    [[ $file -nt $work/sent/$name ]] || continue
    if (($(stat -c %s "$file") >= 16 * 1024 * 1024 - 20 * 1024)); then # a tar is up to 20 KiB larger
      echo "skipped, 16 MiB or more: $file"
    elif ((count == 8)); then
      echo "next call: $name"
    else
      tar -C "$work" -cf "$out/$name" "results/${file##*/}"
      touch -r "$file" "$work/sent/$name"
      count=$((count + 1))
    fi
  done < <(find "$work/results" -name '*.npz' -printf '%T@ %p\n' | sort -rn | cut -d' ' -f2-)
  echo "$count files in $out/, after $SECONDS seconds"
}

queue() { # NAME
  local long=(--set optim.decay_steps=20000 --set optim.warmup_steps=500 --set train.steps=20000 --set evaluate.every=1000
    --set train.checkpoint_every=2000) mnist=$work/data/mnist/train-images-idx3-ubyte.gz
  local photographs=$work/data/svhn_numbers/test.tar.gz backgrounds=$HOME/.cache/seqdigits
  case $1 in
    published)
      has "$1" base "$mnist" || return 0
      series C
      series B
      ;;
    photographs)
      has "$1" photographs "$photographs" || return 0
      series D --set data.photographs=svhn_2000
      ;;
    readers)
      has "$1" base "$mnist" && has "$1" photographs "$photographs" || return 0
      series reader_canvas reader_mnist reader_strip5 "${long[@]}" --set train.batch_size=512 # 10 million images each
      series reader_svhn reader_svhn_crop
      ;;
    scenes) # as the fifth cycle in docs/pictures.md, with larger batches and for longer
      has "$1" base "$mnist" "$backgrounds"/{backgrounds.jpg,"$misread"} || return 0
      series reader_scene --set init.path=scene --set seed=3 --set "data.misread=~/.cache/seqdigits/$misread" \
        --set train.batch_size=256 --set train.steps=40000 --set optim.decay_steps=40000
      ;;
    systems)
      has "$1" base "$mnist" && has "$1" photographs "$photographs" || return 0
      series goodfellow_small rcnn_small glimpses glimpses_digits
      series first_four_{11,12,21,22} rcnn_crop32 glimpses_crop goodfellow --set data.photographs=svhn_2000
      ;;
  esac
}

has() { # QUEUE, FOLDER OF carry/, FILES: whether a call has brought the files
  local file
  for file in "${@:3}"; do
    if [[ ! -f $file ]]; then
      echo "the queue $1 is skipped: $file is missing. Let a call carry $carry/$2, from 'accelerator.sh pack'." >&2
      status=2
      return 1
    fi
  done
}

minutes=8 queues=() flags=() status=0
while (($#)); do
  case $1 in
    pack) pack; exit ;;
    --minutes) (($# > 1)) || fail "--minutes: a number is missing"; minutes=$2; shift ;;
    --) shift; flags=("$@"); break ;;
    published | photographs | readers | scenes | systems) queues+=("$1") ;;
    *) fail "'$1' is not an argument: allowed are pack, --minutes M, published, photographs, readers, scenes, systems, -- FLAGS" ;;
  esac
  shift
done
[[ $minutes =~ ^[1-9][0-9]*$ ]] || fail "--minutes $minutes: an integer from 1 is allowed"
((${#queues[@]})) || queues=(published photographs readers scenes systems)
[[ -d $carry/base || -f $work/python/.done ]] || fail "$carry/base is missing, which the first call carries. Run" \
  "'bash launch/accelerator.sh pack' on a machine with a network."

mkdir -p "$work/results"
trap gather EXIT
trap 'exit 130' INT # after the current run has saved
trap 'exit 75' TERM
unpack
throughput
for name in "${queues[@]}"; do queue "$name"; done
exit "$status"
