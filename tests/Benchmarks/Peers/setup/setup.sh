#!/usr/bin/env bash
# Makes the peer and what both sides load, in a folder outside the repository:
#   setup.sh WORK SHAPES ADAPTER_SHAPES RANKS ADAPTERS
#   e.g. setup.sh WORK "llama-110m tinyllama-1.1b" "llama-110m" "16" 16
# Needs Node 20 (npm), git, g++ and a Python 3 with numpy. What is there already is not made again.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$1 shapes=$2 adapter_shapes=$3 ranks=$4 adapters=$5
mkdir -p "$work"
work=$(cd "$work" && pwd)

fail() { echo "peers: $*" >&2; exit 3; }
for tool in node npm git g++ nm; do
    command -v "$tool" > /dev/null || fail "$tool is not installed; needed are Node 20 or later, git, g++ and python3-numpy"
done
[ "$(node -p 'process.versions.node.split(".")[0]')" -ge 20 ] || fail "Node $(node --version) is older than 20"
[ "$(uname -sm)" = "Linux x86_64" ] || fail "the peer's prebuilt libraries are taken for Linux on x86-64, this is $(uname -sm)"
python=
for candidate in ${PEERS_PYTHON:-python3 /usr/bin/python3}; do
    "$candidate" -c 'import numpy' 2> /dev/null && python=$candidate && break
done
[ -n "$python" ] || fail "no Python 3 with numpy (Debian: python3-numpy; PEERS_PYTHON names another interpreter)"

bash "$here/build_llamacpp.sh" "$work/llamacpp"

mkdir -p "$work/models" "$work/adapters"
for shape in $shapes; do
    formats=
    for format in BF16 Q8_0 Q4_0; do
        [ -f "$work/models/$shape-$format.gguf" ] || formats=$formats,$format
    done
    if [ -n "$formats" ] || [ ! -f "$work/models/$shape-hf/model.safetensors" ]; then
        echo "weights of $shape"
        (cd "$here" && "$python" make_model.py "$shape" "$work/models.new" --gguf "${formats#,}")
        for made in "$work"/models.new/*; do
            rm -rf "$work/models/$(basename "$made")"
            mv "$made" "$work/models/"
        done
        rmdir "$work/models.new"
    fi
done
for shape in $adapter_shapes; do
    for rank in $ranks; do
        if [ ! -d "$work/adapters/$shape-r$rank-$((adapters - 1))" ]; then
            echo "$adapters adapters of rank $rank for $shape"
            (cd "$here" && "$python" make_adapters.py "$shape" "$work/adapters" --rank "$rank" --count "$adapters")
        fi
    done
done
echo "ready in $work"
