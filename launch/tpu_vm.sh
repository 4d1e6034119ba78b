#!/usr/bin/env bash
# Trains one config on all workers of a Cloud TPU: creates the TPU, installs, runs, replaces it when it is taken away, and deletes
# it at the end. Needs gcloud, logged in, with a project.
#
#   export ZONE=europe-west4-b TYPE=v5litepod-16 SHARE=gs://my-runs     see the defaults below
#   bash launch/tpu_vm.sh train NAME --config configs/X.py --workdir /mnt/seqdigits/runs/W [FLAGS]
#   bash launch/tpu_vm.sh sweep NAME RUNS configs/X.py configs/Y.py ... [-- FLAGS]     a TPU NAME-X each, workdirs RUNS/X
#
# The steps one by one:
#
#   bash launch/tpu_vm.sh create | install | logs | stop | delete NAME
#   bash launch/tpu_vm.sh start NAME --config configs/X.py --workdir /mnt/seqdigits/runs/W [FLAGS]
#
# The run is a systemd service on each worker, so that it goes on when this computer is disconnected; `train` again follows it.
# SHARE, a bucket or HOST:/PATH of an NFS server, is mounted at /mnt/seqdigits: workdirs belong there, data are in data/.
# DRY_RUN=1 prints the commands only. Exit status: that of the run, see launch/README.md.
set -euo pipefail
cd "$(dirname "$0")/.."

zone=${ZONE:-europe-west4-b} type=${TYPE:-v5litepod-8} version=${VERSION:-v2-alpha-tpuv5-lite}
share=${SHARE:-} spot=${SPOT:-1} poll=${POLL_SECONDS:-60}

fail() { echo "launch/tpu_vm.sh: $*" >&2; exit 2; }
run() { # COMMAND
  local word line=''
  if [[ ${DRY_RUN:-} != 1 ]]; then "$@"; return; fi
  for word; do
    [[ $word =~ ^[-a-zA-Z0-9_./:=,]+$ ]] || word="'${word//\'/\'\\\'\'}'"
    line+="$word "
  done
  echo "${line% }"
}
tpu() { run gcloud compute tpus tpu-vm "$1" "$name" --zone "$zone" "${@:2}"; }
remote() { tpu ssh --worker "$1" --command "$2"; } # all | NUMBER, COMMAND

# Prints the state of the TPU, or GONE where there is none. Fails where gcloud cannot say, as without a network.
state_of() {
  local found
  if found=$(tpu describe --format 'value(state)' 2>&1); then
    tail -n 1 <<<"$found"
  elif [[ $found == *NOT_FOUND* ]]; then
    echo GONE
  else
    echo "$(date +%T) $name: its state is not known: $(tail -n 1 <<<"$found")" >&2
    return 1
  fi
}

create() {
  local options=(--accelerator-type "$type" --version "$version")
  [[ $spot != 1 ]] || options+=(--spot)
  tpu create "${options[@]}"
}

check_share() { [[ $share ]] || fail "SHARE is not set: gs://BUCKET or HOST:/PATH, which all workers mount"; }

install() {
  local archive=${TMPDIR:-/tmp}/seqdigits-$name.tar.gz package mount commit
  check_share
  commit=${SEQDIGITS_COMMIT:-$(git rev-parse HEAD)}
  run git archive --output "$archive" HEAD seqdigits configs pyproject.toml PACKAGE.md LICENSE requirements.lock || return
  run gcloud compute tpus tpu-vm scp "$archive" "$name:seqdigits.tar.gz" --zone "$zone" --worker all || return
  # gcsfuse has a unit of its own: as a child of the run it would be ended together with it, and the run could not save.
  if [[ $share == gs://* ]]; then
    package='command -v gcsfuse >/dev/null || sudo apt-get install -y -q gcsfuse'
    mount="sudo systemd-run -q --collect --unit seqdigits-share --uid \$(id -u) --gid \$(id -g) -p Type=forking \\
  \$(command -v gcsfuse) --implicit-dirs --rename-dir-limit 100000 ${share#gs://} /mnt/seqdigits"
  else
    package='command -v mount.nfs >/dev/null || sudo apt-get install -y -q nfs-common'
    mount="sudo mount -t nfs $share /mnt/seqdigits"
  fi
  # The image has an older Python; uv brings 3.11. The TPU library comes in the version that this JAX wants.
  remote all "set -eu
mkdir -p seqdigits && tar -xzf seqdigits.tar.gz -C seqdigits && echo $commit > seqdigits/.commit
sudo mkdir -p /mnt/seqdigits && sudo chown \$(id -u) /mnt/seqdigits
$package
cat > seqdigits/mount.sh <<'END'
mountpoint -q /mnt/seqdigits || $mount
END
bash seqdigits/mount.sh
cd seqdigits
python3 -m pip install -q --user uv
export PATH=\$HOME/.local/bin:\$PATH
uv venv -q --python 3.11 --allow-existing .venv
uv pip install -q --require-hashes -r requirements.lock
uv pip install -q --no-build-isolation -e '.[tpu]'"
}

# Writes the service and starts it, unless it runs. systemd starts it again after status 75, after SIGKILL (no memory), after an
# abort (JAX, when process 0 was lost), and after a reboot of the machine; when the machine is taken away it sends SIGTERM.
start() { # FLAGS
  local command
  command=$(printf ' %q' "$@")
  remote all "set -eu
if systemctl -q is-active seqdigits; then exit 0; fi
cat > seqdigits/run.sh <<'END'
cd ~/seqdigits
bash mount.sh || exit 75
export SEQDIGITS_DATA=/mnt/seqdigits/data TFDS_DATA_DIR=/mnt/seqdigits/records JAX_COMPILATION_CACHE_DIR=/mnt/seqdigits/compiled
export SEQDIGITS_COMMIT=\$(cat .commit) SEQDIGITS_GRACE_SECONDS=25
exec .venv/bin/python -m seqdigits.main --coordinator auto$command
END
sudo tee /etc/systemd/system/seqdigits.service >/dev/null <<END
[Unit]
Wants=network-online.target
After=network-online.target seqdigits-share.service mnt-seqdigits.mount
StartLimitIntervalSec=0
[Service]
User=\$(id -un)
ExecStart=/bin/bash \$HOME/seqdigits/run.sh
RestartForceExitStatus=75 SIGKILL SIGABRT
RestartSec=10
TimeoutStopSec=40
[Install]
WantedBy=multi-user.target
END
sudo systemctl daemon-reload
sudo systemctl reset-failed seqdigits 2>/dev/null || true
sudo systemctl -q enable seqdigits
sudo systemctl start seqdigits"
}

# Waits for the end of the run. Returns its status, 75 when the TPU was taken away, 130 after `stop`. A worker that is inactive without an end of
# the service since its boot was started again by itself, and has not come to the service yet.
follow() {
  local ask states state code ended enabled status
  # shellcheck disable=SC2016 # expanded on the worker
  ask='show() { systemctl show --value -p "$1" seqdigits; }
echo "run $(systemctl is-active seqdigits) $(show ExecMainStatus) $(show ExecMainExitTimestampMonotonic) $(show UnitFileState)"'
  while :; do
    if states=$(remote all "$ask"); then
      if [[ ${DRY_RUN:-} == 1 ]]; then echo "$states"; return 0; fi
      status=''
      while read -r _ state code ended enabled; do
        [[ $enabled != disabled || $code != 75 ]] || code=130
        case $state:$ended in
          failed:*) [[ $status == 2 ]] || status=$code ;;
          inactive:[1-9]*) status=${status:-0} ;;
          *) [[ ${status:-0} != 0 ]] || status=running ;;
        esac
      done < <(grep '^run ' <<<"$states")
      if [[ -z $status ]]; then
        echo "$(date +%T) $name: an answer without the state of the service"
      elif [[ $status != running ]]; then
        remote 0 'journalctl --no-pager --output cat --unit seqdigits --lines 20' || true
        return "$status"
      fi
    else
      state=$(state_of) || state='' # without a network, it may run on
      echo "$(date +%T) $name: no answer, state ${state:-not known}"
      [[ ! $state || $state == READY ]] || return 75
    fi
    sleep "$poll"
  done
}

train() { # FLAGS
  local status state tries=0
  check_share # before anything is billed
  # shellcheck disable=SC2064 # expanded now
  trap "echo '$name goes on and is billed. Follow it with the same command, or: bash launch/tpu_vm.sh delete $name' >&2; exit 130" INT
  while :; do
    state=GONE
    [[ ${DRY_RUN:-} == 1 ]] || state=$(state_of) || { sleep "$poll"; continue; }
    if [[ $state != GONE && $state != READY ]]; then # a preempted TPU stays in the list and cannot be started again
      echo "$(date +%T) $name: $state, replaced"
      tpu delete --quiet || { sleep "$poll"; continue; }
      state=GONE
    fi
    if [[ $state == GONE ]] && ! create; then # without capacity, for example; its state is asked for anew
      echo "$(date +%T) $name: not created, next try in $poll seconds"
      sleep "$poll"
      continue
    fi
    if [[ $state == READY ]] && remote all 'systemctl -q is-active seqdigits'; then
      echo "$(date +%T) $name: runs already, followed"
    elif ! { install && start "$@"; }; then
      tries=$((tries + 1))
      ((tries < 5)) || { status=1; echo "$name: not installed in $tries tries" >&2; break; }
      sleep "$poll"
      continue
    fi
    status=0
    follow || status=$?
    ((status == 75)) || break
    tries=0
    sleep "$poll"
  done
  for tries in 1 2 3 4 5; do
    ! tpu delete --quiet || return "$status"
    sleep "$poll"
  done
  echo "$name could not be deleted and is billed: bash launch/tpu_vm.sh delete $name" >&2
  return "$status"
}

sweep() { # RUNS CONFIG... [-- FLAGS]
  local runs=${1:-} configs=() names=' ' config each base=$name status=0 pids=()
  shift || true
  while (($#)) && [[ $1 != -- ]]; do
    [[ -f $1 ]] || fail "config $1: no such file"
    each=$(basename "$1" .py)
    each=${each//_/-}
    [[ $names != *" $each "* ]] || fail "config $1: two configs would share the TPU $base-$each"
    configs+=("$1") names+="$each "
    shift
  done
  (($# == 0)) || shift
  ((${#configs[@]})) || fail "no config is given: bash launch/tpu_vm.sh sweep NAME RUNS configs/X.py configs/Y.py ... [-- FLAGS]"
  for config in "${configs[@]}"; do
    each=$(basename "$config" .py)
    name=$base-${each//_/-}
    if [[ ${DRY_RUN:-} == 1 ]]; then
      echo "# $name"
      train --config "$config" --workdir "$runs/$each" "$@"
    else
      echo "$name: output in $name.log"
      (train --config "$config" --workdir "$runs/$each" "$@") >"$name.log" 2>&1 &
      pids+=("$!")
    fi
  done
  for config in "${pids[@]}"; do wait "$config" || status=$?; done
  return "$status"
}

action=${1:-} name=${2:-}
[[ $name =~ ^[a-z][-a-z0-9]*$ ]] || fail "NAME is '$name': lower-case letters, digits and '-' are allowed
  bash launch/tpu_vm.sh train NAME --config configs/X.py --workdir /mnt/seqdigits/runs/W [FLAGS]"
shift 2
case $action in
  create | install | start | train | sweep) "$action" "$@" ;;
  logs) remote 0 'journalctl --follow --output cat --unit seqdigits' ;;
  stop) remote all 'sudo systemctl disable --now seqdigits' ;;
  delete) tpu delete --quiet ;;
  *) fail "'$action' is not an action: create, install, start, train, sweep, logs, stop, delete are allowed" ;;
esac
