//! Choosing, describing and measuring the device.

use crate::kernels::{Accumulate, empty, gemm};
use candle_core::{DType, Device, Tensor};
use domain::model::DeviceInfo;
use std::sync::OnceLock;
use std::time::Instant;

/// The device that runs train on.
pub fn choose() -> Device {
    Device::Cpu
}

/// The device in words, with its memory.
pub fn describe(_device: &Device) -> DeviceInfo {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let name = if cores == 1 { "CPU, 1 core".to_string() } else { format!("CPU, {cores} cores") };
    DeviceInfo { name, memory_bytes: total_memory() }
}

/// Linux says it in /proc/meminfo; elsewhere it is not known.
fn total_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("MemTotal:"))?;
    let kilobytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kilobytes * 1024)
}

/// Billions of floating-point operations per second of an f32 product of the shape that training is made of
/// (768 x 384 x 2048), measured once per process: the limit that a step is held against.
pub fn matmul_gflops() -> f64 {
    static RATE: OnceLock<f64> = OnceLock::new();
    *RATE.get_or_init(|| measure().unwrap_or(10.0))
}

fn measure() -> Option<f64> {
    let (m, k, n) = (768, 384, 2048);
    let a = Tensor::ones((m, k), DType::F32, &Device::Cpu).ok()?;
    let b = Tensor::ones((n, k), DType::F32, &Device::Cpu).ok()?;
    let b = b.t().ok()?;
    let c = empty(m, n).ok()?;
    let product = || gemm(&c, &a, &b, 1.0, Accumulate::Replace).ok();
    // The first product starts the threads.
    product()?;
    let operations = 2.0 * (m * k * n) as f64;
    let mut best = 0f64;
    for _ in 0..10 {
        let began = Instant::now();
        product()?;
        best = best.max(operations / began.elapsed().as_secs_f64().max(1e-9) / 1e9);
    }
    Some(best)
}
