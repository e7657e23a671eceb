#!/bin/sh
# cargo calls this in the place of rustc (RUSTC_WRAPPER). What parses gets libFuzzer's counters; candle and the rest of
# what the engine is linked with does not, so that it compiles as fast as ever. The flags are cargo-fuzz's, of which the
# stable compiler knows all but those of the sanitizers.
case " $* " in
*" --crate-name engine "* | *" --crate-name serde_json "* | *" --crate-name fancy_regex "* | \
    *" --crate-name gguf "* | *" --crate-name adapter_config "* | *fuzz_targets/safetensors.rs*)
    exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
exec "$@"
