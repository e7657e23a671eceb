//! Server functions for files on their way to becoming datasets. The pieces of a resumable upload go to `/uploads`, a
//! plain route of the server.

use super::import_form::ImportForm;
use crate::error::ApiError;
use domain::dataset::DatasetId;
use domain::hub_dataset::{HubDataset, HubFetch};
use domain::reading::{ImportProgress, ReadWish, UploadPreview};
use leptos::prelude::*;
use leptos::server_fn::codec::{Json, MultipartData, MultipartFormData};

/// Takes the file of the form's field `file`, streamed to disk, and leads to its preview. Returns the upload's name.
#[server(endpoint = "upload", input = MultipartFormData)]
pub async fn upload(data: MultipartData) -> Result<String, ApiError> {
    let datasets = expect_context::<service::Service>().datasets;
    let preview = on_the_server::receive(&datasets, data).await?;
    leptos_axum::redirect(&ImportForm::of(&preview.upload).address());
    Ok(preview.upload)
}

/// The first rows of an upload, and how it was read, as far as nothing else is wished.
#[server(input = Json)]
pub async fn preview_upload(upload: String, wish: ReadWish) -> Result<UploadPreview, ApiError> {
    Ok(expect_context::<service::Service>().datasets.preview(&upload, &wish).await?)
}

/// Makes a dataset of an upload, or a dataset's next version, and leads to its page.
#[server(endpoint = "import")]
pub async fn import_upload(form: ImportForm) -> Result<DatasetId, ApiError> {
    let datasets = expect_context::<service::Service>().datasets;
    match on_the_server::import(&datasets, &form).await {
        Ok(dataset) => {
            // Rejected rows lie folded on the page; right after the import they are open.
            let rejected = if dataset.rejected > 0 { "?rejected=1" } else { "" };
            leptos_axum::redirect(&format!("/datasets/{}{rejected}", dataset.id));
            Ok(dataset.id)
        }
        Err(error) => {
            on_the_server::send_back_as_typed(&form, &error);
            Err(error)
        }
    }
}

/// How far the import of an upload is; `None` where none is under way.
#[server]
pub async fn get_import_progress(upload: String) -> Result<Option<ImportProgress>, ApiError> {
    Ok(expect_context::<service::Service>().datasets.import_progress(&upload).await)
}

/// What a dataset on the Hub consists of.
#[server]
pub async fn look_at_hub_dataset(address: String) -> Result<HubDataset, ApiError> {
    Ok(expect_context::<service::Service>().hub_datasets.look(&address).await?)
}

/// Begins to fetch files of a dataset on the Hub and leads to where that is watched. `files` are paths in the
/// repository at the commit.
#[server(endpoint = "fetch_hub_dataset")]
pub async fn fetch_hub_dataset(
    address: String,
    commit: String,
    #[server(default)] files: Vec<String>,
) -> Result<String, ApiError> {
    let hub_datasets = expect_context::<service::Service>().hub_datasets;
    let fetch = hub_datasets.fetch(&address, &commit, files).await?;
    leptos_axum::redirect(&fetch_address(&fetch.id));
    Ok(fetch.id)
}

/// How far the files of a dataset on the Hub have come.
#[server]
pub async fn get_hub_fetch(fetch: String) -> Result<HubFetch, ApiError> {
    Ok(expect_context::<service::Service>().hub_datasets.progress(&fetch).await?)
}

/// Stops fetching; what has come stays in the Hub's cache.
#[server]
pub async fn stop_hub_fetch(fetch: String) -> Result<(), ApiError> {
    expect_context::<service::Service>().hub_datasets.stop(&fetch).await?;
    super::plain_form::back_to("/datasets/new");
    Ok(())
}

/// Where the fetching of files from the Hub is watched.
pub fn fetch_address(fetch: &str) -> String {
    format!("/datasets/new?fetch={fetch}")
}

#[cfg(feature = "ssr")]
mod on_the_server {
    use super::{ImportForm, ImportUpload};
    use crate::api::plain_form;
    use crate::error::ApiError;
    use domain::dataset::DatasetSummary;
    use domain::error::UserError;
    use domain::reading::UploadPreview;
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
                return Err(UserError::invalid("Choose a file first, then upload it.").into());
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
        Err(UserError::invalid("The form came without a file. Choose a file, then upload it.").into())
    }

    fn broken_off(error: impl std::fmt::Display) -> UserError {
        UserError::invalid(format!("The upload broke off before its end ({error}). Try it again."))
    }

    /// Read once more as the form has it, so that a plain form and the page's script come to the same.
    pub async fn import(datasets: &service::Datasets, form: &ImportForm) -> Result<DatasetSummary, ApiError> {
        let upload = form.get("upload");
        let preview = datasets.preview(upload, &form.wish()).await?;
        Ok(datasets.import(upload, form.request(preview.options)?).await?)
    }

    /// A plain form that is refused goes back to where it was, as it was filled in, with the reason.
    pub fn send_back_as_typed(form: &ImportForm, error: &ApiError) {
        let address = form.address();
        // The host is only there because the encoder wants a whole address; it is taken away again.
        let base = format!("http://localhost{address}");
        let Ok(url) = ServerFnUrlError::new(ImportUpload::PATH, error.clone()).to_url(&base) else { return };
        plain_form::back_to(&format!("{}?{}", url.path(), url.query().unwrap_or_default()));
    }
}
