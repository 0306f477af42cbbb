#!/usr/bin/env bash
# pack.sh OUT_FOLDER: packs the GPU benchmark for an x86-64 Linux machine with an NVIDIA driver, CUDA's libraries (those of a PyTorch
# installation will do) and nothing else: no .NET, no network. OUT_FOLDER gets
#   runtime.tar.xz   the .NET host and frameworks, without what neither a console program nor Kestrel needs
#   app.tar.xz       the benchmark, the conformance tests and small golden models
#   fallback.tar.xz  OpenSSL for machines that have none (.NET ends at the first hash without it)
#   run.sh           unpacks beside itself or in a temporary folder and runs:  bash run.sh --out results [OPTIONS of "Benchmarks gpu"]
# runtime.tar.xz is made anew only when the runtime or the list below has changed. Fails when all is more than 60 MB.
set -euo pipefail
out=$(realpath -m "${1:?usage: pack.sh OUT_FOLDER}")
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
limit=60000000
root=${DOTNET_ROOT:-$(dirname "$(readlink -f "$(command -v dotnet)")")}
version=$(ls "$root/shared/Microsoft.AspNetCore.App" | grep '^10\.' | sort -V | tail -1)
unneeded=(libmscordaccore.so libmscordbi.so libclrgc.so libclrgcexp.so libcoreclrtraceptprovider.so createdump '*.xml'
  Microsoft.VisualBasic.Core.dll Microsoft.VisualBasic.dll 'Microsoft.AspNetCore.Components*.dll' 'Microsoft.AspNetCore.Mvc*.dll'
  'Microsoft.AspNetCore.Razor*.dll' 'Microsoft.AspNetCore.Identity*.dll' 'Microsoft.AspNetCore.SignalR*.dll' 'Microsoft.AspNetCore.Server.IIS*.dll'
  'Microsoft.AspNetCore.Server.HttpSys.dll' 'Microsoft.AspNetCore.Authentication.OAuth.dll' Microsoft.JSInterop.dll 'Microsoft.Extensions.Identity*.dll')

mkdir -p "$out"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

archive() { # FILE FOLDER ENTRIES AND OPTIONS OF TAR...
  local file=$1 folder=$2
  shift 2
  tar -C "$folder" --sort=name --owner=0 --group=0 "$@" -cf - | xz -T0 --x86 --lzma2=preset=6,dict=64MiB >"$out/$file.part"
  mv "$out/$file.part" "$out/$file"
}

key=$(printf '%s\n' "$version" "${unneeded[@]}" | sha256sum | cut -c1-16)
if [ "$(cat "$out/.runtime" 2>/dev/null)" != "$key" ] || [ ! -s "$out/runtime.tar.xz" ]; then
  excluded=()
  for one in "${unneeded[@]}"; do excluded+=("--exclude=$one"); done
  archive runtime.tar.xz "$root" "${excluded[@]}" dotnet "host/fxr/$version" "shared/Microsoft.NETCore.App/$version" "shared/Microsoft.AspNetCore.App/$version"
  echo "$key" >"$out/.runtime"
fi

dotnet publish tests/Benchmarks -c Release --no-self-contained -p:UseAppHost=false -o "$work/app" --nologo -v quiet
dotnet build tests/KernelTests -c Release --nologo -v quiet
cp tests/KernelTests/bin/Release/net10.0/InferenceServer.KernelTests.dll "$work/app/"
golden=${GOLDEN_DIR:-../shared}/fixtures/bases
[ -d "$golden" ] || golden=tests/UnitTests/Data/golden/fixtures/bases
cp -rL "$golden" "$work/app/fixtures"
chmod -R u+w "$work/app"
archive app.tar.xz "$work/app" '--exclude=*.pdb' '--exclude=*.xml' --exclude=./demo .

rm -f "$out/fallback.tar.xz"
ssl=$( (ldconfig -p 2>/dev/null || /sbin/ldconfig -p) | awk '/libssl\.so\.3 .*x86-64/ { path = $NF } END { print path }')
[ -z "$ssl" ] || archive fallback.tar.xz "$(dirname "$ssl")" -h libssl.so.3 libcrypto.so.3

install -m 755 tests/Benchmarks/Gpu/run.sh "$out/run.sh"
bytes=$(cat "$out"/*.tar.xz "$out/run.sh" | wc -c)
(cd "$out" && wc -c -- *.tar.xz run.sh)
[ "$bytes" -le "$limit" ] || { echo "pack.sh: $bytes bytes are more than $limit" >&2; exit 1; }
