//! Several classifiers on one base in one pass.
//!
//! The frozen weights, nearly all of the work, see the rows of all of them at once; the thin products of an adapter see
//! its own rows, which continue its own cached beginning of the prompt. So requests for different adapters cost about
//! what as many requests for one of them cost.

use crate::classify::layout::Layout;
use crate::classify::{Classifier, Scorer};
use crate::error::EngineError;
use crate::network::{Cache, Share};
use crate::text::template::EncodedPrompt;
use domain::prediction::Prediction;
use std::ops::ControlFlow;
use std::sync::Arc;

/// One classifier's rows of a pass.
pub struct Part<'a> {
    pub classifier: &'a Classifier,
    pub prompts: &'a [EncodedPrompt],
}

/// What every classifier says of its own prompts. Where the device cannot mix adapters, or there is but one, each takes a
/// pass of its own.
///
/// # Errors
/// The classifiers are on different bases.
pub fn predict_together(parts: &[Part]) -> Result<Vec<Vec<Prediction>>, EngineError> {
    let Some(first) = parts.first() else { return Ok(Vec::new()) };
    let base = &first.classifier.base;
    if parts.iter().any(|part| !Arc::ptr_eq(&part.classifier.base, base)) {
        return Err(EngineError::invalid("classifiers on different bases cannot share a pass"));
    }
    if parts.len() == 1 || !base.network().mixes_adapters() {
        return parts.iter().map(alone).collect();
    }

    let caches: Vec<&Cache> = parts.iter().map(|part| &part.classifier.cache).collect();
    let cache = Cache::joined(&caches)?;
    let scorers: Vec<Scorer> = parts.iter().map(|part| part.classifier.scorer()).collect();
    let mut layout = Layout::new(cache.tokens());
    let mut shares = Vec::with_capacity(parts.len());
    let mut begin = 0;
    for (part, scorer) in parts.iter().zip(&scorers) {
        let rows = part.prompts.iter().map(|prompt| (prompt, begin..begin + scorer.shared_with(prompt)));
        let pushed = layout.push(&scorer.labels, rows);
        shares.push(Share {
            adapter: part.classifier.adapter.as_ref(),
            tokens: pushed.tokens,
            outputs: pushed.outputs,
        });
        begin += scorer.prefix.len();
    }
    let pass = layout.pass((cache.tokens() > 0).then_some(&cache));
    let answers = base.network().log_probabilities_shared(&pass, &shares, &layout.asked)?;
    let mut scores = layout.scores(answers).into_iter();
    let predictions = parts.iter().map(|part| {
        let scores = scores.by_ref().take(part.prompts.len());
        let rows = part.prompts.iter().zip(scores);
        rows.map(|(prompt, scores)| Prediction::from_log_likelihoods(&scores, prompt.cut)).collect()
    });
    Ok(predictions.collect())
}

fn alone(part: &Part) -> Result<Vec<Prediction>, EngineError> {
    let scorer = part.classifier.scorer();
    let rows = part.prompts.len().max(1);
    let predictions = scorer.predict(part.prompts, rows, &mut |_, _| ControlFlow::Continue(()))?;
    Ok(predictions.unwrap_or_default())
}
