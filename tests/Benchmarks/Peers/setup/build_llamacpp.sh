#!/usr/bin/env bash
# llama-bench, llama-batched-bench and llama-server: build_llamacpp.sh FOLDER
# node-llama-cpp brings llama.cpp twice: as libraries prebuilt for each level of x86-64, chosen at run time, and as a git bundle of the
# very sources. Only the small programs are compiled here, and linked against the prebuilt libraries: the peer is as its makers ship it.
set -euo pipefail

version=3.22.1
mkdir -p "$1"
cd "$1"
if [ -x bin/llama-server ] && [ -x bin/llama-bench ] && [ -x bin/llama-batched-bench ]; then
    exit 0
fi

if [ ! -d node_modules/node-llama-cpp ]; then
    echo "llama.cpp from npm (node-llama-cpp $version)"
    [ -f package.json ] || npm init -y > /dev/null
    NODE_LLAMA_CPP_SKIP_DOWNLOAD=true npm install "node-llama-cpp@$version" "@node-llama-cpp/linux-x64@$version" \
        --ignore-scripts --no-audit --no-fund > npm.log 2>&1 || { tail -20 npm.log >&2; exit 1; }
    # Optional dependencies for other devices: 0.9 GB that nothing here uses.
    rm -rf node_modules/@node-llama-cpp/linux-x64-*
fi

[ -d llama.cpp-src ] || git -c advice.detachedHead=false clone -q node_modules/node-llama-cpp/llama/gitRelease.bundle llama.cpp-src
mkdir -p bin obj
cp -n node_modules/@node-llama-cpp/linux-x64/bins/linux-x64/*.so bin/ || true
source=llama.cpp-src
libraries=()
for name in llama-common llama ggml ggml-base; do
    # With a version in the name of some: libllama.v0.5.0.so.
    libraries+=("-l:$(find bin \( -name "lib$name.so" -o -name "lib$name.v*.so" \) -printf '%f')")
done
link=(-Lbin "${libraries[@]}" -lpthread "-Wl,-rpath,\$ORIGIN")
include=(-I$source/include -I$source/ggml/include -I$source/common -I$source/vendor -I$source/src)

echo "llama-bench, llama-batched-bench"
for tool in llama-bench batched-bench; do
    g++ -O2 -DNDEBUG -std=c++17 -w "${include[@]}" "-I$source/tools/$tool" $source/tools/$tool/*.cpp -o "bin/llama-${tool#llama-}" "${link[@]}"
done

echo "llama-server (some minutes)"
# Its web pages are left out: the templates of their table, with no entries.
for part in h cpp; do
    sed -e '/#cmakedefine/d' -e 's/@N_ASSETS@/0/g' -e 's/@ASSET_ARRAYS@//' -e 's/@ASSET_TABLE@//' -e 's/@USE_GZIP@/false/' \
        "$source/tools/ui/ui.$part.in" > "obj/ui.$part"
done
include+=(-I$source/tools/mtmd -I$source/tools/server -I$source -Iobj)
defines=(-DNDEBUG -DCPPHTTPLIB_LISTEN_BACKLOG=512 -DCPPHTTPLIB_TCP_NODELAY=1
    -DCPPHTTPLIB_FORM_URL_ENCODED_PAYLOAD_MAX_LENGTH=1048576 -DCPPHTTPLIB_REQUEST_URI_MAX_LENGTH=32768)
compile() {
    local object
    object=obj/$(basename "$1" .cpp).o
    [ -f "$object" ] || { g++ -O2 -std=c++17 -w "${include[@]}" "${defines[@]}" -c "$1" -o "$object.part" && mv "$object.part" "$object"; }
}
files=("$source"/tools/server/*.cpp "$source"/vendor/cpp-httplib/httplib.cpp obj/ui.cpp)
running=0
for file in "${files[@]}"; do
    compile "$file" &
    running=$((running + 1))
    if [ "$running" -ge "$(nproc)" ]; then
        wait -n
        running=$((running - 1))
    fi
done
while [ "$running" -gt 0 ]; do
    wait -n
    running=$((running - 1))
done

# Images (mtmd) are left out too: whatever of it is missing becomes a function that returns 0 and that nothing calls without --mmproj.
missing=$(g++ obj/*.o -o bin/llama-server "${link[@]}" -Wl,--no-demangle 2>&1 | grep -o "undefined reference to .*" | grep -oE "[A-Za-z_][A-Za-z0-9_]*(mtmd|clip)[A-Za-z0-9_]*|mtmd_[A-Za-z0-9_]*" | sort -u || true)
for symbol in $missing; do
    echo "long $symbol(void) { return 0; }"
done > stubs.c
gcc -w -c stubs.c -o stubs.o
g++ obj/*.o stubs.o -o bin/llama-server "${link[@]}"
