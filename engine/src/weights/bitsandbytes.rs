//! Linear layers as bitsandbytes stores them in a checkpoint that was quantised before: codes under the weight's name,
//! and beside them scales and a small JSON text that tells how to read them (`QuantState.as_dict` in
//! bitsandbytes/functional.py).

use crate::error::EngineError;
use crate::weights::nf4::{Absmax, Nf4};
use crate::weights::shards::Shards;
use serde::Deserialize;

/// Ends the name of the tensor that holds the JSON text.
const STATE: &str = "quant_state.bitsandbytes__nf4";
/// Longest such text, in bytes.
const MAX_STATE_BYTES: usize = 1 << 16;

#[derive(Deserialize)]
struct QuantState {
    quant_type: String,
    blocksize: usize,
    shape: [usize; 2],
    nested_blocksize: Option<usize>,
    nested_offset: Option<f32>,
}

/// The linear of this name, or `None` where it is not stored in 4 bits.
///
/// # Errors
/// A part is missing, of another length than the shape asks for, or quantised in another way.
pub fn read(shards: &Shards, name: &str, rows: usize, columns: usize) -> Result<Option<Nf4>, EngineError> {
    let state_name = format!("{name}.{STATE}");
    if shards.place(&state_name).is_none() {
        return Ok(None);
    }
    let bad = |reason: String| shards.bad(name, reason);
    let state = shards.tensor_u8(&state_name, ..=MAX_STATE_BYTES)?;
    let state: QuantState = serde_json::from_slice(&state)
        .map_err(|error| shards.bad(&state_name, format!("tells no way of quantising: {error}")))?;
    if state.quant_type != "nf4" || state.blocksize != super::nf4::BLOCK {
        return Err(bad(format!(
            "is quantised as {} in blocks of {}; nf4 in blocks of {} can be read",
            state.quant_type,
            state.blocksize,
            super::nf4::BLOCK
        )));
    }
    if state.shape != [rows, columns] {
        return Err(bad(format!("is {:?}; {:?} was expected", state.shape, [rows, columns])));
    }
    let values = rows * columns;
    let blocks = values.div_ceil(super::nf4::BLOCK);
    let codes = shards.tensor_u8(name, values.div_ceil(2)..=values.div_ceil(2))?;
    let absmax_name = format!("{name}.absmax");
    let absmax = match (state.nested_blocksize, state.nested_offset) {
        (Some(nested_block), Some(offset)) => {
            if nested_block != super::nf4::NESTED_BLOCK || !offset.is_finite() {
                return Err(bad(format!("has scales in blocks of {nested_block} with the offset {offset}")));
            }
            let nested = shards.tensor_f32(&format!("{name}.nested_absmax"), &[blocks.div_ceil(nested_block)])?;
            Absmax::Quantized { codes: shards.tensor_u8(&absmax_name, blocks..=blocks)?, nested, offset }
        }
        _ => Absmax::Plain(shards.tensor_f32(&absmax_name, &[blocks])?),
    };
    Ok(Some(Nf4 { codes, absmax, rows, cols: columns }))
}
