#!/usr/bin/env bash
# run.sh OPTIONS of "Benchmarks gpu": unpacks what lies beside this script (once for each content), finds CUDA's libraries and runs the
# benchmark. UNPACK_DIR names the folder to unpack in (default: the temporary one).
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
base=${UNPACK_DIR:-${TMPDIR:-/tmp}}/inferenceserver-gpu-$(cat "$here"/*.tar.xz | cksum | cut -d' ' -f1)

unpack() { # FILE FOLDER: by xz, else by Python's lzma
  mkdir -p "$2"
  if command -v xz >/dev/null 2>&1; then
    xz -dc "$1" | tar -xf - -C "$2"
  else
    python3 -c 'import lzma, sys, tarfile
with tarfile.open(sys.argv[1], "r:xz") as archive: archive.extractall(sys.argv[2])' "$1" "$2" 2>/dev/null ||
      { echo "run.sh: cannot unpack $1: neither xz nor Python's lzma is there" >&2; exit 1; }
  fi
}

if [ ! -e "$base/.unpacked" ]; then
  rm -rf "$base"
  unpack "$here/runtime.tar.xz" "$base/dotnet"
  unpack "$here/app.tar.xz" "$base/app"
  [ ! -e "$here/fallback.tar.xz" ] || unpack "$here/fallback.tar.xz" "$base/fallback"
  chmod +x "$base/dotnet/dotnet"
  touch "$base/.unpacked"
fi

# pip lays CUDA's libraries out as nvidia/cu13/lib, or nvidia/cublas/lib, nvidia/cuda_nvrtc/lib, ...
found() {
  python3 - 2>/dev/null <<'PYTHON' || true
import glob, os, site, sys
roots = [*sys.path, *site.getsitepackages(), site.getusersitepackages()]
print("\n".join(folder for root in dict.fromkeys(roots) if root for folder in sorted(glob.glob(os.path.join(root, "nvidia", "*", "lib")))))
PYTHON
  ls -d /usr/local/cuda/lib64 /usr/local/cuda-*/lib64 /usr/local/nvidia/lib64 /usr/local/nvidia/lib 2>/dev/null || true
}

if [ -z "${CUDA_LIBRARY_PATH:-}" ]; then
  CUDA_LIBRARY_PATH=$(found | awk 'NF && !seen[$0]++' | paste -sd: -)
  export CUDA_LIBRARY_PATH
fi

# .NET looks for OpenSSL by itself; the one that was carried along is for machines without.
known=$(ldconfig -p 2>/dev/null || /sbin/ldconfig -p 2>/dev/null || true)
if [ -d "$base/fallback" ] && [[ $known != *libssl.so.3* && $known != *libssl.so.1.1* ]]; then
  export LD_LIBRARY_PATH=$base/fallback${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
fi

export DOTNET_ROOT=$base/dotnet DOTNET_MULTILEVEL_LOOKUP=0 DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=1 DOTNET_EnableDiagnostics=0
export DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_NOLOGO=1 HOME=${HOME:-/tmp}
exec "$base/dotnet/dotnet" "$base/app/InferenceServer.Benchmarks.dll" gpu "$@"
