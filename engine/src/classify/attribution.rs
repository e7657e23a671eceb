//! Why a text gets its label: what each of its words does for the label's probability.

use super::{Classifier, LabelPaths, Scorer};
use crate::error::EngineError;
use crate::model::plan::Plan;
use crate::network::NetworkPass;
use crate::text::batch::LossEntry;
use crate::text::template::EncodedPrompt;
use domain::attribution::{Attribution, MOST_PIECES, Method, WordWeight, words};
use domain::prediction::Prediction;
use std::ops::{ControlFlow, Range};
use std::time::Instant;

impl Classifier {
    /// What speaks for `label`, by its place in the labels; `None`: for the answer itself. Texts go through the model
    /// `batch_size` at a time; where `go_on` says `Break` between them, `Ok(None)` is returned.
    ///
    /// # Errors
    /// There is no such label, or gradients do not reach the words where the model computes.
    pub fn attribute(
        &self,
        text: &str,
        label: Option<usize>,
        method: Method,
        batch_size: usize,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> Result<Option<Attribution>, EngineError> {
        let began = Instant::now();
        let pieces = words(text, MOST_PIECES);
        let mut texts = vec![text.to_string()];
        if method == Method::Occlusion {
            texts.extend(pieces.iter().map(|piece| without(text, piece)));
        }
        let prompts: Vec<EncodedPrompt> = texts.iter().map(|text| self.encoder.encode(text)).collect();
        let scorer = Scorer::with_cache(self.base.network(), self.adapter.as_ref(), &self.encoder, self.cache.clone());
        let Some(answers) = scorer.predict(&prompts, batch_size, &mut |_, _| go_on())? else { return Ok(None) };
        let whole = &answers[0];
        let label = label.unwrap_or(whole.label);
        let Some(name) = self.labels.get(label) else {
            return Err(EngineError::invalid(format!("there is no label number {label}")));
        };
        let weights = match method {
            Method::Occlusion => answers[1..].iter().map(|without| ln_p(whole, label) - ln_p(without, label)).collect(),
            Method::Gradient => self.gradient_weights(text, &pieces, whole, label)?,
        };
        let words = pieces.into_iter().zip(weights);
        Ok(Some(Attribution {
            method,
            label: name.clone(),
            probability: f64::from(whole.probabilities[label]),
            words: words.map(|(piece, weight)| WordWeight { text: text[piece].to_string(), weight }).collect(),
            cut: whole.cut,
            duration_ms: began.elapsed().as_secs_f64() * 1000.0,
        }))
    }

    /// Gradient times input of ln p(y), added up over the tokens of each piece.
    ///
    /// With s_k = Σ ln p(token) over the tokens of label k and p = softmax(s):
    /// d ln p_y = Σ_k (1[k = y] - p_k) d s_k, so every token of label k is a target of that weight.
    fn gradient_weights(
        &self,
        text: &str,
        pieces: &[Range<usize>],
        answer: &Prediction,
        label: usize,
    ) -> Result<Vec<f64>, EngineError> {
        let (prompt, ranges) = self.encoder.encode_pieces(text, pieces);
        let paths = LabelPaths::new(self.encoder.labels());
        let (plan, tokens, targets) =
            paths.targets(&prompt.tokens, |other| f32::from(u8::from(other == label)) - answer.probabilities[other]);
        let pass = NetworkPass {
            tokens: &tokens,
            plan: &plan,
            adapter: self.adapter.as_ref(),
            output_rows: None,
            cache: None,
        };
        let of_token = self.base.network().input_times_gradient(&pass, &targets)?;
        Ok(ranges.into_iter().map(|range| of_token[range].iter().sum()).collect())
    }
}

impl LabelPaths {
    /// One prompt with the chains of the labels behind it, and every token of every label as a target with its label's
    /// weight.
    fn targets(&self, prompt: &[u32], weight: impl Fn(usize) -> f32) -> (Plan, Vec<u32>, Vec<LossEntry>) {
        let mut plan = Plan::new(0);
        let mut tokens = prompt.to_vec();
        let row = plan.push(prompt.len(), Vec::new());
        let chains: Vec<Range<usize>> = self
            .chains
            .iter()
            .map(|chain| {
                tokens.extend_from_slice(chain);
                plan.push(chain.len(), vec![row.clone()])
            })
            .collect();
        let mut targets = Vec::new();
        for (label, label_tokens) in self.labels.iter().enumerate() {
            let weight = weight(label);
            targets.push(LossEntry { row: row.end - 1, target: label_tokens[0], weight });
            if let Some(chain) = chains.get(self.chain_of[label]) {
                let further = label_tokens[1..].iter().enumerate();
                targets.extend(further.map(|(at, &target)| LossEntry { row: chain.start + at, target, weight }));
            }
        }
        (plan, tokens, targets)
    }
}

/// The text as if the piece had not been written.
fn without(text: &str, piece: &Range<usize>) -> String {
    let rest = format!("{}{}", &text[..piece.start], &text[piece.end..]);
    rest.trim_end().to_string()
}

fn ln_p(answer: &Prediction, label: usize) -> f64 {
    let p = answer.probabilities.get(label).copied().unwrap_or(0.0);
    f64::from(p).clamp(1e-7, 1.0).ln()
}
