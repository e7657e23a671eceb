//! Server functions for the catalogue of models and the account on the Hub.

use crate::error::ApiError;
use domain::catalogue::{HubAccount, ModelCheck, ModelId, ModelSummary};
use domain::model::DeviceInfo;
use leptos::prelude::*;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What the page of models shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelsPageData {
    /// The server's own first.
    pub models: Vec<ModelSummary>,
    pub account: HubAccount,
    pub device: DeviceInfo,
}

/// A token on its way to the server. It is never shown again, in messages about the program's insides neither.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TypedToken(String);

impl fmt::Debug for TypedToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("…")
    }
}

#[server]
pub async fn get_models_page() -> Result<ModelsPageData, ApiError> {
    let models = expect_context::<service::Service>().models;
    Ok(ModelsPageData { models: models.list().await?, account: models.account().await?, device: models.device() })
}

#[server]
pub async fn list_models() -> Result<Vec<ModelSummary>, ApiError> {
    Ok(expect_context::<service::Service>().models.list().await?)
}

/// What a model is and whether it can be had, before anything is fetched.
#[server]
pub async fn check_model(source: String) -> Result<ModelCheck, ApiError> {
    Ok(expect_context::<service::Service>().models.check(&source).await?)
}

/// Puts a model into the catalogue; its download begins by itself. The arguments are the fields of the form: those on
/// the adapter are missing or empty for a base.
#[server]
pub async fn add_model(
    source: String,
    #[server(default)] base: ModelId,
    #[server(default)] labels: String,
    #[server(default)] prompt_template: String,
) -> Result<ModelId, ApiError> {
    // Browsers send line breaks as CR LF; the template counts them as one character.
    let prompt_template = prompt_template.replace("\r\n", "\n");
    let new = domain::catalogue::NewModel {
        source,
        base,
        labels: read_labels(&labels),
        prompt_template: (!prompt_template.trim().is_empty()).then_some(prompt_template),
    };
    let id = expect_context::<service::Service>().models.add(new).await?;
    super::plain_form::back_to(&format!("/models#model-{id}"));
    Ok(id)
}

#[server]
pub async fn pause_model(id: ModelId) -> Result<(), ApiError> {
    expect_context::<service::Service>().models.pause(id).await?;
    super::plain_form::back_to(&format!("/models#model-{id}"));
    Ok(())
}

#[server]
pub async fn resume_model(id: ModelId) -> Result<(), ApiError> {
    expect_context::<service::Service>().models.resume(id).await?;
    super::plain_form::back_to(&format!("/models#model-{id}"));
    Ok(())
}

#[server]
pub async fn remove_model(id: ModelId) -> Result<(), ApiError> {
    expect_context::<service::Service>().models.remove(id).await?;
    super::plain_form::back_to("/models");
    Ok(())
}

/// Keeps a token that was typed, and says whose it is.
#[server]
pub async fn set_token(token: TypedToken) -> Result<HubAccount, ApiError> {
    let token = token.0.trim().to_owned();
    if token.is_empty() {
        return Err(domain::error::UserError::invalid("Type or paste a token first.").into());
    }
    let account = expect_context::<service::Service>().models.set_token(Some(token)).await?;
    super::plain_form::back_to("/models#account");
    Ok(account)
}

/// Forgets the token that was typed; one from the environment counts again.
#[server]
pub async fn forget_token() -> Result<HubAccount, ApiError> {
    let account = expect_context::<service::Service>().models.set_token(None).await?;
    super::plain_form::back_to("/models#account");
    Ok(account)
}

/// Labels as a person lists them: one on each line or with commas between, in the order of their first mention.
pub fn read_labels(words: &str) -> Vec<String> {
    let mut labels: Vec<String> = Vec::new();
    for label in words.split(['\n', ',']).map(str::trim).filter(|label| !label.is_empty()) {
        if !labels.iter().any(|known| known == label) {
            labels.push(label.to_owned());
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_listed_by_lines_or_commas() {
        assert_eq!(read_labels("positive\r\nneutral\n\n negative "), ["positive", "neutral", "negative"]);
        assert_eq!(read_labels("yes, no,yes"), ["yes", "no"]);
        assert!(read_labels(" ,\n").is_empty());
    }

    #[test]
    fn a_typed_token_is_not_shown() {
        let token: TypedToken = serde_json::from_str("\"hf_secret\"").unwrap();
        assert_eq!(format!("{token:?}"), "…");
    }
}
