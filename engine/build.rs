//! Compiles the CUDA kernels where the feature `cuda` is on.
//!
//! nvcc is looked for in CUDA_HOME and on the path; `make cuda` brings one where there is none. The card in the machine
//! decides what the kernels are compiled for; without one they are compiled for all that CUDA's present compilers and
//! people's present cards have in common. In either case PTX for 8.0, the least that is supported, goes along: the driver
//! compiles it for any newer card.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

const KERNELS: [&str; 6] = ["rows", "activations", "attention", "loss", "nf4", "optimizer"];

/// Compute capabilities, times ten, that are compiled for when no card says which.
const WITHOUT_A_CARD: [&str; 2] = ["80", "90"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    println!("cargo:rerun-if-changed=src/cuda/kernels");
    for variable in ["CUDA_HOME", "AYAR_CUDA_CAPABILITY"] {
        println!("cargo:rerun-if-env-changed={variable}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default());
    let nvcc = env::var_os("CUDA_HOME").map_or_else(|| PathBuf::from("nvcc"), |home| Path::new(&home).join("bin/nvcc"));
    let capabilities = capabilities();
    for kernel in KERNELS {
        let mut command = Command::new(&nvcc);
        command.args(["-fatbin", "-O3", "-std=c++17", "--compress-mode=size"]);
        command.arg("-gencode=arch=compute_80,code=compute_80");
        for capability in &capabilities {
            command.arg(format!("-gencode=arch=compute_{capability},code=sm_{capability}"));
        }
        command.arg("-o").arg(out.join(format!("{kernel}.fatbin")));
        command.arg(format!("src/cuda/kernels/{kernel}.cu"));
        let status = command.status();
        let compiled = status.as_ref().is_ok_and(std::process::ExitStatus::success);
        assert!(
            compiled,
            "{} could not compile {kernel}.cu ({status:?}). Build with `make cuda`, which brings a compiler where there is \
             none.",
            nvcc.display()
        );
    }
}

/// What AYAR_CUDA_CAPABILITY says ("90", or "80 86 90"), else the machine's cards, else [`WITHOUT_A_CARD`].
fn capabilities() -> Vec<String> {
    let split = |text: &str| -> Vec<String> {
        let numbers = text.split([' ', ',', '\n']).map(|number| number.trim().replace('.', ""));
        numbers.filter(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())).collect()
    };
    if let Ok(named) = env::var("AYAR_CUDA_CAPABILITY") {
        let named = split(&named);
        let known = |capability: &String| capability.parse::<u32>().is_ok_and(|number| number >= 80);
        assert!(!named.is_empty() && named.iter().all(known), "AYAR_CUDA_CAPABILITY names none from 80 on: {named:?}");
        return named;
    }
    let asked = Command::new("nvidia-smi").args(["--query-gpu=compute_cap", "--format=csv,noheader"]).output();
    let mut found = match asked {
        Ok(output) if output.status.success() => split(&String::from_utf8_lossy(&output.stdout)),
        _ => Vec::new(),
    };
    found.sort();
    found.dedup();
    found.retain(|capability| capability.parse::<u32>().is_ok_and(|number| number >= 80));
    if found.is_empty() { WITHOUT_A_CARD.map(String::from).to_vec() } else { found }
}
