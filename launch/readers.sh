#!/usr/bin/env bash
# Trains the readers at full length on one accelerator, a stage at a time:
#
#   bash launch/readers.sh handwriting|scene|photographs|beside [FLAGS OF seqdigits.experiments.reproduce]
#
# A stage stops by itself after nine minutes, saved; the same command goes on where it stopped. Results and weights come to
# results/. MNIST and, for the last two stages, the house numbers are looked for in $SEQDIGITS_DATA; TensorFlow is not needed.
set -euo pipefail
cd "$(dirname "$0")/.."
stage=${1:-}
shift || true

series() { ${PYTHON:-python} -m seqdigits reproduce "$@" --budget-minutes 9 --weights; }
often=(--set train.steps_per_call=50 --set train.log_every=500 --set train.checkpoint_every=2000 --set evaluate.every=1000)

case $stage in
handwriting) # 10 million canvases, digits and strips each
  series reader_canvas reader_mnist reader_strip5 "${often[@]}" \
    --set train.batch_size=512 --set train.steps=20000 --set optim.decay_steps=20000 --set optim.warmup_steps=500 "$@"
  ;;
scene) # 5 million scenes with digits of 10 to 120 pixels
  series reader_scene "${often[@]}" \
    --set data.height=128 --set data.width=256 --set data.min_digit=10 --set data.max_digit=120 \
    --set train.batch_size=256 --set train.steps=20000 --set optim.decay_steps=20000 --set optim.warmup_steps=500 "$@"
  ;;
photographs) # the first 2,000 photographs, whole, beginning with the shipped weights, then cropped; as long as on a CPU
  series reader_svhn reader_svhn_crop "${often[@]}" "$@"
  ;;
beside) # published networks on the same photographs, their whole schedules
  series svhn_paper_heads svhn_crop32 "${often[@]}" --set data.photographs=svhn_2000 "$@"
  ;;
*)
  echo "there is no stage '$stage': handwriting, scene, photographs or beside" >&2
  exit 2
  ;;
esac
