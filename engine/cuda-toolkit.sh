#!/usr/bin/env bash
# Prints the folder of a CUDA 13 compiler: $CUDA_HOME, or the toolkit that is installed, or NVIDIA's own wheels from
# PyPI, which it puts into target/cuda-toolkit (270 MB). No GPU and no driver are needed to compile.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

speaks_cuda_13() { [[ -x $1/bin/nvcc ]] && "$1/bin/nvcc" --version | grep -q 'release 1[3-9]'; }

wheels=target/cuda-toolkit
on_path=$(command -v nvcc || true)
for home in "${CUDA_HOME:-}" "${on_path%/bin/nvcc}" /usr/local/cuda "$wheels/nvidia/cu13"; do
    if [[ -n $home ]] && speaks_cuda_13 "$home"; then
        realpath "$home"
        exit
    fi
done

if ! python3 -m pip --version >/dev/null 2>&1; then
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
        echo "Compiling for GPUs needs the CUDA 13 toolkit, or Python's pip to fetch NVIDIA's compiler with." >&2
        echo "Install either (on Debian: sudo apt-get install python3-pip), or set CUDA_HOME." >&2
        exit 1
    fi
    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-pip; } >&2
fi
echo "Fetching NVIDIA's compiler from PyPI into $wheels" >&2
# Aside first: a download that breaks off leaves nothing that looks whole.
rm -rf "$wheels.partial" "$wheels"
python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-cache-dir --no-deps \
    --target "$wheels.partial" \
    nvidia-cuda-nvcc==13.0.88 nvidia-cuda-crt==13.0.88 nvidia-nvvm==13.0.88 \
    nvidia-cuda-runtime==13.0.96 nvidia-cuda-cccl==13.0.85 >&2
mv "$wheels.partial" "$wheels"
realpath "$wheels/nvidia/cu13"
