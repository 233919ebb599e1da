#!/usr/bin/env bash
# Everything that is measured on a machine with an NVIDIA GPU, one JSON and one log each under $OUT:
#     OUT=results benchmarks/gpu.sh
# Installs what is missing from $WHEELS (a folder of wheels; no network needed) and then from the
# package index where there is one. A step that fails is written down, and the next one runs.
# STEP_S: seconds a step may take. PYTHON: an interpreter with torch.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} out=${OUT:-benchmarks/results/gpu} wheels=${WHEELS:-.whl}
step_s=${STEP_S:-540} state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
mkdir -p "$out"
export PYTHONPATH=$PWD/src:$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_BREAK_SYSTEM_PACKAGES=1

has() { "$python" -c "import importlib.util as u, sys; sys.exit(u.find_spec('$1') is None)"; }

step() { # name, command ...: its output to NAME.log, its exit code to steps.tsv
    local name=$1 started=$SECONDS; shift
    echo "== $name"
    timeout "$step_s" "$@" 2>&1 | tee "$out/$name.log" | tail -n 20
    printf '%s\t%s\t%s\n' "$name" "${PIPESTATUS[0]}" "$((SECONDS - started))" >>"$out/steps.tsv"
}

install() { # module, requirement: nothing where it is there already
    has "$1" && return
    local site=$state/site
    export PYTHONPATH=$site:$PYTHONPATH
    compgen -G "$wheels/*.whl" >/dev/null &&
        "$python" -m pip install -q --no-deps --no-index --find-links "$wheels" --target "$site" "$2"
    has "$1" || timeout 300 "$python" -m pip install -q --target "$site" --no-deps --retries 0 "$2"
    has "$1" || echo "$2 is not installed" | tee -a "$out/missing.txt"
}

printf 'step\texit\tseconds\n' >"$out/steps.tsv"
: >"$out/missing.txt"
install open_clip open_clip_torch
install ftfy ftfy
install wcwidth wcwidth
install onnx onnx
install onnxruntime onnxruntime-gpu
install prometheus_client prometheus-client
install cuda cuda-bindings
install tensorrt tensorrt
for part in tensorrt_rtx_libs:tensorrt-rtx-cu13-libs \
    tensorrt_rtx_bindings:tensorrt-rtx-cu13-bindings tensorrt_rtx:tensorrt-rtx; do
    install "${part%%:*}" "${part##*:}"
done

step found "$python" -c "
import dataclasses, json
from acclimate.runtime.choice import KINDS, choices, missing
from acclimate.runtime.found import find
found = find()
told = {'found': dataclasses.asdict(found), 'missing': {e: missing(e, found) for e in KINDS},
        'auto': [dataclasses.asdict(c) for c in choices('auto', 'auto', found)]}
open('$out/found.json', 'w').write(json.dumps(told, indent=1))
print(json.dumps(told, indent=1))"
cli=("$python" -m acclimate.daemon.cli)
for engine in onnxruntime-cuda onnxruntime-tensorrt tensorrt tensorrt-rtx; do
    for precision in fp32 fp16; do
        step "export-$engine-$precision" "${cli[@]}" export --state "$state/run" \
            --engine "$engine" --precision "$precision" --capacity 64
    done
done
step parity "${cli[@]}" engines verify --state "$state/run" --json
sed -n '/^[[{]/,$p' "$out/parity.log" >"$out/parity.json"
step refit "$python" -m benchmarks.refit --json "$out/refit.json"
step serve "$python" -m benchmarks.serve --json "$out/serve.json"
cat "$out/steps.tsv"
