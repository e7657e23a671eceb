//! Why a plain form was sent back.

use crate::components::ErrorNotice;
use crate::error::ApiError;
use leptos::prelude::*;
use leptos::server_fn::ServerFn;

/// What the server function of a plain form said when it refused: the address of the page that it was sent from brings
/// that along.
pub fn refusal<F>() -> Option<ApiError>
where
    F: ServerFn<Error = ApiError, Output = ()> + Clone + Send + Sync + 'static,
{
    ServerAction::<F>::new().value().get_untracked().and_then(Result::err)
}

/// The first of several refusals, as a notice.
pub fn refused(refusals: impl IntoIterator<Item = Option<ApiError>>) -> impl IntoView {
    let error = refusals.into_iter().flatten().next();
    view! { <div role="alert">{error.map(|error| view! { <ErrorNotice error /> })}</div> }
}
