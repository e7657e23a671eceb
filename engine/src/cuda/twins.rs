//! Every kernel against the function of the CPU that computes the same.
//!
//! Operands are rounded to bf16 before either side sees them, and both sum in f32, so what is left is the rounding of
//! the result: a value held in bf16 has 8 significant bits and is off by at most 2⁻⁹ = 0.00195 of itself, and so is the
//! norm of the differences against the norm of the values. Where a kernel rounds an intermediate (attention's
//! probabilities, the gradient of a softmax) the tolerance is a small multiple of that.

use crate::cuda::adapter::CudaAdapter;
use crate::cuda::attention::{AttentionOperands, AttentionPlan};
use crate::cuda::buffer::Buffer;
use crate::cuda::card::{Card, Launch};
use crate::cuda::gemm::Product;
use crate::cuda::layer::{add_to_rows, rms_norm, rms_norm_backward, swiglu, swiglu_backward};
use crate::cuda::loss::{self, RowTargets};
use crate::cuda::matrix::{Kind, Matrix};
use crate::cuda::weights::CudaNf4;
use crate::kernels::Matrix as HostMatrix;
use crate::model::attention::{self, AttentionGradient, AttentionInput};
use crate::model::config::{Family, LlamaConfig};
use crate::model::plan::Plan;
use crate::model::rope::{Direction, Rope};
use crate::model::table::Table;
use crate::model::{mlp, norm};
use crate::text::batch::LossEntry;
use crate::weights::nf4::Nf4;
use candle_core::{Device, Tensor};
use domain::dataset::mix;
use half::bf16;
use std::sync::Arc;

const ROUNDED_ONCE: f32 = 0.0021;

/// The first card, where there is one; says why a test is skipped where there is none.
pub(super) fn card() -> Option<Arc<Card>> {
    match crate::cuda::cards() {
        Ok(_) => Some(Card::open(0).expect("a card that is listed can be opened")),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

/// Numbers in ±1 that bf16 holds exactly.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let number = |place: usize| (mix(seed ^ mix(place as u64)) >> 40) as f32 / (1 << 23) as f32 - 1.0;
    (0..count).map(|place| bf16::from_f32(number(place)).to_f32()).collect()
}

fn host(rows: usize, columns: usize, values: &[f32]) -> Tensor {
    Tensor::from_slice(values, (rows, columns), &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    let matrix = HostMatrix::of(tensor).unwrap();
    (0..matrix.rows).flat_map(|row| matrix.view().row(row).to_vec()).collect()
}

/// A bf16 matrix within a wider one, so that strides are put to the test.
fn wide(card: &Arc<Card>, rows: usize, columns: usize, values: &[f32]) -> Matrix {
    let whole = Matrix::new(card, Kind::Bf16, rows, columns + 24).unwrap();
    whole.write(&vec![f32::NAN; rows * (columns + 24)]).unwrap();
    let part = whole.narrow_columns(8..8 + columns);
    part.copy_from(&Matrix::of(card, Kind::Bf16, rows, columns, values).unwrap()).unwrap();
    part
}

/// ‖ours - theirs‖ / ‖theirs‖
fn assert_near(name: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{name}");
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt();
    let difference = norm(&mut ours.iter().zip(theirs).map(|(a, b)| a - b));
    let relative = difference / norm(&mut theirs.iter().copied()).max(1e-30);
    eprintln!("{name}: {relative:.2e} of {tolerance:.1e}");
    // Not `<=` alone: no number must not pass.
    assert!(relative.is_finite() && relative <= f64::from(tolerance), "{name}: {relative} is above {tolerance}");
}

#[test]
fn products_of_all_kinds() {
    let Some(card) = card() else { return };
    let (m, k, n) = (72, 136, 200);
    let (a, b, c) = (numbers(1, m * k), numbers(2, k * n), numbers(3, m * n));
    let mut expected = vec![0f32; m * n];
    for i in 0..m {
        for j in 0..n {
            expected[i * n + j] = (0..k).map(|x| a[i * k + x] * b[x * n + j]).sum();
        }
    }
    let transposed = |rows: usize, columns: usize, values: &[f32]| -> Vec<f32> {
        (0..columns).flat_map(|j| (0..rows).map(move |i| (i, j))).map(|(i, j)| values[i * columns + j]).collect()
    };
    let (plain_a, plain_b) = (wide(&card, m, k, &a), wide(&card, k, n, &b));
    let a_t = wide(&card, k, m, &transposed(m, k, &a));
    let b_t = wide(&card, n, k, &transposed(k, n, &b));
    let with_c: Vec<f32> = expected.iter().zip(&c).map(|(product, c)| 0.5 * product + c).collect();
    for kind in [Kind::F32, Kind::Bf16] {
        // Some algorithms round partial sums, too.
        let tolerance = if kind == Kind::F32 { 1e-5 } else { 2.0 * ROUNDED_ONCE };
        let d = Matrix::new(&card, kind, m, n).unwrap();
        for product in [
            Product::plain(&plain_a, &plain_b, &d),
            Product::transposed(&plain_a, &b_t, &d),
            Product::outer(&a_t, &plain_b, &d),
        ] {
            product.run().unwrap();
            assert_near("product", &d.read().unwrap(), &expected, tolerance);
        }
        let c = Matrix::of(&card, kind, m, n, &c).unwrap();
        Product::transposed(&plain_a, &b_t, &d).times(0.5).plus(&c).run().unwrap();
        assert_near("product and sum", &d.read().unwrap(), &with_c, tolerance);
        // Adding to itself, the first time with the search for an algorithm, which must not show.
        Product::plain(&plain_a, &plain_b, &c).times(0.5).accumulate(true).run().unwrap();
        assert_near("product added", &c.read().unwrap(), &with_c, tolerance);
    }
}

#[test]
fn rms_norm_and_its_backward() {
    let Some(card) = card() else { return };
    for columns in [64, 384, 4096, 8192] {
        let rows = 5;
        let [x, w, dy, above] =
            [(1, rows), (2, 1), (3, rows), (4, rows)].map(|(seed, rows)| numbers(seed, rows * columns));
        let weight = Matrix::of(&card, Kind::Bf16, 1, columns, &w).unwrap();
        let (x_card, dy_card) = (wide(&card, rows, columns, &x), wide(&card, rows, columns, &dy));
        let y = wide(&card, rows, columns, &x);
        rms_norm(&x_card, &weight, &y, 1e-5).unwrap();
        let (x, w, dy) = (host(rows, columns, &x), host(1, columns, &w), host(rows, columns, &dy));
        assert_near("rms_norm", &y.read().unwrap(), &values(&norm::forward(&x, &w, 1e-5).unwrap()), ROUNDED_ONCE);

        let expected = host(rows, columns, &above);
        norm::backward_add(&expected, &dy, &x, &w, 1e-5).unwrap();
        let dx = wide(&card, rows, columns, &above);
        rms_norm_backward(Some(&dx), &dy_card, &x_card, &weight, &dx, 1e-5).unwrap();
        assert_near("rms_norm backward", &dx.read().unwrap(), &values(&expected), ROUNDED_ONCE);

        let expected = host(rows, columns, &vec![0.0; rows * columns]);
        norm::backward_add(&expected, &dy, &x, &w, 1e-5).unwrap();
        rms_norm_backward(None, &dy_card, &x_card, &weight, &dx, 1e-5).unwrap();
        assert_near("rms_norm backward alone", &dx.read().unwrap(), &values(&expected), ROUNDED_ONCE);
    }
}

#[test]
fn norms_of_heads_and_biases() {
    let Some(card) = card() else { return };
    let (rows, heads) = (5, 3);
    for head_dim in [16, 128] {
        let columns = heads * head_dim;
        let (x, dy, w) = (numbers(1, rows * columns), numbers(3, rows * columns), numbers(2, head_dim));
        let weight = Matrix::of(&card, Kind::Bf16, 1, head_dim, &w).unwrap();
        let (x_card, y) = (wide(&card, rows, columns, &x), wide(&card, rows, columns, &dy));
        rms_norm(&x_card, &weight, &y, 1e-5).unwrap();
        let w = host(1, head_dim, &w);
        let expected = host(rows, columns, &x);
        norm::normalise_heads(&expected, &w, 1e-5).unwrap();
        assert_near("norms of heads", &y.read().unwrap(), &values(&expected), ROUNDED_ONCE);

        // The gradient takes the place of what it is computed from.
        let d_card = wide(&card, rows, columns, &dy);
        rms_norm_backward(None, &d_card, &x_card, &weight, &d_card, 1e-5).unwrap();
        let expected = host(rows, columns, &dy);
        norm::normalise_heads_backward(&expected, &host(rows, columns, &x), &w, 1e-5).unwrap();
        assert_near("norms of heads backward", &d_card.read().unwrap(), &values(&expected), ROUNDED_ONCE);

        let bias = numbers(7, columns);
        add_to_rows(&x_card, &Matrix::of(&card, Kind::Bf16, 1, columns, &bias).unwrap()).unwrap();
        let expected: Vec<f32> = x.iter().enumerate().map(|(at, x)| x + bias[at % columns]).collect();
        assert_near("bias", &x_card.read().unwrap(), &expected, ROUNDED_ONCE);
    }
}

#[test]
fn swiglu_and_its_backward() {
    let Some(card) = card() else { return };
    let (rows, half) = (7, 328);
    let gate_up: Vec<f32> = numbers(1, rows * 2 * half).iter().map(|value| 4.0 * value).collect();
    let dy = numbers(2, rows * half);
    let on_card = Matrix::of(&card, Kind::Bf16, rows, 2 * half, &gate_up).unwrap();
    let y = wide(&card, rows, half, &dy);
    swiglu(&on_card, &y).unwrap();
    let gate_up = host(rows, 2 * half, &gate_up);
    assert_near("swiglu", &y.read().unwrap(), &values(&mlp::swiglu(&gate_up).unwrap()), ROUNDED_ONCE);
    swiglu_backward(&wide(&card, rows, half, &dy), &on_card).unwrap();
    let expected = mlp::swiglu_backward(&host(rows, half, &dy), &gate_up).unwrap();
    assert_near("swiglu backward", &on_card.read().unwrap(), &values(&expected), ROUNDED_ONCE);
}

#[test]
fn rotary_positions_there_and_back() {
    let Some(card) = card() else { return };
    let (tokens, heads, key_value_heads, head_dim) = (9, 4, 2, 16);
    let config = attention_config(heads, key_value_heads, head_dim);
    let rope = Rope::new(&config);
    let (cosines, sines) = rope.tables();
    let table = |values| Matrix::of(&card, Kind::F32, config.max_position_embeddings, head_dim / 2, values).unwrap();
    let (cosines, sines) = (table(cosines), table(sines));
    let positions: Vec<u32> = vec![0, 1, 2, 3, 4, 2, 3, 17, 99];
    let on_card: Vec<i32> = positions.iter().map(|&position| position as i32).collect();
    let on_card = Buffer::of(&card, &on_card).unwrap();
    let width = (heads + 2 * key_value_heads) * head_dim;
    let turned_width = (heads + key_value_heads) * head_dim;
    let x = numbers(1, tokens * width);
    let (half, all) = ((head_dim / 2) as i32, (heads + key_value_heads) as i32);

    let turned = wide(&card, tokens, width, &x);
    card.launch(
        "rope",
        Launch::rows(tokens, 64),
        &[&&turned, &on_card.address, &&cosines, &&sines, &all, &half, &turned.stride],
    )
    .unwrap();
    let expected = host(tokens, width, &x);
    rope.turn(&expected.narrow(1, 0, turned_width).unwrap(), &positions, Direction::Forward).unwrap();
    assert_near("rope", &turned.read().unwrap(), &values(&expected), ROUNDED_ONCE);

    // dq is turned back in place; dk and dv come in f32 from beside.
    let back = wide(&card, tokens, width, &x);
    let key_value_width = key_value_heads * head_dim;
    let keys_values = numbers(2, tokens * 2 * key_value_width);
    let on_card_kv = Matrix::of(&card, Kind::F32, tokens, 2 * key_value_width, &keys_values).unwrap();
    card.launch(
        "rope_backward",
        Launch::rows(tokens, 64),
        &[
            &&back,
            &&on_card_kv,
            &on_card.address,
            &&cosines,
            &&sines,
            &(heads as i32),
            &(key_value_heads as i32),
            &half,
            &back.stride,
        ],
    )
    .unwrap();
    let rows = x.chunks(width).zip(keys_values.chunks(2 * key_value_width));
    let joined: Vec<f32> =
        rows.flat_map(|(x, kv)| x[..heads * head_dim].iter().chain(kv).copied().collect::<Vec<_>>()).collect();
    let expected = host(tokens, width, &joined);
    rope.turn(&expected.narrow(1, 0, turned_width).unwrap(), &positions, Direction::Backward).unwrap();
    assert_near("rope backward", &back.read().unwrap(), &values(&expected), ROUNDED_ONCE);
}

fn attention_config(heads: usize, key_value_heads: usize, head_dim: usize) -> LlamaConfig {
    LlamaConfig {
        family: Family::Llama,
        vocab_size: 512,
        hidden_size: heads * head_dim,
        intermediate_size: 64,
        num_hidden_layers: 1,
        num_attention_heads: heads,
        num_key_value_heads: key_value_heads,
        head_dim,
        rms_norm_eps: 1e-5,
        rope_theta: 10_000.0,
        rope_scaling: None,
        max_position_embeddings: 512,
        tie_word_embeddings: false,
    }
}

#[test]
fn attention_forward_and_backward() {
    let Some(card) = card() else { return };
    let plain = |lengths: &[usize]| {
        let mut plan = Plan::new(0);
        for &length in lengths {
            plan.push(length, Vec::new());
        }
        plan
    };
    let prefixed = Plan::for_rows(48, &[48..53, 53..85, 85..125, 125..126, 126..190]);
    let many: Vec<_> = (0..130).map(|row| 48 + 3 * row..48 + 3 * row + 3).collect();
    for (heads, key_value_heads, head_dim) in [(4, 2, 16), (6, 2, 32), (8, 1, 64), (3, 3, 96), (8, 2, 128)] {
        let config = attention_config(heads, key_value_heads, head_dim);
        for plan in [plain(&[1, 2, 17]), plain(&[70, 3, 200]), prefixed.clone(), Plan::for_rows(48, &many)] {
            check_attention(&card, &config, &plan);
        }
        check_cached_attention(&card, &config);
    }
}

fn check_attention(card: &Arc<Card>, config: &LlamaConfig, plan: &Plan) {
    let (tokens, q_width, kv_width) = (plan.tokens(), config.query_width(), config.key_value_width());
    let width = q_width + 2 * kv_width;
    let (qkv, d_o) = (numbers(5, tokens * width), numbers(6, tokens * q_width));
    let qkv_host = host(tokens, width, &qkv);
    let part = |first: usize, columns: usize| qkv_host.narrow(1, first, columns).unwrap();
    let (q, k, v) = (part(0, q_width), part(q_width, kv_width), part(q_width + kv_width, kv_width));
    let input = AttentionInput { plan, query_rows: None, q: &q, k: &k, v: &v };
    let expected = attention::forward(config, &input).unwrap();
    let zeros = || host(tokens, width, &vec![0.0; tokens * width]);
    let gradient = zeros();
    let of = |first: usize, columns: usize| gradient.narrow(1, first, columns).unwrap();
    let (dq, dk, dv) = (of(0, q_width), of(q_width, kv_width), of(q_width + kv_width, kv_width));
    let gradients = AttentionGradient { dq: &dq, dk: &dk, dv: &dv };
    attention::backward(config, &input, &expected, &host(tokens, q_width, &d_o), &gradients).unwrap();

    let on_card = wide(card, tokens, width, &qkv);
    let attention_plan = AttentionPlan::new(card, config, plan, true).unwrap();
    let operands = AttentionOperands {
        config,
        q: on_card.narrow_columns(0..q_width),
        k: on_card.narrow_columns(q_width..q_width + kv_width),
        v: on_card.narrow_columns(q_width + kv_width..width),
        cache: None,
    };
    let o = wide(card, tokens, q_width, &d_o);
    let log_sum_exp = Matrix::new(card, Kind::F32, tokens, config.num_attention_heads).unwrap();
    attention_plan.forward(&operands, &o, &log_sum_exp).unwrap();
    let name = format!("attention of heads of {}, {} sequences", config.head_dim, plan.sequences.len());
    // The probabilities are rounded before they meet v.
    assert_near(&name, &o.read().unwrap(), &values(&expected.o), 2.0 * ROUNDED_ONCE);
    let lse = log_sum_exp.read().unwrap();
    assert_near(&format!("{name}: log of sums"), &lse, &values(&expected.log_sum_exp), 1e-4);

    let dq = wide(card, tokens, q_width, &d_o);
    let d_keys_values = Matrix::zeros(card, Kind::F32, tokens, 2 * kv_width).unwrap();
    let d_o = wide(card, tokens, q_width, &d_o);
    attention_plan.backward(&operands, &o, &log_sum_exp, &d_o, &dq, &d_keys_values).unwrap();
    let expected = values(&gradient);
    let columns = |from: usize, to: usize| -> Vec<f32> {
        expected.chunks(width).flat_map(|row| row[from..to].iter().copied()).collect()
    };
    // ds and p are rounded before their products, and delta sums a rounded o.
    assert_near(&format!("{name}: dq"), &dq.read().unwrap(), &columns(0, q_width), 4.0 * ROUNDED_ONCE);
    let both = d_keys_values.read().unwrap();
    assert_near(&format!("{name}: dk, dv"), &both, &columns(q_width, width), 4.0 * ROUNDED_ONCE);
}

/// Rows on top of a cached prefix, and labels on top of rows.
fn check_cached_attention(card: &Arc<Card>, config: &LlamaConfig) {
    let (q_width, kv_width) = (config.query_width(), config.key_value_width());
    let cached = 48;
    let mut plan = Plan::new(cached);
    let prefix = 0..cached;
    let rows: Vec<_> = [5, 33, 70].map(|length| plan.push(length, vec![prefix.clone()])).into();
    for row in rows {
        plan.push(2, vec![prefix.clone(), row]);
    }
    let (tokens, keys) = (plan.tokens(), cached + plan.tokens());
    let q = numbers(7, tokens * q_width);
    let (k, v) = (numbers(8, keys * kv_width), numbers(9, keys * kv_width));
    let (q_host, k_host, v_host) = (host(tokens, q_width, &q), host(keys, kv_width, &k), host(keys, kv_width, &v));
    let input = AttentionInput { plan: &plan, query_rows: None, q: &q_host, k: &k_host, v: &v_host };
    let expected = attention::forward(config, &input).unwrap();
    let split = cached * kv_width;
    let matrix = |rows, values: &[f32]| Matrix::of(card, Kind::Bf16, rows, kv_width, values).unwrap();
    let cache = (matrix(cached, &k[..split]), matrix(cached, &v[..split]));
    let operands = AttentionOperands {
        config,
        q: wide(card, tokens, q_width, &q),
        k: matrix(tokens, &k[split..]),
        v: matrix(tokens, &v[split..]),
        cache: Some(&cache),
    };
    let o = wide(card, tokens, q_width, &q);
    let log_sum_exp = Matrix::new(card, Kind::F32, tokens, config.num_attention_heads).unwrap();
    let plan = AttentionPlan::new(card, config, &plan, false).unwrap();
    plan.forward(&operands, &o, &log_sum_exp).unwrap();
    let name = format!("attention over a cache, heads of {}", config.head_dim);
    assert_near(&name, &o.read().unwrap(), &values(&expected.o), 2.0 * ROUNDED_ONCE);
}

#[test]
fn cross_entropy_and_log_probabilities() {
    let Some(card) = card() else { return };
    let (rows, width, vocabulary) = (24, 64, 1000);
    let hidden: Vec<f32> = numbers(1, rows * width);
    let head = numbers(2, vocabulary * width);
    let targets: Vec<LossEntry> = (0..40)
        .map(|index| LossEntry {
            row: (index * 7) % 20,
            target: (index * 37 % 1000) as u32,
            weight: 1.0 + (index % 3) as f32,
        })
        .collect();
    let scale = 0.125;
    let (hidden_host, head_host) = (host(rows, width, &hidden), host(vocabulary, width, &head));
    let (expected, d_expected) =
        crate::model::loss::cross_entropy(&hidden_host, &Table::F32(head_host.clone()), &targets, scale).unwrap();
    let hidden = Matrix::of(&card, Kind::Bf16, rows, width, &hidden).unwrap();
    let head = Matrix::of(&card, Kind::Bf16, vocabulary, width, &head).unwrap();
    let entries = targets.iter().map(|entry| (entry.row, entry.target, entry.weight));
    let row_targets = RowTargets::new(&card, vocabulary, rows, entries).unwrap();
    let (losses, d_hidden) = loss::cross_entropy(&hidden, &head, &row_targets, scale).unwrap();
    let total: f32 = losses.read().unwrap().iter().sum();
    assert!((f64::from(total) - expected).abs() < 1e-5 * expected, "{total} and {expected}");
    // The gradient of the logits is rounded, and so is the result.
    assert_near("d hidden", &d_hidden.read().unwrap(), &values(&d_expected), 2.0 * ROUNDED_ONCE);

    let asked: Vec<(usize, u32)> = (0..50).map(|index| ((index * 11) % rows, (index * 13 % 1000) as u32)).collect();
    let expected = crate::model::loss::log_probabilities(&hidden_host, &Table::F32(head_host.clone()), &asked).unwrap();
    assert_near("log-probabilities", &loss::log_probabilities(&hidden, &head, &asked).unwrap(), &expected, 1e-5);
}

#[test]
fn nf4_to_the_last_bit() {
    let Some(card) = card() else { return };
    let (rows, columns) = (96, 320);
    let mut weights = numbers(1, rows * columns);
    weights[..64].fill(0.0);
    for double in [false, true] {
        let expected = Nf4::quantize(&weights, rows, columns, double);
        let on_card = Matrix::of(&card, Kind::Bf16, rows, columns, &weights).unwrap();
        let quantized = CudaNf4::quantize(&on_card, double).unwrap();
        assert!(quantized.read().unwrap() == expected, "codes and scales are the CPU's");
        let rounded: Vec<f32> = expected.dequantize().iter().map(|&value| bf16::from_f32(value).to_f32()).collect();
        for nf4 in [quantized, CudaNf4::of(&card, &expected).unwrap()] {
            let out = wide(&card, rows, columns, &weights);
            nf4.dequantize_into(&out).unwrap();
            assert!(out.read().unwrap() == rounded, "values are the CPU's, rounded to bf16");
        }
    }
}

#[test]
fn rows_gathered_scattered_and_dropped() {
    let Some(card) = card() else { return };
    let (rows, columns) = (10, 136);
    let table = numbers(1, rows * columns);
    let chosen = [7i32, 0, 9, 3];
    let indices = Buffer::of(&card, &chosen).unwrap();
    let from = wide(&card, rows, columns, &table);
    let gathered = wide(&card, chosen.len(), columns, &table[..chosen.len() * columns]);
    let width = columns as i32;
    let launch = Launch::rows(chosen.len(), 64);
    let strides = (from.stride, gathered.stride);
    card.launch("gather_rows", launch, &[&&from, &indices.address, &&gathered, &width, &strides.0, &strides.1])
        .unwrap();
    let expected: Vec<f32> =
        chosen.iter().flat_map(|&row| table[row as usize * columns..][..columns].to_vec()).collect();
    assert_eq!(gathered.read().unwrap(), expected);
    let back = Matrix::zeros(&card, Kind::Bf16, rows, columns).unwrap();
    card.launch("scatter_rows", launch, &[&&gathered, &indices.address, &&back, &width, &strides.1, &back.stride])
        .unwrap();
    for (row, values) in back.read().unwrap().chunks(columns).enumerate() {
        let there = chosen.contains(&(row as i32));
        let original = &table[row * columns..][..columns];
        assert!(values.iter().zip(original).all(|(value, original)| *value == if there { *original } else { 0.0 }));
    }

    let (keep, seed) = (0.75f32, 99u64);
    let threshold = (f64::from(keep) * (1u64 << 32) as f64) as u64;
    let dropped = wide(&card, rows, columns, &table);
    let dropout = |to: &Matrix, add: i32| {
        let arguments = (keep, threshold, seed, add);
        card.launch(
            "dropout",
            Launch::rows(rows, 64),
            &[&&from, &to, &width, &from.stride, &to.stride, &arguments.0, &arguments.1, &arguments.2, &arguments.3],
        )
        .unwrap();
    };
    dropout(&dropped, 0);
    let expected: Vec<f32> = table
        .iter()
        .enumerate()
        .map(|(place, value)| if mix(seed ^ place as u64) >> 32 < threshold { value / keep } else { 0.0 })
        .collect();
    assert_near("dropout", &dropped.read().unwrap(), &expected, ROUNDED_ONCE);
    dropout(&dropped, 1);
    let twice: Vec<f32> = expected.iter().map(|value| 2.0 * value).collect();
    assert_near("dropout, added", &dropped.read().unwrap(), &twice, 2.0 * ROUNDED_ONCE);
}

#[test]
fn an_adapter_comes_back_as_it_went() {
    use crate::adapter::lora::Lora;
    use domain::spec::TargetModule;
    let Some(card) = card() else { return };
    let config = attention_config(4, 2, 16);
    // A rank that needs padding, and a group of which one linear is left out.
    let modules = [TargetModule::QProj, TargetModule::VProj, TargetModule::DownProj];
    let lora = Lora::zeros(&config, 5, 10.0, &modules).unwrap();
    for (seed, tensor) in lora.tensors().into_iter().enumerate() {
        let (rows, columns) = tensor.dims2().unwrap();
        let values = host(rows, columns, &numbers(seed as u64, rows * columns));
        crate::adapter::copy_into(tensor, &values).unwrap();
    }
    let adapter = CudaAdapter::new(&card, &config, &lora).unwrap();
    let back = adapter.layout.unflatten(&config, &adapter.rounded.read().unwrap()).unwrap();
    for (before, after) in lora.tensors().into_iter().zip(back.tensors()) {
        assert_eq!(values(before), values(after));
    }
}
