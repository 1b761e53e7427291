#!/usr/bin/env bash
# build_docker.sh [image:tag]: build the container image (default: servertestllm, tagged with the
# version from git and with `latest`; CUDA_STACK=13 adds `-cuda13` to both).
#
#   CUDA_STACK=13      the stack for drivers from 580 on; 12 is the default, whatever this host has
#   NODE_VERSION       Node of the dashboard's build (20)
#   BUILD_CACHE_DIR    layers of a buildx builder in a container (build/docker-cache); the engine's
#                      own builder keeps its layers itself
#   BUILD_LOG          everything that was printed (build/docker-build.log)
#   MIN_FREE_GB        refuse to begin with less (60)
#   HTTP_PROXY, HTTPS_PROXY, NO_PROXY   for the build's downloads, by name; they stay out of the image
#   DRY_RUN=true       print the command only
set -euo pipefail
script=$(realpath "$0")
cd "$(dirname "$script")"
# shellcheck source=/dev/null
. tools/setup/docker_script

case "${1:-}" in
-h | --help)
    help "$script"
    exit 0
    ;;
-*) die "Unknown option $1. Usage: ./build_docker.sh [image:tag]" ;;
esac

stack=${CUDA_STACK:-12}
cache=${BUILD_CACHE_DIR:-build/docker-cache}
log=${BUILD_LOG:-build/docker-build.log}
least=${MIN_FREE_GB:-60}
dry=
[[ $stack =~ ^1[23]$ ]] || die "CUDA_STACK=$stack: there is no such stack. Use 12 or 13."
check_number MIN_FREE_GB "$least"
if is_on DRY_RUN; then dry=1; fi

# --- version ---------------------------------------------------------------------------------------
declared=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' backend/app/__init__.py)
revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)
version=$(git describe --tags --dirty --match 'v[0-9]*' 2>/dev/null ||
    echo "v$declared-$(git describe --always --dirty --exclude '*' 2>/dev/null || echo unknown)")
version=${version#v}

# --- what can go wrong before the first layer --------------------------------------------------------
command -v docker >/dev/null 2>&1 ||
    die "docker is not installed: https://docs.docker.com/engine/install/" \
        "Without containers: make serve"

check_engine() {
    local root free
    if ! root=$(docker info --format '{{.DockerRootDir}}' 2>&1); then
        die "The Docker engine does not answer:" "  ${root##*$'\n'}" \
            "Is it running (systemctl status docker), and may $(id -un) use it (group docker)?"
    fi
    # an engine on another machine has its directory there
    [ -d "$root" ] || return 0
    if ! free=$(free_gb "$root"); then
        echo "Note: df does not tell how much is free in $root; the build needs about $least GB." >&2
    elif [ "$free" -lt "$least" ]; then
        die "Not enough disk: $free GB are free in $root, the build needs about $least." \
            "Make room (docker system df; docker builder prune), or set MIN_FREE_GB to try anyway."
    fi
}

hint_newer_stack() {
    local driver
    command -v nvidia-smi >/dev/null 2>&1 || return 0
    driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader 2>/dev/null | head -n 1) || return 0
    if [ "$stack" = 12 ] && [[ ${driver%%.*} =~ ^[0-9]+$ ]] && [ "${driver%%.*}" -ge 580 ]; then
        echo "Hint: driver $driver also runs the newest vLLM on CUDA 13: CUDA_STACK=13 $0 $*"
    fi
}

# --- the command -------------------------------------------------------------------------------------
if [ -n "${1:-}" ]; then
    tags=("$1")
else
    suffix=
    [ "$stack" = 12 ] || suffix=-cuda$stack # beside the default, never instead of it
    tags=("servertestllm:$version$suffix" "servertestllm:latest$suffix")
fi
arguments=()
for tag in "${tags[@]}"; do
    arguments+=(--tag "$tag")
done
arguments+=(--build-arg "CUDA_STACK=$stack" --build-arg "VERSION=$version" --build-arg "REVISION=$revision")
[ -z "${NODE_VERSION:-}" ] || arguments+=(--build-arg "NODE_VERSION=$NODE_VERSION")

for variable in HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy; do
    [ -z "${!variable:-}" ] || arguments+=(--build-arg "$variable") # docker reads the value itself
done

if docker buildx version >/dev/null 2>&1; then
    command=(docker buildx build --progress plain --load "${arguments[@]}")
    # the engine's own builder cannot write a cache elsewhere, and needs none
    driver=$(docker buildx inspect 2>/dev/null | sed -n 's/^Driver: *//p' | head -n 1)
    if [ "${driver:-docker}" != docker ]; then
        [ ! -d "$cache" ] || command+=(--cache-from "type=local,src=$cache")
        command+=(--cache-to "type=local,dest=$cache,mode=max")
    fi
else
    # The classic builder runs every stage, wanted or not: it must not pull a second CUDA image.
    other=$((25 - stack))
    base=$(sed -n "s/^ARG CUDA${stack}_IMAGE=//p" Dockerfile)
    export DOCKER_BUILDKIT=0
    command=(docker build "${arguments[@]}" --build-arg "CUDA${other}_IMAGE=$base")
fi
command+=(.)

if [ -n "$dry" ]; then
    printf '%q ' "${command[@]}"
    echo
    exit 0
fi
check_engine
hint_newer_stack "$@"
mkdir -p "$(dirname "$log")"
echo "Building ${tags[*]} (CUDA $stack, version $version); log: $log"
if ! "${command[@]}" 2>&1 | tee "$log"; then
    if grep -qi "no space left on device" "$log"; then
        die "The build ran out of disk: docker system df; docker builder prune"
    fi
    die "The build failed, see above or $log"
fi
echo "Built ${tags[*]}. Run it: ./run_docker.sh ${tags[0]}"
