#!/usr/bin/env bash
# run_docker.sh [image:tag] [-- more options of docker run]: run the gateway in a container
# (default: servertestllm:latest), wait until it is healthy, and say where to go.
#
#   HOST_PORT (8000), HOST_BIND_ADDRESS (all)   where this host listens
#   ADVERTISED_HOSTS       names or addresses to print, a,b; default: this host's own
#   MODEL_CACHE_DIR        models on this host (./model_cache), mounted on /models
#   LOG_DIR                logs on this host (./logs), mounted on /var/log/servertestllm
#   CONTAINER_NAME         (servertestllm) replaces its own old container; another name and
#                          HOST_PORT run a second one beside it
#   CONTAINER_USER         uid:gid (the owner of MODEL_CACHE_DIR)
#   GPUS                   as docker's --gpus (all); GPUS=none for none
#   SHM_SIZE (16g), RESTART_POLICY (unless-stopped), HEALTH_WAIT_S (90)
#   FOLLOW_CONTAINER_LOGS=1   stay and follow the logs
#   DRY_RUN=1              print the command only
#
# Every setting of the gateway (doc/operations.md) that is exported here is passed on by name, so that
# no value shows in a process list; ./.env is mounted. Local models, certificates and SPOOL_DIR are
# mounted where they are.
set -euo pipefail

die() {
    printf '%s\n' "$@" >&2
    exit 1
}

image=servertestllm:latest
case "${1:-}" in
-h | --help)
    sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "$0"
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

name=${CONTAINER_NAME:-servertestllm}
port=${HOST_PORT:-8000}
models=${MODEL_CACHE_DIR:-$PWD/model_cache}
logs=${LOG_DIR:-$PWD/logs}
dry=${DRY_RUN:-0}
label=servertestllm.run_docker
[[ $port =~ ^[0-9]+$ ]] || die "HOST_PORT=$port is not a port number."

absolute() { # a path as the gateway would read it: `~` means home
    local path=$1
    [ "${path:0:1}" != "~" ] || path=$HOME${path:1}
    realpath --canonicalize-missing -- "$path"
}
models=$(absolute "$models") logs=$(absolute "$logs")

# --- whose files -------------------------------------------------------------------------------------
# The container runs as the owner of the models, so that a directory of any owner works.
make_directory() {
    [ ! -d "$1" ] || return 0
    mkdir -p "$1" || die "$1 cannot be made."
    # made by root, it should belong to the container's ordinary user
    [ "$(id -u)" != 0 ] || chown "${CONTAINER_USER:-1000:1000}" "$1"
}

check_owner() { # VARIABLE DIRECTORY
    local owner group rights
    read -r owner group rights < <(stat -c '%u %g %A' "$2")
    [ "$owner" = "${user%%:*}" ] || [ "${rights:8:1}" = w ] ||
        { [ "$group" = "${user##*:}" ] && [ "${rights:5:1}" = w ]; } ||
        die "$1=$2 belongs to user $owner, the container runs as $user. Run:" \
            "  sudo chown -R $user $2"
}

if [ "$dry" != 1 ]; then
    make_directory "$models"
    make_directory "$logs"
fi
if [ -n "${CONTAINER_USER:-}" ]; then
    user=$CONTAINER_USER
elif [ -d "$models" ]; then
    user=$(stat -c %u:%g "$models")
else
    user=$(id -u):$(id -g)
    [ "${user%%:*}" != 0 ] || user=1000:1000
fi
[ "${user%%:*}" != 0 ] || [ -n "${CONTAINER_USER:-}" ] ||
    die "MODEL_CACHE_DIR=$models belongs to root, and the gateway does not run as root. Run:" \
        "  sudo chown -R 1000:1000 $models" "(CONTAINER_USER=0:0 insists on root.)"

# --- what the container is told ----------------------------------------------------------------------
options=()

pass() { # NAME [VALUE]: by name only; a new value goes through this script's own environment
    [ "$#" = 1 ] || export "$1=$2"
    options+=(-e "$1")
}

mount_here() { # NAME of a variable with a path on this host: the same path within
    local path
    path=$(absolute "${!1}")
    [ -e "$path" ] || die "$1=${!1} does not exist on this host."
    options+=(-v "$path:$path${2:-}")
    pass "$1" "$path"
}

# What describes this host, or what the image decides, stays outside.
fixed='MODEL_CACHE_DIR|LOG_DIR|API_HOST|API_PORT|FRONTEND_DIST|.*_PYTHON'
settings='HUGGINGFACE_TOKEN|HF_TOKEN|HF_XET|HF_ENDPOINT|OPENAI_API_KEYS|ADMIN_API_KEYS|ADMIN_AUTH|CORS_ORIGINS'
settings+='|MODEL_SET|MODELS_FILE|LAZY_LOAD_MODELS|REMOTE_MEDIA|KEEP_CONTENT|SSL_CERTFILE|SSL_KEYFILE'
settings+='|(QWEN|CANARY|PYANNOTE|LOG|MAX|MEDIA|SPOOL|BATCH)_[A-Z_]+'
settings+='|CRASH_LIMIT|[A-Z_]+_(S|MB)' # whatever is in seconds or megabytes
settings+='|TZ|(HTTP|HTTPS|NO|ALL)_PROXY|(http|https|no|all)_proxy'

# From SIGTERM on: the drain, the engines' end, and some room. Docker's own ten seconds are too few.
pass DRAIN_S "${DRAIN_S:-30}"
term=${ENGINE_TERM_S:-10}
stop_timeout=$((${DRAIN_S%.*} + ${term%.*} + 20))

while read -r variable; do
    [[ $variable =~ ^($settings)$ && ! $variable =~ ^($fixed|DRAIN_S)$ ]] || continue
    value=${!variable}
    case "$variable:$value" in
    SPOOL_DIR:?*) mount_here "$variable" ;;
    SSL_*:?* | MODELS_FILE:?* | *_MODEL:/* | *_MODEL:./* | *_MODEL:~*) mount_here "$variable" :ro ;;
    *) pass "$variable" ;;
    esac
done < <(compgen -e | sort)
[ ! -f .env ] || options+=(-v "$PWD/.env:/app/.env:ro")

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
    --shm-size "${SHM_SIZE:-16g}" --ulimit memlock=-1 --ulimit stack=67108864
    --publish "$publish" -v "$models:/models" -v "$logs:/var/log/servertestllm"
    -e MODEL_CACHE_DIR=/models -e API_HOST=0.0.0.0 -e API_PORT=8000
    -e LOG_DIR=/var/log/servertestllm
    "${options[@]}" "${extra[@]}" "$image")

if [ "$dry" = 1 ]; then
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
    die "There is no image $image here. Build it: ./build_docker.sh $image"
check_owner MODEL_CACHE_DIR "$models"
check_owner LOG_DIR "$logs"
free=$(df -PBG "$models" | awk 'NR == 2 { print $4 + 0 }')
[ "$free" -ge 80 ] || [ -n "$(compgen -G "$models/models--*")" ] ||
    echo "Note: $free GB are free in $models; the default models take about 70." >&2

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
    *"could not select device driver"* | *nvidia-container*)
        hint="Containers get no GPU here: install nvidia-container-toolkit and restart Docker." ;;
    *"already allocated"* | *"address already in use"*)
        hint="Port $port is taken: set HOST_PORT to another." ;;
    *) hint="The command was: DRY_RUN=1 $0" ;;
    esac
    die "$output" "$hint"
fi

gave_up() {
    docker logs --tail 30 "$name" >&2 || true
    docker update --restart no "$name" >/dev/null 2>&1 || true # or it would start over for ever
    docker stop "$name" >/dev/null 2>&1 || true
    die "$1; its last lines are above (docker logs $name)."
}

deadline=$((SECONDS + ${HEALTH_WAIT_S:-90}))
until docker exec "$name" /app/deploy/healthcheck >/dev/null 2>&1; do
    state=$(docker container inspect --format '{{.State.Status}} {{.RestartCount}}' "$name" 2>/dev/null) || state="gone 0"
    [ "$state" = "running 0" ] || gave_up "The gateway did not start"
    [ "$SECONDS" -lt "$deadline" ] || gave_up "The gateway did not answer in ${HEALTH_WAIT_S:-90} s"
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
    if [ -n "${ADVERTISED_HOSTS:-}" ]; then
        tr -s ',[:space:]' '\n' <<<"$ADVERTISED_HOSTS" | grep .
    elif [ -n "$bind" ] && [ "$bind" != 0.0.0.0 ] && [ "$bind" != "[::]" ]; then
        echo "$bind"
    else
        echo localhost
        own_addresses
    fi
}

scheme=http
[ -z "${SSL_CERTFILE:-}" ] || scheme=https
header=" -H \"Authorization: Bearer \$(docker exec $name python -m backend.app admin-key)\""
# keys that were given are known to whoever gave them, and not printed
[ -z "${ADMIN_API_KEYS:-}" ] || header=" -H \"Authorization: Bearer \$ADMIN_KEY\""
[ "${ADMIN_AUTH:-}" != off ] || header=
first=
echo "The gateway runs in the container $name:"
while read -r host; do
    [[ $host != *:*:* || $host == \[* ]] || host="[$host]"
    first=${first:-$scheme://$host:$port}
    echo "  $scheme://$host:$port"
done < <(hosts)
echo "The link that opens the dashboard was printed at the first start: docker logs $name"
echo "Its state:"
echo "  curl$header $first/api/admin/status"

case "${FOLLOW_CONTAINER_LOGS:-0}" in
1 | true | yes | on) exec docker logs --follow "$name" ;;
esac
