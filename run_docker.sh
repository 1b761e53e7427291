#!/usr/bin/env bash
# run_docker.sh [image:tag] [-- more options of docker run]: run the gateway in a container
# (default: servertestllm:latest), wait until it is healthy, and say where to go.
#
#   HOST_PORT (8000), HOST_BIND_ADDRESS (all)   where this host listens
#   ADVERTISED_HOSTS       names or addresses to print, a,b; default: this host's own
#   MODEL_CACHE_DIR        models on this host (./model_cache), mounted on /models
#   LOG_DIR                logs on this host (./logs, or ./logs-CONTAINER_NAME for another name),
#                          mounted on /var/log/servertestllm
#   CONTAINER_NAME         (servertestllm) replaces its own old container; another name and
#                          HOST_PORT run a second one beside it
#   CONTAINER_USER         uid:gid (the owner of MODEL_CACHE_DIR)
#   GPUS                   as docker's --gpus (all); GPUS=none for none
#   SHM_SIZE (16g), RESTART_POLICY (unless-stopped), HEALTH_WAIT_S (90)
#   FOLLOW_CONTAINER_LOGS=true   stay and follow the logs
#   DRY_RUN=true           print the command only
#
# Every setting of the gateway (doc/operations.md) that is exported here is passed on by name, so that
# no value shows in a process list; ./.env is mounted. Local models, certificates and SPOOL_DIR, named
# here or there, are mounted where they are. MODEL_CACHE_DIR and LOG_DIR may stand in ./.env too.
set -euo pipefail
# shellcheck source=/dev/null
. "$(dirname "$(realpath "$0")")/tools/setup/docker_script"

image=servertestllm:latest
case "${1:-}" in
-h | --help)
    help "$0"
    exit 0
    ;;
"" | --) ;;
-*) die "Unknown option $1. Options of docker run go behind --: ./run_docker.sh $image -- $1" ;;
*)
    image=$1
    shift
    ;;
esac
if [ "${1:-}" = -- ]; then
    shift
elif [ "$#" -gt 0 ]; then
    die "What is $1? Options of docker run go behind --: ./run_docker.sh $image -- $*"
fi
extra=("$@")

# --- what was asked for ------------------------------------------------------------------------------
dotenv() { # NAME: what ./.env says, as the gateway reads it; or nothing
    [ -f .env ] || return 0
    sed -nE "s/^[[:space:]]*(export[[:space:]]+)?$1[[:space:]]*=[[:space:]]*//Ip" .env | tail -n 1 |
        sed -E "s/^'([^']*)'.*/\1/; t; s/^\"([^\"]*)\".*/\1/; t; s/[[:space:]]+#.*//; s/[[:space:]]+$//"
}

setting() { # NAME [DEFAULT]: the environment's, where blank means the default, or else .env's
    local value=${!1-}
    [ -n "${!1+set}" ] || value=$(dotenv "$1")
    printf '%s' "${value:-${2:-}}"
}

[ ! -f .env ] || [ -r .env ] || die "$PWD/.env cannot be read by $(id -un)."
label=servertestllm.run_docker
name=${CONTAINER_NAME:-servertestllm}
port=${HOST_PORT:-8000}
health_wait=${HEALTH_WAIT_S:-90}
own_logs=$PWD/logs
[ "$name" = servertestllm ] || own_logs+=-$name
models=$(setting MODEL_CACHE_DIR "$PWD/model_cache")
logs=$(setting LOG_DIR "$own_logs")
drain=$(setting DRAIN_S 30)
term=$(setting ENGINE_TERM_S 10)
dry=
follow=
if is_on DRY_RUN; then dry=1; fi
if is_on FOLLOW_CONTAINER_LOGS; then follow=1; fi
[[ $name =~ ^[a-zA-Z0-9][a-zA-Z0-9_.-]+$ ]] ||
    die "CONTAINER_NAME=$name: write letters, digits, and _ . - after the first, two at least."
check_number HOST_PORT "$port" 1 65535
check_number HEALTH_WAIT_S "$health_wait"
check_seconds DRAIN_S "$drain"
check_seconds ENGINE_TERM_S "$term"

absolute() { # VARIABLE PATH: as the gateway would read it, `~` means home
    local path=$2
    case "$path" in
    \~ | \~/*) path=${HOME:?"is not set: $1=$path needs it"}${path:1} ;;
    \~*) die "$1=$path: write the whole path." ;;
    esac
    path=$(realpath --canonicalize-missing -- "$path")
    [[ $path != *:* ]] || die "$1=$2: docker mounts no path with a colon in it."
    # the gateway would expand it; here it would become a directory of that name
    [[ $path != *"\${"* ]] || die "$1=$2: write it out, this script expands no variables of .env."
    printf '%s' "$path"
}
models=$(absolute MODEL_CACHE_DIR "$models")
logs=$(absolute LOG_DIR "$logs")

# --- whose files -------------------------------------------------------------------------------------
# The container runs as the owner of the models, so that a directory of any owner works.
if [ -n "${CONTAINER_USER:-}" ]; then
    user=$CONTAINER_USER
elif [ -d "$models" ]; then
    user=$(stat -c %u:%g "$models")
else
    user=$(id -u):$(id -g)
    [ "${user%%:*}" != 0 ] || user=1000:1000
fi
if [ "${user%%:*}" = 0 ] && [ -z "${CONTAINER_USER:-}" ]; then
    others=$(find "$models" -mindepth 1 -maxdepth 1 ! -name 'models--*' ! -name '.*' -print -quit 2>&1)
    [ -z "$others" ] || die "MODEL_CACHE_DIR=$models belongs to root and holds more than models, such as" \
        "  $others" "Give the models a directory of their own."
    die "MODEL_CACHE_DIR=$models belongs to root, and the gateway does not run as root. Run:" \
        "  sudo chown -R 1000:1000 $models" "(CONTAINER_USER=0:0 insists on root.)"
fi

make_directory() {
    [ ! -d "$1" ] || return 0
    mkdir -p "$1" || die "$1 cannot be made."
    # made by root, it should belong to the container's user
    [ "$(id -u)" != 0 ] || chown "$user" "$1"
}

may() { # r|w PATH: whether the container's user has this right, by owner, group and the rest
    local owner group rights
    case "$(ls -ld -- "$2")" in ??????????+*) return 0 ;; esac # an access list says more than the mode
    read -r owner group rights < <(stat -c '%u %g %A' "$2")
    case "${user%%:*}" in
    0) return 0 ;;
    "$owner") rights=${rights:1:3} ;;
    *) if [ "$group" = "${user##*:}" ]; then rights=${rights:4:3}; else rights=${rights:7:3}; fi ;;
    esac
    [[ $rights == *$1* ]]
}

check_readable() { # [VARIABLE=]FILE as it was given, FILE
    may r "$2" || die "$1: the container runs as $user and may not read it. Run:" \
        "  sudo chgrp ${user##*:} $2 && sudo chmod g+r $2"
}

check_owner() { # VARIABLE DIRECTORY
    may w "$2" || die "$1=$2 belongs to user $(stat -c %u "$2"), the container runs as $user. Run:" \
        "  sudo chown -R $user $2"
}

if [ -z "$dry" ]; then
    make_directory "$models"
    make_directory "$logs"
fi

# --- what the container is told ----------------------------------------------------------------------
options=()

pass() { # NAME [VALUE]: by name only; a new value goes through this script's own environment
    [ "$#" = 1 ] || export "$1=$2"
    options+=(-e "$1")
}

mount_here() { # VARIABLE PATH [:ro]: a path on this host, the same path within
    local path
    path=$(absolute "$1" "$2")
    [ -e "$path" ] || die "$1=$2 does not exist on this host."
    if [ -n "${3:-}" ]; then check_readable "$1=$2" "$path"; else check_owner "$1" "$path"; fi
    options+=(-v "$path:$path${3:-}")
    pass "$1" "$path"
}

# Every setting but what describes this host or what the image decides (MODEL_CACHE_DIR, LOG_DIR,
# API_HOST, API_PORT, FRONTEND_DIST, *_PYTHON); a test compares. Models' own are known by their prefix.
settings='
    OPENAI_API_KEYS ADMIN_API_KEYS ADMIN_AUTH HUGGINGFACE_TOKEN HF_TOKEN HF_XET CORS_ORIGINS
    SSL_CERTFILE SSL_KEYFILE MODELS_FILE LAZY_LOAD_MODELS KEEP_CONTENT
    LOG_LEVEL LOG_FILE_NAME LOG_MAX_BYTES LOG_BACKUP_COUNT LOG_FORMAT
    MAX_BODY_MB MAX_UPLOAD_MB BODIES_MB MAX_MEDIA_MB MAX_MEDIA_PIXELS MEDIA_FETCH_S REMOTE_MEDIA
    MAX_AUDIO_S BATCH_MAX_AUDIO_S SPOOL_DIR SPOOL_MB
    LOAD_WAIT_S SSE_COMMIT_S SSE_KEEPALIVE_S REQUEST_IDLE_S CLIENT_WRITE_S MEMORY_BACK_S
    ENGINE_START_S ENGINE_PROOF_S ENGINE_PROBE_S ENGINE_PROBE_TIMEOUT_S ENGINE_STALL_S
    MIN_RESIDENCE_S CRASH_LIMIT CRASH_BACKOFF_S FAILED_RETRY_S
    HF_ENDPOINT TZ HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy
    QWEN_MODEL CANARY_MODEL PYANNOTE_MODEL
'
candidates() { # one a line
    tr -s '[:space:]' '\n' <<<"$settings" | grep .
    compgen -e | grep -E '^(QWEN|CANARY|PYANNOTE)_[A-Z_]+$' | grep -v '_PYTHON$'
}

# The image sets these itself, so .env alone could not. Docker's own ten seconds from SIGTERM on are too
# few: the drain, the engines' end, and some room.
pass DRAIN_S "$drain"
pass ENGINE_TERM_S "$term"
pass MODEL_SET "$(setting MODEL_SET real)"
stop_timeout=$((10#${drain%.*} + 10#${term%.*} + 20))

while read -r variable; do
    value=$(setting "$variable")
    case "$variable:$value" in
    SPOOL_DIR:?*) mount_here "$variable" "$value" ;;
    SSL_*:?* | MODELS_FILE:?* | *_MODEL:/* | *_MODEL:./* | *_MODEL:~*) mount_here "$variable" "$value" :ro ;;
    *) [ -z "${!variable+set}" ] || pass "$variable" ;;
    esac
done < <(candidates | sort -u)
if [ -f .env ]; then
    [[ $PWD != *:* ]] || die "$PWD/.env: docker mounts no path with a colon in it."
    check_readable "$PWD/.env" "$PWD/.env"
    options+=(-v "$PWD/.env:/app/.env:ro")
fi

publish=$port:8000
bind=${HOST_BIND_ADDRESS:-}
if [ -n "$bind" ]; then
    [[ $bind != *:* || $bind == \[* ]] || bind="[$bind]"
    publish=$bind:$publish
fi
[ "${GPUS:-all}" = none ] || options+=(--gpus "${GPUS:-all}")

command=(docker run --detach --name "$name" --label "$label=1" --init
    --restart "${RESTART_POLICY:-unless-stopped}" --stop-timeout "$stop_timeout"
    --user "$user" --cap-drop ALL --security-opt no-new-privileges
    --shm-size "${SHM_SIZE:-16g}" --ulimit memlock=-1 --ulimit stack=67108864 --ulimit nofile=65536
    --publish "$publish" -v "$models:/models" -v "$logs:/var/log/servertestllm"
    -e MODEL_CACHE_DIR=/models -e API_HOST=0.0.0.0 -e API_PORT=8000
    -e LOG_DIR=/var/log/servertestllm -e QWEN_PYTHON= -e CANARY_PYTHON= -e PYANNOTE_PYTHON=
    "${options[@]}" "${extra[@]}" "$image")

if [ -n "$dry" ]; then
    printf '%q ' "${command[@]}"
    echo
    exit 0
fi

# --- start -------------------------------------------------------------------------------------------
command -v docker >/dev/null 2>&1 ||
    die "docker is not installed: https://docs.docker.com/engine/install/" "Without containers: make serve"
docker info >/dev/null 2>&1 ||
    die "The Docker engine does not answer. Is it running (systemctl status docker), and may $(id -un) use it?"
docker image inspect "$image" >/dev/null 2>&1 ||
    die "There is no image $image here. Build it: ./build_docker.sh $image" \
        "or fetch it, where it is in a registry: docker pull $image"
check_owner MODEL_CACHE_DIR "$models"
check_owner LOG_DIR "$logs"
if ! free=$(free_gb "$models"); then
    echo "Note: df does not tell how much is free in $models; the default models take about 70 GB." >&2
elif [ "$free" -lt 80 ] && [ -z "$(compgen -G "$models/models--*")" ]; then
    echo "Note: $free GB are free in $models; the default models take about 70." >&2
fi

if docker container inspect "$name" >/dev/null 2>&1; then
    [ "$(docker container inspect --format "{{index .Config.Labels \"$label\"}}" "$name")" = 1 ] ||
        die "A container $name exists that this script did not start. Set CONTAINER_NAME to another name."
    echo "Replacing the container $name"
    docker stop "$name" >/dev/null
    docker rm --force "$name" >/dev/null
fi

if ! output=$("${command[@]}" 2>&1); then
    docker rm --force "$name" >/dev/null 2>&1 || true # what was made before it failed
    case "$output" in
    *"unsatisfied condition: cuda"*)
        hint="This host's driver is too old for the image (doc/deployment.md): see nvidia-smi." ;;
    *"nvidia-container-cli: "*)
        hint="nvidia-container-toolkit cannot give GPUS=${GPUS:-all}: does nvidia-smi show them here?" ;;
    *"could not select device driver"* | *"GPU vendor"* | *nvidia-container-runtime*)
        hint="Containers get no GPU here: install nvidia-container-toolkit and restart Docker." ;;
    *"already allocated"* | *"address already in use"*)
        hint="Port $port is taken: set HOST_PORT to another." ;;
    *) hint="The command was: DRY_RUN=true $0" ;;
    esac
    die "$output" "$hint"
fi

gave_up() {
    docker logs --tail 30 "$name" >&2 || true
    docker update --restart no "$name" >/dev/null 2>&1 || true # or it would start over for ever
    docker stop "$name" >/dev/null 2>&1 || true
    die "$1; its last lines are above (docker logs $name)."
}

deadline=$((SECONDS + 10#$health_wait))
until docker exec "$name" /app/deploy/healthcheck >/dev/null 2>&1; do
    state=$(docker container inspect --format '{{.State.Status}} {{.RestartCount}}' "$name" 2>/dev/null) || state="gone 0"
    [ "$state" = "running 0" ] || gave_up "The gateway did not start"
    [ "$SECONDS" -lt "$deadline" ] || gave_up "The gateway did not answer in $health_wait s"
    sleep 0.5
done

# --- where to go -------------------------------------------------------------------------------------
own_addresses() { # one a line, without Docker's bridges
    if command -v ip >/dev/null 2>&1; then
        ip -o -4 addr show scope global |
            awk '$2 !~ /^(docker|br-|veth|virbr|cni|podman)/ { sub("/.*", "", $4); print $4 }'
    else
        hostname -I | tr ' ' '\n' | grep -Ev '^(172\.17\.|$)|:' || true
    fi
}

hosts() {
    if [[ ${ADVERTISED_HOSTS:-} =~ [^,[:space:]] ]]; then
        tr -s ',[:space:]' '\n' <<<"$ADVERTISED_HOSTS" | grep .
    elif [ -n "$bind" ] && [ "$bind" != 0.0.0.0 ] && [ "$bind" != "[::]" ]; then
        echo "$bind"
    else
        echo localhost
        own_addresses
    fi
}

scheme=http
[ -z "$(setting SSL_CERTFILE)" ] || scheme=https
key="\$(docker exec $name python -m backend.app admin-key)"
# keys that were given are known to whoever gave them, and not printed
[ -z "$(setting ADMIN_API_KEYS)" ] || key="\$ADMIN_KEY"
[ "$(setting ADMIN_AUTH)" != off ] || key=
header=${key:+" -H \"Authorization: Bearer $key\""}
first=
echo "The gateway runs in the container $name:"
while read -r host; do
    [[ $host != *:*:* || $host == \[* ]] || host="[$host]"
    first=${first:-$scheme://$host:$port}
    echo "  $scheme://$host:$port"
done < <(hosts)
case "$key" in
*admin-key*) echo "The link that opens the dashboard:" && echo "  echo \"$first/#key=$key\"" ;;
esac
echo "Its state:"
echo "  curl$header $first/api/admin/status"
echo "Its log: docker logs $name"

[ -z "$follow" ] || exec docker logs --follow "$name"
