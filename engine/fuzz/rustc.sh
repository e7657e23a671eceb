#!/bin/sh
# cargo calls this in the place of rustc (RUSTC_WRAPPER), for engine/fuzz and for service/fuzz. What parses gets libFuzzer's
# counters; candle and the rest of what is linked with it does not, so that it compiles as fast as ever, nor does what
# macros and build scripts are made of: nothing there has libFuzzer to link with. cargo compiles those for the machine
# without naming it as a target, and all else with `--target`. The flags are cargo-fuzz's, of which the stable compiler
# knows all but those of the sanitizers.
case " $* " in
*" --target "*) ;;
*) exec "$@" ;;
esac
case " $* " in
*" --crate-name engine "* | *" --crate-name serde_json "* | *" --crate-name fancy_regex "* | \
    *" --crate-name service "* | *" --crate-name parquet "* | *" --crate-name calamine "* | \
    *" --crate-name quick_xml "* | *" --crate-name zip "* | *" fuzz_targets/"*)
    exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
esac
exec "$@"
