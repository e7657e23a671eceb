//! Server functions for datasets.

use crate::error::ApiError;
use domain::dataset::{DatasetId, DatasetSummary, RejectedRow, UploadPreview};
use leptos::prelude::*;
use leptos::server_fn::codec::{MultipartData, MultipartFormData};
use serde::{Deserialize, Serialize};

/// One page of the rows that could not be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RejectedPage {
    pub rows: Vec<RejectedRow>,
    /// On all pages.
    pub total: u64,
    pub page: u64,
    pub page_size: u64,
}

#[server]
pub async fn list_datasets() -> Result<Vec<DatasetSummary>, ApiError> {
    Ok(expect_context::<service::Service>().datasets.list().await?)
}

#[server]
pub async fn get_dataset(id: DatasetId) -> Result<DatasetSummary, ApiError> {
    Ok(expect_context::<service::Service>().datasets.get(id).await?)
}

/// Some of the rows that could not be used; pages count from 0.
#[server]
pub async fn rejected_rows(id: DatasetId, page: u64) -> Result<RejectedPage, ApiError> {
    let (rows, total) = expect_context::<service::Service>().datasets.rejected(id, page).await?;
    Ok(RejectedPage { rows, total, page, page_size: service::datasets::PAGE_SIZE })
}

/// Takes the file of the form's field `file`, streamed to disk, and leads to its preview. Returns the upload's name.
#[server(endpoint = "upload", input = MultipartFormData)]
pub async fn upload(data: MultipartData) -> Result<String, ApiError> {
    let datasets = expect_context::<service::Service>().datasets;
    let preview = on_the_server::receive(&datasets, data).await?;
    leptos_axum::redirect(&preview_address(&preview.upload, None));
    Ok(preview.upload)
}

/// The first rows of an upload, read with that character between fields; without one it is guessed.
#[server]
pub async fn preview_upload(upload: String, delimiter: Option<char>) -> Result<UploadPreview, ApiError> {
    Ok(expect_context::<service::Service>().datasets.preview(&upload, delimiter).await?)
}

/// Makes a dataset of an upload and leads to its page. The arguments are the fields of the form.
#[server(endpoint = "import")]
pub async fn import_dataset(
    upload: String,
    name: String,
    delimiter: char,
    text_column: usize,
    label_column: usize,
) -> Result<DatasetId, ApiError> {
    let datasets = expect_context::<service::Service>().datasets;
    let options = domain::dataset::ReadOptions { delimiter, text_column, label_column };
    match datasets.import(&upload, &name, options.clone()).await {
        Ok(dataset) => {
            // Rejected rows lie folded on the page; right after the import they are open.
            let rejected = if dataset.rejected > 0 { "?rejected=1" } else { "" };
            leptos_axum::redirect(&format!("/datasets/{}{rejected}", dataset.id));
            Ok(dataset.id)
        }
        Err(error) => {
            let error = ApiError::from(error);
            on_the_server::send_back_as_typed(&upload, &name, &options, &error);
            Err(error)
        }
    }
}

/// Where the preview of an upload stands.
pub fn preview_address(upload: &str, delimiter: Option<char>) -> String {
    let mut query = leptos_router::params::ParamsMap::new();
    query.insert("upload", upload.to_string());
    if let Some(delimiter) = delimiter {
        query.insert("delimiter", delimiter.to_string());
    }
    format!("/datasets/new{}", query.to_query_string())
}

#[cfg(feature = "ssr")]
mod on_the_server {
    use super::{ImportDataset, preview_address};
    use crate::api::plain_form;
    use crate::error::ApiError;
    use domain::dataset::{ReadOptions, UploadPreview};
    use domain::error::UserError;
    use leptos::server_fn::ServerFn;
    use leptos::server_fn::codec::MultipartData;
    use leptos::server_fn::error::ServerFnUrlError;

    /// Writes the form's file to disk piece by piece.
    ///
    /// A file that is refused half-way is still read to its end, into nothing: a browser that is cut off while it
    /// sends shows a broken connection instead of the reason.
    pub async fn receive(datasets: &service::Datasets, data: MultipartData) -> Result<UploadPreview, ApiError> {
        let mut form = data.into_inner().ok_or_else(|| UserError::invalid("This is no form with a file."))?;
        while let Some(mut field) = form.next_field().await.map_err(broken_off)? {
            if field.name() != Some("file") {
                continue;
            }
            let file_name = field.file_name().unwrap_or_default().to_string();
            if file_name.is_empty() {
                return Err(UserError::invalid("Choose a CSV or TSV file first, then upload it.").into());
            }
            let mut upload = datasets.begin_upload(&file_name).await?;
            while let Some(piece) = field.chunk().await.map_err(broken_off)? {
                if let Err(error) = upload.write(&piece).await {
                    while field.chunk().await.map_err(broken_off)?.is_some() {}
                    return Err(error.into());
                }
            }
            return Ok(upload.finish().await?);
        }
        Err(UserError::invalid("The form came without a file. Choose a CSV or TSV file, then upload it.").into())
    }

    fn broken_off(error: impl std::fmt::Display) -> UserError {
        UserError::invalid(format!("The upload broke off before its end ({error}). Try it again."))
    }

    /// A plain form that is refused goes back to where it was, as it was filled in, with the reason.
    pub fn send_back_as_typed(upload: &str, name: &str, options: &ReadOptions, error: &ApiError) {
        // The host is only there because the encoder wants a whole address; it is taken away again.
        let base = format!("http://localhost{}", preview_address(upload, Some(options.delimiter)));
        let Ok(mut url) = ServerFnUrlError::new(ImportDataset::PATH, error.clone()).to_url(&base) else { return };
        url.query_pairs_mut()
            .append_pair("name", name)
            .append_pair("text_column", &options.text_column.to_string())
            .append_pair("label_column", &options.label_column.to_string());
        plain_form::back_to(&format!("{}?{}", url.path(), url.query().unwrap_or_default()));
    }
}
