//! `GET /openapi.json`: the API in OpenAPI 3.1, made from the code that answers.

use super::{classify, hugging_face, stream};
use axum::Json;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Document;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ayar",
        description = "Classify texts with what was trained. Every error is JSON with `error`, a sentence, and `kind`, a word.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    paths(classify::classify, stream::stream, hugging_face::classify),
    tags((name = "classify", description = "Texts in, labels out"))
)]
struct Api;

pub async fn openapi() -> Json<Document> {
    Json(Api::openapi())
}
