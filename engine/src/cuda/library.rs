//! Finding the driver, cuBLASLt and the cards, without which everything runs on the CPU.

use crate::error::EngineError;
use cudarc::driver::sys::CUdevice_attribute as Attribute;
use cudarc::driver::{result, sys};
use domain::model::DeviceInfo;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The least compute capability that the kernels are made for: bf16 tensor cores came with 8.0.
pub const LEAST_CAPABILITY: (i32, i32) = (8, 0);

/// Libraries that are opened once and stay open: cudarc then finds them by the same names.
static OPENED: OnceLock<Result<(), String>> = OnceLock::new();

/// The driver and cuBLASLt can be used.
///
/// # Errors
/// In words, what is missing.
pub fn open() -> Result<(), String> {
    OPENED.get_or_init(open_once).clone()
}

fn open_once() -> Result<(), String> {
    if !keep_open("libcuda.so.1", Vec::new) {
        return Err("There is no NVIDIA driver (libcuda.so.1) on this machine.".to_string());
    }
    // Older drivers cannot run what this toolkit compiled; cudarc stops the process where a symbol is missing.
    let initialised =
        std::panic::catch_unwind(result::init).map_err(|_| "The NVIDIA driver is too old.".to_string())?;
    initialised.map_err(|error| format!("The NVIDIA driver finds no usable card ({}).", words(&error)))?;
    if !keep_open("libcublasLt.so.13", folders) {
        return Err("There is an NVIDIA driver, but libcublasLt.so.13 was not found. Install the CUDA 13 runtime, or \
             `pip install nvidia-cublas`, or name its folder in LD_LIBRARY_PATH."
            .to_string());
    }
    Ok(())
}

/// Opens a library by its name or, where the loader does not know it, in one of the folders, and never closes it.
fn keep_open(name: &str, folders: impl Fn() -> Vec<PathBuf>) -> bool {
    open_library(name, folders).map(std::mem::forget).is_some()
}

pub(super) fn open_library(name: &str, folders: impl Fn() -> Vec<PathBuf>) -> Option<libloading::Library> {
    // SAFETY: NVIDIA's libraries may be loaded into any process; their initialisers do no harm.
    let open = |place: PathBuf| unsafe { libloading::Library::new(place) }.ok();
    open(PathBuf::from(name)).or_else(|| folders().into_iter().find_map(|folder| open(folder.join(name))))
}

/// Where CUDA's libraries lie when the system's loader does not know them: toolkits, and Python's packages, which are
/// how most people have them.
pub(super) fn folders() -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for home in ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(std::env::var_os) {
        folders.extend([Path::new(&home).join("lib64"), Path::new(&home).join("lib")]);
    }
    folders.push(PathBuf::from("/usr/local/cuda/lib64"));
    for site in python_packages() {
        let nvidia = Path::new(&site).join("nvidia");
        for part in ["cu13/lib", "cublas/lib", "nccl/lib"] {
            folders.push(nvidia.join(part));
        }
    }
    folders
}

/// The folders in which `python3`, where there is one, looks for packages.
fn python_packages() -> Vec<OsString> {
    let script = "import sys; print('\\n'.join(path for path in sys.path if path))";
    let Ok(output) = Command::new("python3").args(["-c", script]).output() else { return Vec::new() };
    String::from_utf8_lossy(&output.stdout).lines().map(OsString::from).collect()
}

/// The cards that can be used, in the driver's order.
///
/// # Errors
/// In words, why there is none.
pub fn cards() -> Result<Vec<DeviceInfo>, String> {
    open()?;
    let count = result::device::get_count().map_err(|error| words(&error))?;
    let mut usable = Vec::new();
    let mut refused = Vec::new();
    for index in 0..count {
        let card = describe(index).map_err(|error| words(&error))?;
        if card.1 >= LEAST_CAPABILITY {
            usable.push(card.0);
        } else {
            refused.push(format!("{} has compute capability {}.{}", card.0.name, card.1.0, card.1.1));
        }
    }
    if !usable.is_empty() {
        return Ok(usable);
    }
    let (major, minor) = LEAST_CAPABILITY;
    Err(match refused.is_empty() {
        true => "There is an NVIDIA driver, but no card.".to_string(),
        false => format!("{}; {major}.{minor} is the least that can be used.", refused.join(", ")),
    })
}

fn describe(index: i32) -> Result<(DeviceInfo, (i32, i32)), result::DriverError> {
    let device = result::device::get(index)?;
    // SAFETY: `device` was just given by the driver.
    let (memory, capability) = unsafe {
        let attribute = |name| result::device::get_attribute(device, name);
        let major = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        (result::device::total_mem(device)?, (major, minor))
    };
    let info = DeviceInfo {
        id: format!("cuda:{index}"),
        name: result::device::get_name(device)?,
        memory_bytes: Some(memory as u64),
        detail: Some(format!("compute capability {}.{}", capability.0, capability.1)),
    };
    Ok((info, capability))
}

/// What the driver says of an error.
pub(super) fn words(error: &result::DriverError) -> String {
    match error.error_string() {
        Ok(text) => text.to_string_lossy().into_owned(),
        Err(_) => format!("{:?}", error.0),
    }
}

/// A driver's error as the engine's: a call that failed for lack of memory can be tried again with less; after any
/// other, the card's state is not known.
pub(super) fn failed(device: &str, wanted_bytes: u64, error: result::DriverError) -> EngineError {
    if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY {
        return EngineError::OutOfMemory { device: device.to_string(), wanted_bytes };
    }
    EngineError::DeviceLost(format!("{device} failed: {}", words(&error)))
}
