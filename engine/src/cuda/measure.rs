//! How near each kernel comes to the card's own limits: the bandwidth of a copy, and the rate of a large product.
//!
//! Shapes are those of a step of Llama 3 8B on 128 rows of the notebook's prompts.

use crate::bench::KernelSpeed;
use crate::cuda::adapter::CudaAdapter;
use crate::cuda::attention::{AttentionOperands, AttentionPlan};
use crate::cuda::buffer::Buffer;
use crate::cuda::card::{Card, Launch};
use crate::cuda::gemm::Product;
use crate::cuda::layer::{rms_norm, rms_norm_backward, swiglu, swiglu_backward};
use crate::cuda::loss::{self, RowTargets};
use crate::cuda::matrix::{Kind, Matrix};
use crate::cuda::weights::CudaNf4;
use crate::error::EngineError;
use crate::model::config::LlamaConfig;
use crate::model::plan::Plan;
use std::sync::Arc;

const ROWS: usize = 128;
const PREFIX: usize = 48;
const OWN_TOKENS: usize = 31;
const RANK: usize = 64;

/// Runs of each; the median counts.
const RUNS: usize = 15;

/// What a kernel is held against.
enum Work {
    /// Bytes read and written.
    Bytes(usize),
    /// Floating-point operations on tensor cores.
    Operations(f64),
}

struct Table<'a> {
    card: &'a Arc<Card>,
    bytes_per_second: f64,
    operations_per_second: f64,
    lines: Vec<KernelSpeed>,
}

impl Table<'_> {
    fn time(
        &mut self,
        name: &str,
        shape: String,
        work: Work,
        run: &mut dyn FnMut() -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let seconds = median_seconds(self.card, run)?;
        let (limit, share) = match work {
            Work::Bytes(bytes) => (
                format!("copy, {:.2} TB/s", self.bytes_per_second / 1e12),
                bytes as f64 / seconds / self.bytes_per_second,
            ),
            Work::Operations(operations) => (
                format!("product, {:.0} TFLOP/s", self.operations_per_second / 1e12),
                operations / seconds / self.operations_per_second,
            ),
        };
        self.lines.push(KernelSpeed {
            name: name.to_string(),
            shape,
            microseconds: seconds * 1e6,
            limit,
            share_of_limit: share,
        });
        Ok(())
    }
}

fn median_seconds(card: &Card, run: &mut dyn FnMut() -> Result<(), EngineError>) -> Result<f64, EngineError> {
    run()?;
    let mut times = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        times.push(card.milliseconds(run)? / 1e3);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[RUNS / 2])
}

/// Every kernel of a training step, and products of its shapes.
pub fn kernels(card: &Arc<Card>) -> Result<Vec<KernelSpeed>, EngineError> {
    let config = crate::bench::Preset::Llama3With8b.config();
    let operations_per_second = card.matmul_gflops() * 1e9;
    card.bind()?;
    let random = |rows: usize, columns: usize| Matrix::random(card, rows, columns, 1.0, rows as u64);
    // Several times the cache, so that memory is what is measured.
    let (one, other) = (random(1 << 15, 1 << 14)?, random(1 << 15, 1 << 14)?);
    let copied = 2 * 2 * one.rows * one.columns;
    let seconds = median_seconds(card, &mut || one.copy_from(&other))?;
    drop((one, other));
    let mut table = Table { card, bytes_per_second: copied as f64 / seconds, operations_per_second, lines: Vec::new() };
    let tokens = (PREFIX + ROWS * OWN_TOKENS).next_multiple_of(8);
    rows(&mut table, &config, tokens, &random)?;
    products(&mut table, &config, tokens, &random)?;
    attention(&mut table, &config, &random)?;
    weights_and_optimizer(&mut table, &config, &random)?;
    Ok(table.lines)
}

type Random<'a> = &'a dyn Fn(usize, usize) -> Result<Matrix, EngineError>;

fn rows(table: &mut Table, config: &LlamaConfig, tokens: usize, random: Random) -> Result<(), EngineError> {
    let (d, f) = (config.hidden_size, config.intermediate_size);
    let bytes = 2 * tokens * d;
    let (x, y, dy, weight) = (random(tokens, d)?, random(tokens, d)?, random(tokens, d)?, random(1, d)?);
    let shape = format!("{tokens} x {d}");
    table.time("rms_norm", shape.clone(), Work::Bytes(2 * bytes), &mut || rms_norm(&x, &weight, &y, 1e-5))?;
    table.time("rms_norm_backward", shape, Work::Bytes(4 * bytes), &mut || {
        rms_norm_backward(Some(&x), &dy, &x, &weight, &y, 1e-5)
    })?;
    let (gate_up, activated) = (random(tokens, 2 * f)?, random(tokens, f)?);
    let shape = format!("{tokens} x 2 · {f}");
    let bytes = 2 * tokens * f;
    table.time("swiglu", shape.clone(), Work::Bytes(3 * bytes), &mut || swiglu(&gate_up, &activated))?;
    table.time("swiglu_backward", shape, Work::Bytes(5 * bytes), &mut || swiglu_backward(&activated, &gate_up))?;

    // One piece of logits, as a step has it.
    let (rows, vocabulary) = (512, config.vocab_size);
    let (hidden, head) = (random(rows, d)?, random(vocabulary, d)?);
    let targets = RowTargets::new(table.card, vocabulary, rows, (0..rows).map(|row| (row, row as u32, 1.0)))?;
    let operations = 4.0 * (rows * vocabulary * d) as f64;
    table.time(
        "output layer and cross_entropy",
        format!("{rows} x {vocabulary}"),
        Work::Operations(operations),
        &mut || loss::cross_entropy(&hidden, &head, &targets, 1.0).map(|_| ()),
    )
}

fn products(table: &mut Table, config: &LlamaConfig, tokens: usize, random: Random) -> Result<(), EngineError> {
    let (d, f) = (config.hidden_size, config.intermediate_size);
    let qkv = config.query_width() + 2 * config.key_value_width();
    for (name, inputs, outputs, linears) in
        [("q, k, v", d, qkv, 3), ("o", d, d, 1), ("gate, up", d, 2 * f, 2), ("down", f, d, 1)]
    {
        for tokens in [304, tokens] {
            let width = linears * RANK;
            let (x, weight) = (random(tokens, inputs + width)?, random(outputs, inputs + width)?);
            let y = random(tokens, outputs)?;
            let operations = 2.0 * (tokens * outputs * (inputs + width)) as f64;
            let shape = format!("{tokens} x {} x {outputs}", inputs + width);
            table.time(&format!("{name}: y = [x | z] [W | B]ᵀ"), shape, Work::Operations(operations), &mut || {
                Product::transposed(&x, &weight, &y).run()
            })?;
            let shape = format!("{tokens} x {outputs} x {}", inputs + width);
            table.time(&format!("{name}: dy [W | B]"), shape, Work::Operations(operations), &mut || {
                Product::plain(&y, &weight, &x).run()
            })?;
        }
    }
    Ok(())
}

fn attention(table: &mut Table, config: &LlamaConfig, random: Random) -> Result<(), EngineError> {
    let (q_width, kv_width) = (config.query_width(), config.key_value_width());
    for rows in [8, ROWS] {
        let own: Vec<_> = (0..rows).map(|row| PREFIX + row * OWN_TOKENS..PREFIX + (row + 1) * OWN_TOKENS).collect();
        let plan = Plan::for_rows(PREFIX, &own);
        let tokens = plan.tokens();
        let attention = AttentionPlan::new(table.card, config, &plan, true)?;
        let qkv = random(tokens, q_width + 2 * kv_width)?;
        let operands = AttentionOperands {
            config,
            q: qkv.narrow_columns(0..q_width),
            k: qkv.narrow_columns(q_width..q_width + kv_width),
            v: qkv.narrow_columns(q_width + kv_width..q_width + 2 * kv_width),
            cache: None,
        };
        let (o, d_o, dq) = (random(tokens, q_width)?, random(tokens, q_width)?, random(tokens, q_width)?);
        let log_sum_exp = Matrix::new(table.card, Kind::F32, tokens, config.num_attention_heads)?;
        let d_keys_values = Matrix::zeros(table.card, Kind::F32, tokens, 2 * kv_width)?;
        // Products of queries with the keys that they see; two of them forward, seven backward.
        let causal = |length: usize| length * (length + 1) / 2;
        let pairs = causal(PREFIX) + rows * (OWN_TOKENS * PREFIX + causal(OWN_TOKENS));
        let product = 2.0 * (pairs * q_width) as f64;
        let shape = format!("{PREFIX} + {rows} x {OWN_TOKENS} tokens");
        table.time("attention", shape.clone(), Work::Operations(2.0 * product), &mut || {
            attention.forward(&operands, &o, &log_sum_exp)
        })?;
        table.time("attention backward", shape, Work::Operations(7.0 * product), &mut || {
            attention.backward(&operands, &o, &log_sum_exp, &d_o, &dq, &d_keys_values)
        })?;
    }
    Ok(())
}

fn weights_and_optimizer(table: &mut Table, config: &LlamaConfig, random: Random) -> Result<(), EngineError> {
    use crate::adapter::lora::Lora;
    use domain::spec::TargetModule;
    let card = table.card;
    let (rows, columns) = (config.intermediate_size, config.hidden_size);
    let weight = random(rows, columns)?;
    let nf4 = CudaNf4::quantize(&weight, false)?;
    let values = rows * columns;
    let bytes = 2 * values + values / 2 + values / 16;
    let shape = format!("{rows} x {columns}");
    table.time("nf4_quantize", shape.clone(), Work::Bytes(bytes), &mut || {
        CudaNf4::quantize(&weight, false).map(|_| ())
    })?;
    table.time("nf4_dequantize", shape, Work::Bytes(bytes), &mut || nf4.dequantize_into(&weight))?;

    // Four layers' adapter: several times the cache.
    let few = LlamaConfig { num_hidden_layers: 4, ..config.clone() };
    let lora = Lora::zeros(&few, RANK, 16.0, &TargetModule::ALL)?;
    let adapter = CudaAdapter::new(card, &few, &lora)?;
    let count = adapter.rounded.columns;
    let part = || Matrix::zeros(card, Kind::F32, 1, count);
    let (parameters, gradient, m, v) = (part()?, part()?, part()?, part()?);
    let fours = count / 4;
    let one = 0.9f32;
    table.time("adamw", format!("{count} values"), Work::Bytes(count * 30), &mut || {
        card.launch(
            "adamw",
            Launch::pieces(fours),
            &[&&parameters, &&gradient, &&m, &&v, &&adapter.rounded, &fours, &one, &one, &one, &one, &one, &one, &one],
        )
    })?;
    let partial = Buffer::new(card, 1024 * size_of::<f64>())?;
    let launch = Launch { grid: (1024, 1), threads: 256, shared_bytes: 0 };
    table.time("sum_of_squares", format!("{count} values"), Work::Bytes(count * 4), &mut || {
        card.launch("sum_of_squares", launch, &[&&gradient, &partial.address, &count])
    })
}
