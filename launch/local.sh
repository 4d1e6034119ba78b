#!/usr/bin/env bash
# Trains one config in N processes on this host:
#
#   bash launch/local.sh N --config configs/X.py --workdir W [FLAGS]
#
# All arguments after N are those of `python -m seqdigits.main`. When one process fails, the others receive SIGTERM. SIGKILL
# follows SEQDIGITS_GRACE_SECONDS (default 25) and 5 seconds after the first of N ended with another status than 0, also when it
# was stopped. Lines of the processes other than 0 are printed on stderr after
# "[RANK] ".
#
# Trains several configs, at most P at a time, each in one process, in the workdirs RUNS/NAME with output in RUNS/NAME.log:
#
#   bash launch/local.sh sweep P RUNS configs/X.py configs/Y.py ... [-- FLAGS]
#
# The GPUs of this host, or those in CUDA_VISIBLE_DEVICES, are divided among the N processes or P runs. SIGTERM, SIGINT and
# SIGUSR1 are passed on to every process.
#
# Exit status: 0 done; 1 done, but some items failed; 2 a user's error; 75 stopped, killed or aborted, rerun the same command to
# resume; 130 Ctrl-C; otherwise that of a process that crashed. Of several, 2 takes precedence, then 1 and crashes, 130, 75.
set -euo pipefail

fail() { echo "launch/local.sh: $*" >&2; exit 2; }

grace=${SEQDIGITS_GRACE_SECONDS:-25}
[[ $grace =~ ^[0-9]+$ ]] || fail "SEQDIGITS_GRACE_SECONDS is '$grace': an integer of seconds is allowed"
python=${PYTHON:-$([[ -x .venv/bin/python ]] && echo .venv/bin/python || echo python3)}
command -v "$python" >/dev/null || fail "PYTHON is '$python', which is no command. Run 'make env', or set PYTHON."

sweep='' configs=() names=' '
if [[ ${1:-} == sweep ]]; then
  shift
  sweep=${2:-}
fi
limit=${1:-} # processes at a time
[[ $limit =~ ^[1-9][0-9]*$ ]] || fail "'$limit' is not an integer from 1:
  bash launch/local.sh N --config configs/X.py --workdir W [FLAGS]
  bash launch/local.sh sweep P RUNS configs/X.py configs/Y.py ... [-- FLAGS]"
shift
total=$limit
if [[ $sweep ]]; then
  shift
  while (($#)) && [[ $1 != -- ]]; do
    [[ -f $1 ]] || fail "config $1: no such file"
    name=$(basename "$1" .py)
    [[ $names != *" $name "* ]] || fail "config $1: two configs of that name would share the workdir $sweep/$name"
    configs+=("$1") names+="$name "
    shift
  done
  (($# == 0)) || shift
  total=${#configs[@]}
  ((total)) || fail "no config is given: bash launch/local.sh sweep P RUNS configs/X.py configs/Y.py ... [-- FLAGS]"
  mkdir -p "$sweep"
fi

gpus=()
if [[ -n ${CUDA_VISIBLE_DEVICES+set} ]]; then
  [[ $CUDA_VISIBLE_DEVICES == -1 ]] || IFS=, read -ra gpus <<<"$CUDA_VISIBLE_DEVICES" # -1 is none
elif command -v nvidia-smi >/dev/null && found=$(nvidia-smi --query-gpu=index --format=csv,noheader 2>/dev/null); then
  mapfile -t gpus < <(grep -E '^[0-9]+$' <<<"$found") # without a driver it prints its error here
fi
if ((limit > 1 && ${#gpus[@]} && ${#gpus[@]} % limit)); then
  fail "$limit processes at a time cannot share ${#gpus[@]} GPUs equally: use a divisor of ${#gpus[@]}, or set CUDA_VISIBLE_DEVICES"
fi

pids=() statuses=() slots=() stopped=''
# shellcheck disable=SC2317,SC2329 # called by the traps
pass_on() { # SIGNAL
  local i
  stopped=$1
  for ((i = 0; i < ${#pids[@]}; i++)); do
    [[ ${statuses[i]:-} ]] || kill -s "$1" "${pids[i]}" 2>/dev/null || true
  done
}
for signal in TERM INT USR1; do
  # shellcheck disable=SC2064 # expanded now
  trap "pass_on $signal" "$signal"
done
# shellcheck disable=SC2317,SC2329 # called by the trap
cut_short() { # a signal to the process group of this script ended one of its own commands
  local status=$? pid
  for pid in $(jobs -rp); do kill -s KILL -- "-$pid" 2>/dev/null || true; done
  case $stopped in
    "") exit "$status" ;;
    INT) exit 130 ;;
    *) exit 75 ;;
  esac
}
trap cut_short EXIT

prefix() { # RANK
  local line
  trap '' TERM INT USR1
  while IFS= read -r line || [[ $line ]]; do
    [[ -z $line ]] || printf '[%s] %s\n' "$1" "$line" >&2
  done
}

unset SEQDIGITS_COORDINATOR SEQDIGITS_NUM_PROCESSES SEQDIGITS_PROCESS_ID
if [[ -z $sweep ]] && ((limit > 1)); then
  port=$("$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  export SEQDIGITS_COORDINATOR=127.0.0.1:$port SEQDIGITS_NUM_PROCESSES=$limit
fi

start() { # INDEX SLOT FLAGS; the slot chooses the GPUs
  local i=$1 slot=$2 share=$((${#gpus[@]} / limit)) name
  shift 2
  if ((share)); then
    CUDA_VISIBLE_DEVICES=$(IFS=,; echo "${gpus[*]:slot * share:share}")
    export CUDA_VISIBLE_DEVICES
  fi
  # With `set -m` each process has a process group of its own, so that Ctrl-C in a terminal reaches it once, from here; a second
  # signal would stop it without saving.
  set -m
  if [[ $sweep ]]; then
    name=$(basename "${configs[i]}" .py)
    echo "$name: started, output in $sweep/$name.log"
    "$python" -m seqdigits.main --config "${configs[i]}" --workdir "$sweep/$name" "$@" </dev/null >>"$sweep/$name.log" 2>&1 &
  elif ((limit == 1)); then
    "$python" -m seqdigits.main "$@" </dev/null &
  elif ((i == 0)); then
    SEQDIGITS_PROCESS_ID=0 "$python" -m seqdigits.main "$@" </dev/null &
  else
    SEQDIGITS_PROCESS_ID=$i "$python" -m seqdigits.main "$@" </dev/null > >(prefix "$i") 2>&1 &
  fi
  set +m
  pids[i]=$! slots[slot]=$!
  [[ -z $stopped ]] || kill -s TERM "$!" # the signal came just before
}

weight_of() { # STATUS
  case $1 in
    0) echo 0 ;;
    # Stopped; aborted by JAX because process 0 was lost; SIGKILL; SIGUSR1 and SIGTERM before the handlers were installed.
    75 | 134 | 137 | 138 | 143) echo 1 ;;
    130) echo 2 ;;
    2) echo 4 ;;
    *) echo 3 ;;
  esac
}

result=0 deadline='' ended=0
while ((ended < total)); do
  running=$(jobs -rp) || continue # a signal to the process group of this script
  running=" ${running//$'\n'/ } "
  for ((i = 0; i < ${#pids[@]}; i++)); do
    [[ -z ${statuses[i]:-} && $running != *" ${pids[i]} "* ]] || continue
    status=0
    wait "${pids[i]}" 2>/dev/null || status=$?
    statuses[i]=$status
    ended=$((ended + 1))
    (($(weight_of "$status") <= $(weight_of "$result"))) || result=$status
    if [[ $sweep ]]; then
      echo "$(basename "${configs[i]}" .py): ended with status $status"
    elif ((status && limit > 1)); then
      echo "launch/local.sh: process $i ended with status $status" >&2
      if [[ -z $deadline ]]; then
        deadline=$((SECONDS + grace + 5))
        [[ $stopped ]] || pass_on TERM
      fi
    fi
  done
  if [[ $stopped ]] && ((${#pids[@]} < total)); then # what was not started is left to the next call
    total=${#pids[@]}
    [[ $stopped == INT ]] && status=130 || status=75
    (($(weight_of "$status") <= $(weight_of "$result"))) || result=$status
  fi
  for ((slot = 0; slot < limit && ${#pids[@]} < total; slot++)); do
    [[ ${slots[slot]:-} && $running == *" ${slots[slot]} "* ]] || start "${#pids[@]}" "$slot" "$@"
  done
  if [[ $deadline ]] && ((SECONDS >= deadline)); then
    for pid in $(jobs -rp); do
      echo "launch/local.sh: killing process $pid, which did not stop in $((grace + 5)) seconds" >&2
      kill -s KILL -- "-$pid" 2>/dev/null || true
    done
  fi
  { sleep 0.2 || true; } 2>/dev/null # a signal to the process group ends it early
done
if (($(weight_of "$result") == 1)); then result=75; fi
trap - EXIT
exit "$result"
